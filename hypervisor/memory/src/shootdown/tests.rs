//! Purpose: what pages are joined, whom a shootdown asks, and for what.

use super::*;
use crate::format::{Attributes, Format, Host};
use crate::mmu::arena::Arena;
use crate::space::{self, Filled, Space};
use crate::table::{Mapping, Table};
use crate::tags::KEEP;
use abi::VirtAddr;
use proptest::prelude::*;
use std::cell::{Cell, RefCell};

/// Cores that take an interrupt at once, seen from core 0.
struct Fake {
    cores: Vec<Core>,
    interrupts: RefCell<Vec<u32>>,
    /// Whether they take no interrupts for now.
    held: Cell<bool>,
    /// Who was told that a shootdown has landed, and by whom.
    landed: RefCell<Vec<(u32, u32)>>,
    flushed: RefCell<Vec<(u32, Pages)>>,
    flights: AtomicU64,
}

/// A core of it.
struct At<'a>(&'a Fake, u32);

impl Machine for At<'_> {
    fn cores(&self) -> u32 {
        self.0.cores.len() as u32
    }
    fn own(&self) -> u32 {
        self.1
    }
    fn core(&self, id: u32) -> &Core {
        &self.0.cores[id as usize]
    }
    fn interrupt(&self, ids: impl Iterator<Item = u32>, _: u32) {
        for id in ids {
            self.0.interrupts.borrow_mut().push(id);
            if !self.0.held.get() {
                self.core(id).serve(&At(self.0, id));
            }
        }
    }
    fn flush(&self, pages: Pages) {
        self.0.flushed.borrow_mut().push((self.1, pages));
    }
    fn threshold(&self) -> u64 {
        3
    }
    fn landed(&self, id: u32) {
        self.0.landed.borrow_mut().push((id, self.1));
    }
    fn flights(&self) -> &AtomicU64 {
        &self.0.flights
    }
}

/// Cores that have these views loaded; the view of core n is n + 1 if it is of the domain.
fn machine(loaded: &[u64], arena: &Arena) -> Fake {
    let cores = loaded.iter().map(|&root| {
        let core = Core::default();
        core.enter(arena, PhysAddr::truncate(root << 12));
        // And with its tag, the second time.
        assert!(core.enter_if_right(KEEP | root << 12 | 2, || 0));
        core
    });
    Fake {
        cores: cores.collect(),
        interrupts: RefCell::default(),
        held: Cell::new(false),
        landed: RefCell::default(),
        flushed: RefCell::default(),
        flights: AtomicU64::new(0),
    }
}

/// Enough roots.
fn arena() -> Arena {
    let arena = Arena::default();
    (0..150).for_each(|_| _ = arena.table());
    arena
}

fn view(id: u32) -> Option<PhysAddr> {
    Some(PhysAddr::truncate(u64::from(id + 1) << 12))
}

const PAGE: Pages = Pages::new(0x5000, 0x1000);

#[test]
fn only_sharers_that_run_the_domain_are_asked_and_once_each() {
    let arena = arena();
    let fake = machine(&[1, 2, 99, 4, 5], &arena);
    let mut shootdown = Shootdown::new(false);
    for _ in 0..3 {
        let sharers = shootdown.sharers(|| bit(0) | bit(1) | bit(2) | bit(4));
        shootdown.add((&arena, &At(&fake, 0)), sharers, &view, PAGE);
    }
    shootdown.finish(&At(&fake, 0));
    assert_eq!(*fake.interrupts.borrow(), [1, 4]);
    assert_eq!(*fake.flushed.borrow(), [(1, PAGE), (4, PAGE), (0, PAGE)]);
    let right = |id: u32| view(id).is_some_and(|root| fake.cores[id as usize].enter(&arena, root));
    assert!(!right(2), "who runs another domain finds the note");
    assert!(right(2), "once");
    assert!(right(0) && right(3), "who is no sharer, or has forgotten, finds none");
}

#[test]
fn above_the_threshold_everything_is_forgotten_by_all() {
    for (count, forgotten) in [(3, Pages::new(0x5000, 0x3000)), (4, Pages::ALL)] {
        for waits in [true, false] {
            let arena = arena();
            let fake = machine(&[1, 2], &arena);
            let mut shootdown = Shootdown::new(false);
            shootdown.add((&arena, &At(&fake, 0)), bit(0) | bit(1), &view, Pages::new(0x5000, count << PAGE_BITS));
            if waits {
                shootdown.finish(&At(&fake, 0));
            } else {
                assert!(shootdown.finish_later(&At(&fake, 0)).is_none());
            }
            assert_eq!(*fake.flushed.borrow(), [(1, forgotten), (0, forgotten)]);
        }
    }
}

