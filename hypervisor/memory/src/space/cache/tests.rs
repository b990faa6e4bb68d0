//! Purpose: whose turn it is, and what becomes of what processors have noted.

use super::*;
use crate::format::Attributes;
use crate::mmu::Noting;
use crate::mmu::arena::Arena;
use crate::shootdown::alone::Alone;
use crate::shootdown::{NOTE, STALE};
use crate::space::{self, Filled, Space};
use crate::table::Mapping;
use abi::operation::Noted;
use proptest::prelude::*;
use std::collections::VecDeque;

/// A view with tables joins or leaves, was used, or all are asked for some, of which one in so many is busy.
#[derive(Clone, Copy, Debug)]
enum Act {
    Join(usize),
    Part(usize),
    Use(usize),
    Give(usize, bool),
}

fn act() -> impl Strategy<Value = Act> {
    let view = 0..6usize;
    prop_oneof![
        view.clone().prop_map(Act::Join),
        view.clone().prop_map(Act::Part),
        view.clone().prop_map(Act::Use),
        (view, any::<bool>()).prop_map(|(busy, all)| Act::Give(busy, all)),
    ]
}

proptest! {
    /// The ring is a queue, in which who was used goes to the end once.
    #[test]
    fn views_give_in_turn_and_who_was_used_later(acts in prop::collection::vec(act(), 1..100)) {
        let (arena, ring) = (Arena::default(), Ring::default());
        let roots: Vec<_> = (0..7).map(|_| arena.table()).skip(1).collect();
        let (mut queue, mut used) = (VecDeque::new(), [false; 6]);
        for act in acts {
            match act {
                Act::Join(view) => {
                    ring.join(&arena, roots[view], 2 * view as u64);
                    if !queue.contains(&view) {
                        queue.push_back(view);
                    }
                }
                Act::Part(view) => {
                    ring.part(&arena, roots[view]);
                    queue.retain(|&other| other != view);
                }
                Act::Use(view) => {
                    used[view] = true;
                    arena.write(roots[view], view, Host::ACCESSED | 1);
                }
                Act::Give(busy, all) => {
                    let mut asked = Vec::new();
                    let given = ring.give(&arena, |root, owner| {
                        let view = owner as usize / 2;
                        assert_eq!(root, roots[view]);
                        asked.push(view);
                        match (view == busy, all) {
                            (true, _) => Given::Busy,
                            (_, true) => Given::All,
                            _ => Given::Some,
                        }
                    });
                    let mut expected = Vec::new();
                    for turn in 0..2 * CHANCES {
                        let Some(view) = queue.pop_front() else { break };
                        queue.push_back(view);
                        if turn < CHANCES && core::mem::take(&mut used[view]) {
                            continue;
                        }
                        expected.push(view);
                        if view != busy {
                            queue.pop_back();
                            if !all {
                                queue.push_front(view);
                            }
                            break;
                        }
                    }
                    prop_assert_eq!((given, asked), (!expected.is_empty() || !queue.is_empty(), expected));
                }
            }
            let inside = |view: usize| arena.read(roots[view], NEXT) != 0;
            prop_assert!((0..6).all(|view| inside(view) == queue.contains(&view)));
        }
        for root in &roots {
            ring.part(&arena, *root);
            prop_assert_eq!([NEXT, BEFORE, OWNER].map(|entry| arena.read(*root, entry)), [0; 3], "it may be another's frame");
        }
    }
}

const VIRT: VirtAddr = VirtAddr::new(0x4020_0000);

/// A domain with a large leaf and a small one, which a core has brought in: master, root, directory of the view, and the
/// pointer table above it.
fn view(arena: &Arena) -> (Table<Host>, Table<Host>, [PhysAddr; 2]) {
    arena.table();
    let (master, local) = (Table::<Host>::new(arena.table()), Table::<Host>::new(arena.table()));
    let attributes = Attributes::READ | Attributes::WRITE | Attributes::USER;
    let mut frame = |_, _| Ok(arena.table());
    for (virt, size) in [(VIRT, 2 << 20), (VIRT.offset(2 << 20), 4096)] {
        let mapping = Mapping { virt, phys: PhysAddr::truncate(1 << 30), size, attributes };
        assert_eq!(master.map(arena, mapping, &mut frame), Ok(()));
        assert_eq!(space::sync(arena, &master, (&local, 0), virt, &mut frame), Ok(Filled::Copied));
    }
    let tables = [2, 3].map(|level| local.descend(arena, VIRT, level, &mut frame).unwrap_or(PhysAddr::truncate(0)));
    (master, local, tables)
}

