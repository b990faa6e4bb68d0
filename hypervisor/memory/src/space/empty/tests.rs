//! Purpose: whatever is mapped, taken and tidied up, what is mapped is found, its tables stay, and no empty one does.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use super::*;
use crate::format::{Attributes, Format, Host};
use crate::frames::{Descriptor, FrameNumber, Frames, Order, OutOfMemory, Unshown};
use crate::mmu::arena::Arena;
use crate::quota::Quota;
use crate::shootdown::alone::Alone;
use crate::table::Table;
use abi::VirtAddr;
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

const FRAMES: u32 = 512;
const RIGHTS: Attributes = Attributes::READ.union(Attributes::WRITE).union(Attributes::USER);

/// Where pages are mapped: near each other, in other tables, under other entries of the upper ones.
const fn place(number: u64) -> u64 {
    let [page, table, directory] = [number % 4, number / 4 % 3, number / 12];
    (page + 1) << 12 | (table + 1) << 21 | directory << 30 | (directory / 2) << 39
}
const PLACES: u64 = 48;

/// A domain: its master, with frames from a pool.
struct Domain<'p> {
    frames: RefCell<Frames<'p>>,
    arena: Arena,
    quota: Quota,
    master: Table<Host>,
    /// What was taken out belongs to this.
    aside: FrameNumber,
    latest: Latest,
    emptied: Emptied,
    mapped: BTreeMap<u64, u64>,
}

fn number(table: PhysAddr) -> FrameNumber {
    FrameNumber(table.page() as u32)
}

const fn address(frame: FrameNumber) -> PhysAddr {
    PhysAddr::truncate((frame.0 as u64) << 12)
}

/// A leaf that nobody has mapped: what frames of tables are used for when they are free.
const FOREIGN: u64 = 0xF0_0000;

impl<'p> Domain<'p> {
    fn new(descriptors: &'p mut [Descriptor]) -> Self {
        let (mut frames, quota) = (Frames::new(descriptors, 1).expect("a pool"), Quota::new(FRAMES));
        let mut root = || frames.allocate(Order::PAGE, &quota).expect("there is one").into_number();
        let (master, aside) = (Table::new(address(root())), root());
        let (arena, latest, emptied, mapped) = Default::default();
        let domain = Self { frames: RefCell::new(frames), arena, quota, master, aside, latest, emptied, mapped };
        (0..FRAMES).for_each(|_| _ = domain.arena.table());
        domain
    }

    fn fill(&self, table: FrameNumber, entry: u64) {
        (0..512).for_each(|index| self.arena.write(address(table), index, entry));
    }

    fn table(&self, table: PhysAddr, index: usize) -> Result<PhysAddr, OutOfMemory> {
        let frame = self.frames.borrow_mut().allocate(Order::PAGE, &self.quota)?.into_number();
        self.fill(frame, 0);
        self.frames.borrow_mut().note(number(self.master.root()), frame, table.page() as u32 * 512 + index as u32);
        Ok(address(frame))
    }

    fn map(&mut self, virt: u64, frame: u64) {
        if let Entry::Vacant(free) = self.mapped.entry(virt) {
            free.insert(frame);
            let (virt, phys) = (VirtAddr::new(virt), PhysAddr::truncate(frame << 12));
            let leaf = Host::leaf(phys, 1, RIGHTS);
            // As the kernel: the directory that was used last is known.
            let mut source = |table, index| self.table(table, index);
            let known = self.latest.table_at(&self.arena, Table::new(self.master.root()), virt, 1);
            let table = known.map(|known| known.root()).ok_or(());
            let table =
                table.or_else(|()| self.master.descend(&self.arena, virt, 1, &mut source)).expect("there are enough");
            assert!(Table::<Host>::new(table).enter(&self.arena, (1, virt), 1, leaf));
        }
    }

    fn take(&mut self, virt: u64) {
        let none = Attributes::empty();
        let range = (VirtAddr::new(virt), 4096);
        let mut source = |_, _| Err(OutOfMemory::Pool);
        assert_eq!(self.master.restrict(&self.arena, range, none, &mut source, &mut |_| {}), Ok(()));
        self.mapped.remove(&virt);
    }