#[test]
fn a_domain_has_ended_when_no_core_has_a_view_of_it_loaded() {
    let arena = arena();
    let fake = machine(&[99, 2, 98], &arena);
    assert!(Acknowledged::of_ended(&At(&fake, 0), &view).is_none(), "core 1 has it");
    fake.cores[1].leave();
    assert!(Acknowledged::of_ended(&At(&fake, 0), &view).is_some());
    assert!(Acknowledged::of_ended(&At(&fake, 0), &|_| None).is_some(), "nor one without views");
}

#[test]
fn who_does_not_wait_is_told_by_the_last() {
    let arena = arena();
    let fake = machine(&[1, 2, 3, 99], &arena);
    let own = At(&fake, 0);
    fake.held.set(true);
    let take = |later: bool| {
        let mut shootdown = Shootdown::new(false);
        let sharers = shootdown.sharers(|| bit(0) | bit(1) | bit(2));
        shootdown.add((&arena, &own), sharers, &view, PAGE);
        if later { shootdown.finish_later(&own) } else { Some(shootdown.finish(&own)) }
    };
    assert!(take(true).is_none() && Acknowledged::of_landed(&own).is_none());
    assert_eq!((&*fake.flushed.borrow(), &*fake.interrupts.borrow()), (&vec![(0, PAGE)], &vec![1, 2]));
    assert!(fake.cores[2].serve(&At(&fake, 2)) && Acknowledged::of_landed(&own).is_none());
    assert!(fake.cores[1].serve(&At(&fake, 1)) && Acknowledged::of_landed(&own).is_some());
    assert_eq!((&*fake.landed.borrow(), fake.flights.load(Relaxed)), (&vec![(0, 1)], 0));
    // The next is asked as ever, and tells nobody.
    fake.held.set(false);
    assert!(take(false).is_some());
    assert_eq!(fake.landed.borrow().len(), 1);
    // One that asks nobody is over at once.
    assert!(Shootdown::new(false).finish_later(&own).is_some());
}

#[test]
fn a_naive_one_asks_everybody_who_runs_the_domain() {
    let arena = arena();
    let fake = machine(&[1, 2, 99, 4], &arena);
    let mut shootdown = Shootdown::new(true);
    let sharers = shootdown.sharers(|| 0);
    shootdown.add((&arena, &At(&fake, 0)), sharers, &view, PAGE);
    shootdown.finish(&At(&fake, 0));
    assert_eq!(*fake.interrupts.borrow(), [1, 3]);
}

#[test]
fn on_a_large_machine_a_bit_stands_for_several_cores() {
    assert_eq!(members(bit(3) | bit(70), 140).collect::<Vec<_>>(), [3, 67, 131, 6, 70, 134]);
    let arena = arena();
    let fake = machine(&(1..=130).collect::<Vec<_>>(), &arena);
    let mut shootdown = Shootdown::new(false);
    shootdown.add((&arena, &At(&fake, 1)), bit(1), &view, PAGE);
    shootdown.finish(&At(&fake, 1));
    assert_eq!(*fake.interrupts.borrow(), [65, 129]);
}

#[test]
fn for_tables_without_sharers_all_cores_are_asked() {
    let arena = arena();
    let fake = machine(&[0, 0, 2], &arena);
    let mut shootdown = Shootdown::new(false);
    shootdown.add_cores(&At(&fake, 1), u64::MAX);
    shootdown.finish(&At(&fake, 1));
    assert_eq!(*fake.interrupts.borrow(), [0, 2]);
    fake.cores[2].leave();
    assert_eq!(fake.cores[2].current.load(Relaxed), 0);
}

#[test]
fn who_asks_no_cores_of_a_large_machine_keeps_nobody_waiting() {
    let fake = machine(&[0; 65], &arena());
    let mut shootdown = Shootdown::new(false);
    shootdown.add_cores(&At(&fake, 1), 0);
    shootdown.finish(&At(&fake, 1));
    assert_eq!(fake.flights.load(Relaxed), 0);
}

#[test]
fn as_many_pages_as_are_forgotten_one_by_one_are_joined_from_parts_with_odd_counts() {
    let pages = |first: u64, count: u64| Pages::new(first << 12, count << 12);
    assert_eq!(pages(6, 63).range(), Some((6 << 12, 63)));
    assert_eq!(pages(6, 63).and(pages(69, 1)), pages(6, 64));
    assert_eq!(pages(6, 63).and(pages(69, 2)), Pages::ALL);
    assert_eq!((pages(6, 63).at_most(63), pages(6, 63).at_most(62)), (pages(6, 63), Pages::ALL));
    assert_eq!((Pages::ALL.at_most(MOST), Pages::NONE.at_most(1)), (Pages::ALL, Pages::NONE));
    assert_eq!(pages(6, 3).and(pages(9, 2)), pages(6, 5));
}