/// Takes both tables of the view back. Whether the core has forgotten everything, and whether there is a note that it must.
fn take(
    arena: &Arena,
    (master, local): (&Table<Host>, &Table<Host>),
    tables: [PhysAddr; 2],
    loaded: bool,
) -> (bool, bool) {
    let machine = Alone::default();
    if loaded {
        machine.core.enter(arena, local.root());
    }
    let mut shootdown = Shootdown::new(false);
    arena.write(local.root(), 0, 0);
    arena.write(tables[1], VIRT.index(3), 0);
    let taken = [(tables[0], Some(VirtAddr::new(1 << 30))), (tables[1], None)];
    take_back((arena, &machine), master, local.root(), taken.into_iter(), &mut shootdown);
    shootdown.finish(&machine);
    for table in tables {
        assert!((0..512).all(|index| arena.read(table, index) == 0), "it is used again as an empty table");
    }
    (machine.flushes.get() != 0, arena.read(local.root(), NOTE) == STALE)
}

#[test]
fn who_has_the_view_loaded_forgets_it_at_once_and_who_has_not_later() {
    for loaded in [false, true] {
        let arena = Arena::default();
        let (master, local, tables) = view(&arena);
        assert_eq!(take(&arena, (&master, &local), tables, loaded), (loaded, !loaded));
        assert!(space::lacks(&arena, Table::new(local.root()), VIRT));
        let mut frame = |_, _| Ok(arena.table());
        assert_eq!(
            space::sync(&arena, &master, (&local, 0), VIRT, &mut frame),
            Ok(Filled::Copied),
            "a fault brings it back"
        );
    }
}

#[test]
fn what_was_noted_in_a_copy_outlives_it() {
    for noted in [0, Host::ACCESSED, Host::EVIDENCE] {
        let arena = Arena::default();
        let (master, local, tables) = view(&arena);
        let index = VIRT.index(2);
        arena.write(tables[0], index, arena.read(tables[0], index) | noted);
        // Of the entry for a table it is no evidence.
        arena.write(tables[0], index + 1, arena.read(tables[0], index + 1) | Host::ACCESSED);
        take(&arena, (&master, &local), tables, true);
        let mut frame = |_, _| Ok(arena.table());
        assert_eq!(space::sync(&arena, &master, (&local, 0), VIRT, &mut frame), Ok(Filled::Copied));
        let copy = local.descend(&arena, VIRT, 2, &mut frame).map(|copies| arena.read(copies, index));
        assert_eq!(copy.map(|copy| copy & Host::EVIDENCE), Ok(0), "the new copy was not used");
        let machine = Alone::default();
        let views = |_| Some(local.root());
        let space = Space { master: &master, view: &views };
        let ask = |virt, clear| {
            let mut shootdown = Shootdown::new(false);
            let found = space.evidence((&arena, &machine), virt, clear, &mut shootdown);
            shootdown.finish(&machine);
            found.map(|(noted, _)| noted)
        };
        assert_eq!([ask(VIRT, false), ask(VIRT.offset(2 << 20), false)], [Some(noted), Some(0)]);
        let parts = (VIRT, 4096);
        let noting = Noting::<_, Host>::new(&arena);
        let mut shootdown = Shootdown::new(false);
        let taken = space.restrict((&noting, &machine), parts, Attributes::empty(), &mut frame, &mut shootdown);
        shootdown.finish(&machine);
        let (accessed, dirty) = (noted & Host::ACCESSED != 0, noted & !Host::ACCESSED != 0);
        assert_eq!(taken, Ok(()));
        assert_eq!(
            noting.noted(),
            [(accessed, Noted::ACCESSED), (dirty, Noted::DIRTY)]
                .iter()
                .filter(|(is, _)| *is)
                .map(|&(_, it)| it)
                .collect()
        );
        assert_eq!(ask(VIRT.offset(4096), false), Some(noted), "the parts of a divided leaf have what it had");
        assert_eq!([ask(VIRT.offset(4096), true), ask(VIRT.offset(4096), true)], [Some(noted), Some(0)]);
    }
}

#[test]
fn what_is_cleared_is_cleared_in_the_master_too() {
    let arena = Arena::default();
    let (master, local, tables) = view(&arena);
    arena.write(tables[0], VIRT.index(2), arena.read(tables[0], VIRT.index(2)) | Host::EVIDENCE);
    take(&arena, (&master, &local), tables, false);
    let (machine, views) = (Alone::default(), |_| Some(local.root()));
    let space = Space { master: &master, view: &views };
    let noted = [true, false].map(|clear| {
        let mut shootdown = Shootdown::new(false);
        let found = space.evidence((&arena, &machine), VIRT, clear, &mut shootdown);
        shootdown.finish(&machine);
        found
    });
    assert_eq!(noted, [Some((Host::EVIDENCE, 2)), Some((0, 2))]);
}