    /// Tidies up, and stops after each few tables for something else.
    fn tidy(&mut self, few: u32, mut meanwhile: impl FnMut(&mut Self)) {
        let mut at = Some(self.master.root());
        while let Some(from) = at {
            at = self.slice(from, few);
            // The region is free: more may be mapped, and taken.
            meanwhile(self);
        }
        let free = || {
            let denoted = self.frames.borrow_mut().denote(self.aside, Unshown).expect("as many as were counted");
            self.fill(denoted.0, Host::leaf(PhysAddr::truncate(FOREIGN << 12), 1, RIGHTS));
            let mut frames = self.frames.borrow_mut();
            let frame = frames.reclaim(denoted.0, Unshown).expect("it is allocated");
            assert_eq!(frames.free(frame, &self.quota), Ok(()));
        };
        self.emptied.give_back(|| {}, free);
    }

    fn slice(&self, from: PhysAddr, few: u32) -> Option<PhysAddr> {
        let (left, mut shootdown) = (Cell::new(few), Shootdown::new(false));
        let space = Space { master: &self.master, view: &|_| None };
        let take = |before, table: PhysAddr| {
            let empty = (0..512).all(|index| self.arena.read(table, index) == 0);
            if empty {
                let entry = self.frames.borrow().noted(number(table)).expect("it is noted");
                self.frames.borrow_mut().renote(number(before), self.aside);
                self.emptied.add();
                let entry = (address(FrameNumber(entry / 512)), (entry % 512) as usize);
                space.take_empty((&self.arena, &Alone::default()), entry, || {}, &self.latest, &mut shootdown);
            }
            Some(empty)
        };
        let next = |at| self.frames.borrow().noted_before(number(at)).map(address);
        let left = look_through(from, next, take, || {
            left.set(left.get() - 1);
            left.get() == 0
        });
        shootdown.reach(&Alone::default());
        left
    }

    /// The tables that are noted.
    fn noted(&self) -> BTreeSet<u64> {
        let frames = self.frames.borrow();
        let next = |at: &FrameNumber| frames.noted_before(*at);
        core::iter::successors(next(&number(self.master.root())), next).map(|frame| frame.0.into()).collect()
    }

    /// The tables that are reached, from a table of `level` on.
    fn reached(&self, table: PhysAddr, level: u32, found: &mut BTreeSet<u64>) {
        for index in (0..512).filter(|_| level > 1) {
            if let crate::format::Entry::Table(next) = Host::decode(self.arena.read(table, index), level) {
                assert!(found.insert(next.page()), "two refer to the same");
                self.reached(next, level - 1, found);
            }
        }
    }

    fn check(&self) {
        for virt in (0..PLACES).map(place) {
            let found = self.master.lookup(&self.arena, VirtAddr::new(virt)).map(|(phys, ..)| phys.page());
            assert_eq!(found, self.mapped.get(&virt).copied());
        }
        let mut reached = BTreeSet::new();
        self.reached(self.master.root(), Host::LEVELS, &mut reached);
        assert_eq!(reached, self.noted());
        assert_eq!(self.quota.usage() as usize, 2 + reached.len() + self.emptied.count() as usize);
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Map(u64),
    Take(u64),
    /// Stops after so many tables, and maps and takes these meanwhile.
    Tidy(u32, u64, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let number = || 0..PLACES;
    prop_oneof![
        3 => number().prop_map(Step::Map),
        3 => number().prop_map(Step::Take),
        1 => (1..6u32, number(), number()).prop_map(|(few, map, take)| Step::Tidy(few, map, take)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 96 }))]

    #[test]
    fn what_is_mapped_stays_and_what_is_empty_goes(steps in prop::collection::vec(step(), 1..if cfg!(miri) { 4 } else { 60 })) {
        let mut descriptors = vec![Descriptor::TAIL; FRAMES as usize];
        let mut domain = Domain::new(&mut descriptors);
        for (at, step) in (0..).zip(steps) {
            match step {
                Step::Map(number) => domain.map(place(number), 0x1000 + at),
                Step::Take(number) => domain.take(place(number)),
                Step::Tidy(few, map, take) => {
                    domain.tidy(few, |domain| {
                        domain.map(place(map), 0x1000 + at);
                        domain.take(place(take));
                        domain.check();
                    });
                    domain.tidy(u32::MAX, |_| {});
                    let is_empty = |table: &u64| {
                        (0..512).all(|index| domain.arena.read(PhysAddr::truncate(table << 12), index) == 0)
                    };
                    assert_eq!(domain.noted().iter().find(|table| is_empty(table)), None);
                }
            }
            domain.check();
        }
        (0..PLACES).for_each(|number| domain.take(place(number)));
        domain.tidy(u32::MAX, |_| {});
        domain.check();
        prop_assert_eq!(domain.quota.usage(), 2, "the master's root is left, and what the others belonged to");
    }
}
