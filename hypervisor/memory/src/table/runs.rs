//! Runs of leaves of one table, entered and taken at once.
//!
//! Purpose: what is done at once leaves the tables as entry by entry, and what cannot be is not begun.
//! Invariants: none.
//! Concurrency: one thread.
//! Source: `docs/src/decisions/0020-short-ways.md`.
use super::*;
use crate::format::{Dma, Ept, Giant, Host};
use crate::mmu::arena::Arena;
use proptest::prelude::*;

const RW: Attributes = Attributes::READ.union(Attributes::WRITE).union(Attributes::USER);
/// Entries of the table that are used.
const ENTRIES: u64 = 8;

/// What is in an entry before.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Before {
    Nothing,
    Leaf,
    /// A table, with a leaf in it or without.
    Table(bool),
}

fn before() -> impl Strategy<Value = [Before; ENTRIES as usize]> {
    let one =
        prop_oneof![3 => Just(Before::Nothing), 4 => Just(Before::Leaf), 1 => any::<bool>().prop_map(Before::Table)];
    [(); ENTRIES as usize].map(|()| one.clone().boxed())
}

/// Tables whose table of `level` has `before`, and that table.
fn tables<F: Format>(arena: &Arena, level: u32, before: &[Before]) -> (Table<F>, Table<F>) {
    let root = Table::<F>::new(arena.table());
    let leaf = 1u64 << shift(level);
    for (index, before) in (0u64..).zip(before) {
        let (virt, size) = (VirtAddr::new(index * leaf), if *before == Before::Leaf { leaf } else { 1 << PAGE_BITS });
        let mapping = Mapping { virt, phys: PhysAddr::truncate(index * leaf), size, attributes: RW };
        if *before != Before::Nothing {
            assert_eq!(root.map(arena, mapping, &mut |_, _| Ok(arena.table())), Ok(()));
        }
        if *before == Before::Table(false) {
            let none = Attributes::empty();
            assert_eq!(root.restrict(arena, (virt, size), none, &mut |_, _| Ok(arena.table()), &mut |_| {}), Ok(()));
        }
    }
    let table = root.descend(arena, VirtAddr::new(0), level, &mut |_, _| Ok(arena.table()));
    let Ok(table) = table else { panic!("there is one") };
    (root, Table::new(table))
}

/// All that can be seen of the entries.
fn shown<F: Format>(
    arena: &Arena,
    (root, table): &(Table<F>, Table<F>),
    level: u32,
) -> Vec<(u64, impl PartialEq + use<F>)> {
    let at = |index: u64| (index << shift(level), arena.read(table.root(), index as usize));
    let look = |(virt, entry): (u64, u64)| {
        // Tables that are made are not the same.
        let kept = if matches!(F::decode(entry, level), Entry::Table(_)) { 0 } else { entry };
        (kept, [virt, virt + (1 << PAGE_BITS)].map(|virt| root.lookup(arena, VirtAddr::new(virt))))
    };
    (0..ENTRIES + 1).map(at).map(look).collect()
}

fn check<F: Format>(level: u32, before: &[Before], (first, count): (u64, u64)) {
    let (virt, size) = (VirtAddr::new(first << shift(level)), count << shift(level));
    let mapping = Mapping { virt, phys: PhysAddr::truncate(1 << 40), size, attributes: RW };
    let run = &before[first as usize..(first + count) as usize];
    // Entered.
    let (arena, other) = (Arena::default(), Arena::default());
    let (here, there) = (tables::<F>(&arena, level, before), tables::<F>(&other, level, before));
    let entered = here.1.enter(&arena, (level, virt), count, F::leaf(mapping.phys, level, RW));
    assert_eq!(entered, run.iter().all(|before| *before == Before::Nothing));
    if entered {
        assert_eq!(there.0.map(&other, mapping, &mut |_, _| Ok(other.table())), Ok(()));
    }
    assert!(shown(&arena, &here, level) == shown(&other, &there, level));
    if level == 1 {
        return;
    }
    // Taken.
    let (arena, other) = (Arena::default(), Arena::default());
    let (here, there) = (tables::<F>(&arena, level, before), tables::<F>(&other, level, before));
    let taken = here.1.take_large(&arena, (level, virt), count);
    assert_eq!(taken, run.iter().all(|before| *before == Before::Leaf));
    if taken {
        let mut changes = Vec::new();
        let frame: Source<'_> = &mut |_, _| Ok(other.table());
        let done =
            there.0.restrict(&other, (virt, size), Attributes::empty(), frame, &mut |change| changes.push(change));
        assert_eq!((done, changes.len() as u64), (Ok(()), count));
    }
    assert!(shown(&arena, &here, level) == shown(&other, &there, level));
}

proptest! {
    #[test]
    fn runs_are_what_their_leaves_are(before in before(), first in 0..ENTRIES, count in 1..=ENTRIES) {
        let run = (first, count.min(ENTRIES - first));
        let pages = before.map(|before| if matches!(before, Before::Table(_)) { Before::Leaf } else { before });
        check::<Host>(1, &pages, run);
        check::<Host>(2, &before, run);
        check::<Ept>(2, &before, run);
        check::<Dma>(2, &before, run);
        check::<Giant<Host>>(3, &before, run);
    }
}
