//! Empty tables are taken out, and used for something else at once.
//!
//! Invariants: asserted beside those of the module above: nobody who walks, be it a processor or the kernel, comes across a
//! table that is used for something else.
//! Concurrency: as there.
//! Source: `hypervisor/src/tidy.rs`, `reclaim.rs`.
use std::cell::RefCell;

use abi::{PhysAddr, VirtAddr};
use memory::format::{Attributes, Format, Host};
use memory::mmu::Mmu;
use memory::shootdown::Shootdown;
use memory::space::empty::Emptied;
use memory::space::{self, Space};
use memory::table::Table;

use super::core::Core;
use super::processor::{FOREIGN, PAGES};
use super::programs::{Act, comes_back, explore, small, uses};

/// A table, and the entry that refers to it.
type Noted = (PhysAddr, (PhysAddr, usize), VirtAddr, u32);

impl Core<'_> {
    /// The tables of a domain, children before parents.
    fn noted(&self, domain: usize) -> Vec<Noted> {
        let mut noted: Vec<Noted> = Vec::new();
        for virt in PAGES.map(|page| VirtAddr::new(page << 12)) {
            let mut table = self.world.masters[domain];
            for level in (2..=Host::LEVELS).rev() {
                let (index, entry) = (virt.index(level), *self.machine().word(table.page(), virt.index(level)));
                let Some(next) = Host::target(entry).filter(|_| !Host::is_large(entry)) else { break };
                if !noted.iter().any(|known| known.0 == next) {
                    noted.push((next, (table, index), virt, level));
                }
                table = next;
            }
        }
        noted.sort_by_key(|noted| noted.3);
        noted
    }

    /// Takes the empty tables of a domain out, and uses them for something else.
    pub fn tidy(&self, domain: usize) {
        self.kernel(true);
        self.lock();
        let (mut shootdown, taken, emptied) = (Shootdown::new(false), RefCell::new(Vec::new()), Emptied::default());
        let view = |id: u32| self.world.views[domain].get(id as usize).copied();
        let (master, latest) = (Table::new(self.world.masters[domain]), &self.world.latest[domain]);
        let space = Space { master: &master, view: &view };
        for (table, entry, virt, level) in self.noted(domain) {
            if !self.machine().is_empty(table) {
                continue;
            }
            let forget = || {
                let views = self.world.views[domain].iter().filter(|_| level == 2);
                views.for_each(|&view| _ = space::forget(self, &Table::new(view), virt));
            };
            space.take_empty((self, self), entry, forget, latest, &mut shootdown);
            taken.borrow_mut().push(table);
            emptied.add();
        }
        shootdown.reach(self);
        self.unlock();
        let free = || taken.borrow_mut().pop().into_iter().for_each(|table| self.machine().spoil(table));
        emptied.give_back(|| self.grace(), free);
        self.kernel(false);
        self.step(false);
    }

    /// Waits until each other core has been outside of the kernel, as which waiting counts.
    fn grace(&self) {
        let passes = &self.world.passes;
        let before: Vec<_> = passes.iter().map(std::cell::Cell::get).collect();
        for id in (0..passes.len()).filter(|&id| id != self.id) {
            while self.machine().processors[id].kernel && passes[id].get() == before[id] {
                passes[self.id].update(|passes| passes + 1);
                memory::shootdown::Machine::core(self, self.id as u32).serve(self);
                self.step(true);
            }
        }
    }

    /// Looks what a domain has at `page`, whatever is loaded, without the lock.
    pub fn look(&self, domain: usize, page: u64) {
        self.kernel(true);
        let found = Table::<Host>::new(self.world.masters[domain]).lookup(&Slow(self), VirtAddr::new(page << 12));
        if found.is_some_and(|(phys, ..)| (FOREIGN..FOREIGN + 512).contains(&phys.page())) {
            self.fails(format!("core {} has looked into a table that is used for something else", self.id));
        }
        self.kernel(false);
        self.step(false);
    }
}

/// Who looks into tables and is not fast: others do a lot between two reads.
struct Slow<'a, 'c>(&'a Core<'c>);

impl Mmu for Slow<'_, '_> {
    fn read(&self, table: PhysAddr, index: usize) -> u64 {
        (0..16).for_each(|_| self.0.step(true));
        self.0.read(table, index)
    }
    fn write(&self, table: PhysAddr, index: usize, entry: u64) {
        self.0.write(table, index, entry);
    }
    fn exchange(&self, table: PhysAddr, index: usize, entry: u64) -> u64 {
        self.0.exchange(table, index, entry)
    }
    fn sharers(&self, table: PhysAddr) -> u64 {
        self.0.sharers(table)
    }
    fn share(&self, table: PhysAddr, cores: u64) {
        self.0.share(table, cores);
    }
}

const NOTHING: Attributes = Attributes::empty();

/// Takes what there is, and tidies up.
fn empties(core: &Core<'_>) {
    core.revoke(&[0], (0x400, 512), NOTHING);
    core.tidy(0);
}

/// As [`empties`], and maps something else.
fn tidies(core: &Core<'_>) {
    empties(core);
    core.map(0, 0x401, 1, Attributes::READ | Attributes::USER);
}

/// As [`tidies`], what another domain is given in between uses the tables.
fn hands_on(core: &Core<'_>) {
    empties(core);
    core.map(1, 0x400, 1, Attributes::READ | Attributes::USER);
}

/// As [`tidies`], a large page, which is taken the short way.
fn tidies_twice(core: &Core<'_>) {
    tidies(core);
    core.revoke(&[0], (0x400, 512), NOTHING);
    core.map(0, 0x400, 512, Attributes::READ | Attributes::USER);
    empties(core);
}

fn looks(core: &Core<'_>) {
    core.look(0, 0x400);
    core.look(0, 0x401);
}

#[test]
fn nobody_finds_a_table_that_was_taken_out() {
    for other in [uses as Act, comes_back, looks] {
        explore(1, small, [tidies, other]);
        explore(1, small, [hands_on, other]);
    }
    explore(1, small, [tidies_twice, uses]);
    explore(1, small, [tidies, tidies]);
    explore(1, small, [empties, looks]);
}

#[test]
fn nothing_but_the_root_is_left_when_all_is_taken() {
    let all = |core: &Core<'_>| {
        let tables = |core: &Core<'_>| core.noted(0).len();
        core.map(0, 0x400, 512, Attributes::READ | Attributes::USER);
        core.revoke(&[0], (0x400, 1), NOTHING);
        core.map(0, 0x600, 2, Attributes::READ | Attributes::USER);
        core.tidy(0);
        if tables(core) != 4 {
            core.fails(format!("{} tables of what is mapped, should be 4", tables(core)));
        }
        core.revoke(&[0], (0x400, 1024), NOTHING);
        core.tidy(0);
        if tables(core) != 0 {
            core.fails(format!("{} tables of nothing", tables(core)));
        }
    };
    explore(0, |_| {}, [all]);
    explore(1, |_| {}, [all, |core| core.enter(0)]);
}
