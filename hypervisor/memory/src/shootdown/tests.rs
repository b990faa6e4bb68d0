//! Purpose: what pages are joined, whom a shootdown asks, and for what.

use super::*;
use crate::mmu::arena::Arena;
use proptest::prelude::*;
use std::cell::RefCell;

/// Cores that take an interrupt at once, seen from core 0.
struct Fake {
    cores: Vec<Core>,
    interrupts: RefCell<Vec<u32>>,
    flushed: RefCell<Vec<(u32, Pages)>>,
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
            self.core(id).serve(&At(self.0, id));
        }
    }
    fn flush(&self, pages: Pages) {
        self.0.flushed.borrow_mut().push((self.1, pages));
    }
}

/// Cores that have these views loaded; the view of core n is n + 1 if it is of the domain.
fn machine(loaded: &[u64], arena: &Arena) -> Fake {
    let cores = loaded.iter().map(|&root| {
        let core = Core::default();
        core.enter(arena, PhysAddr::truncate(root << 12));
        core
    });
    Fake { cores: cores.collect(), interrupts: RefCell::default(), flushed: RefCell::default() }
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
    shootdown.add_all();
    shootdown.finish(&At(&fake, 1));
    assert_eq!(*fake.interrupts.borrow(), [0, 2]);
    fake.cores[2].leave();
    assert_eq!(fake.cores[2].current.load(Relaxed), 0);
}

#[test]
fn as_many_pages_as_are_forgotten_one_by_one_are_joined_from_parts_with_odd_counts() {
    let pages = |first: u64, count: u64| Pages::new(first << 12, count << 12);
    assert_eq!(pages(6, 15).range(), Some((6 << 12, 15)));
    assert_eq!(pages(6, 15).and(pages(21, 1)), pages(6, 16));
    assert_eq!(pages(6, 15).and(pages(21, 2)), Pages::ALL);
    assert_eq!(pages(6, 3).and(pages(9, 2)), pages(6, 5));
}

proptest! {
    #[test]
    fn joined_pages_contain_both(first in 0u64..40, count in 1u64..20, second in 0u64..40, more in 1u64..20) {
        let pages = |start: u64, count: u64| Pages::new(start << 12, count << 12);
        let contains = |pages: Pages, page: u64| {
            pages.range().is_none_or(|(start, count)| (start >> 12..(start >> 12) + count).contains(&page))
        };
        let both = pages(first, count).and(pages(second, more));
        for page in (first..first + count).chain(second..second + more) {
            prop_assert!(contains(both, page));
        }
        prop_assert_eq!(Pages::NONE.and(pages(first, count)), pages(first, count));
        prop_assert!(both.range().is_none_or(|(_, count)| count <= SINGLE));
    }
}