/// A domain with a page at 0x40_1000, or a large one around it, that cores 0 and 1 have brought in; the tables that note it for
/// core 1.
fn noted(arena: &Arena, large: bool) -> (Table<Host>, PhysAddr, usize) {
    let master = Table::<Host>::new(arena.table());
    let (virt, size) = if large { (0x40_0000, 2 << 20) } else { (0x40_1000, 4096) };
    let attributes = Attributes::READ | Attributes::WRITE | Attributes::USER;
    let mapping = Mapping { virt: VirtAddr::new(virt), phys: PhysAddr::truncate(0), size, attributes };
    let mut frame = |_, _| Ok(arena.table());
    assert_eq!(master.map(arena, mapping, &mut frame), Ok(()));
    for id in 0..2 {
        let local = Table::new(view(id).unwrap_or(PhysAddr::truncate(0)));
        assert_eq!(space::sync(arena, &master, (&local, id), mapping.virt, &mut frame), Ok(Filled::Copied));
    }
    let (of, level): (Table<Host>, _) =
        if large { (Table::new(PhysAddr::truncate(2 << 12)), 2) } else { (Table::new(master.root()), 1) };
    let table = of.descend(arena, mapping.virt, level, &mut frame).unwrap_or(PhysAddr::truncate(0));
    (master, table, mapping.virt.index(level))
}

#[test]
fn what_was_noted_is_read_by_anybody_and_cleared_together_with_a_flush() {
    for large in [false, true] {
        let arena = arena();
        let (master, table, index) = noted(&arena, large);
        let fake = machine(&[1, 2, 99], &arena);
        let space = Space { master: &master, view: &view };
        let ask = |clear| {
            let mut shootdown = Shootdown::new(false);
            let noted = space.evidence((&arena, &At(&fake, 0)), VirtAddr::new(0x40_1000), clear, &mut shootdown);
            shootdown.finish(&At(&fake, 0));
            (noted.map(|(noted, _)| noted), fake.interrupts.borrow_mut().drain(..).collect::<Vec<_>>())
        };
        assert_eq!(ask(true), (Some(0), vec![]), "of what nobody has used nobody forgets anything");
        if large {
            // What was cleared is brought in again.
            let local = Table::new(PhysAddr::truncate(2 << 12));
            let filled =
                space::sync(&arena, &master, (&local, 1), VirtAddr::new(0x40_0000), &mut |_, _| Ok(arena.table()));
            assert_eq!(filled, Ok(Filled::Copied));
        }
        arena.write(table, index, arena.read(table, index) | Host::EVIDENCE);
        assert_eq!(ask(false), (Some(Host::EVIDENCE), vec![]));
        assert_eq!(ask(true), (Some(Host::EVIDENCE), vec![1]), "and who may remember it, and runs the domain, does");
        assert_eq!(ask(true), (Some(0), vec![]));
        let other = space.evidence((&arena, &At(&fake, 0)), VirtAddr::new(0x80_0000), true, &mut Shootdown::new(false));
        assert_eq!(other, None);
    }
}

#[test]
fn what_was_noted_of_a_large_page_is_noted_of_its_parts() {
    for noted_there in [0, Host::ACCESSED, Host::EVIDENCE] {
        let arena = arena();
        let (master, table, index) = noted(&arena, true);
        let (fake, mut shootdown) = (machine(&[1, 2, 99], &arena), Shootdown::new(false));
        let (space, machine) = (Space { master: &master, view: &view }, At(&fake, 0));
        arena.write(table, index, arena.read(table, index) | noted_there);
        let (first, none) = ((VirtAddr::new(0x40_0000), 4096), Attributes::empty());
        let taken = space.restrict((&arena, &machine), first, none, &mut |_, _| Ok(arena.table()), &mut shootdown);
        assert_eq!(taken, Ok(()));
        let ask = |virt, shootdown: &mut Shootdown| {
            space.evidence((&arena, &machine), VirtAddr::new(virt), false, shootdown).map(|(noted, _)| noted)
        };
        for virt in [0x40_1000, 0x5F_F000] {
            assert_eq!(ask(virt, &mut shootdown), Some(noted_there));
        }
        assert_eq!(ask(0x40_0000, &mut shootdown), None);
        shootdown.finish(&machine);
    }
}

proptest! {
    #[test]
    fn joined_pages_contain_both(first in 0u64..80, count in 1u64..80, second in 0u64..80, more in 1u64..80) {
        let pages = |start: u64, count: u64| Pages::new(start << 12, count << 12);
        let contains = |pages: Pages, page: u64| {
            pages.range().is_none_or(|(start, count)| (start >> 12..(start >> 12) + count).contains(&page))
        };
        let both = pages(first, count).and(pages(second, more));
        for page in (first..first + count).chain(second..second + more) {
            prop_assert!(contains(both, page));
        }
        prop_assert_eq!(Pages::NONE.and(pages(first, count)), pages(first, count));
        prop_assert!(both.range().is_none_or(|(_, count)| count <= MOST));
    }
}
