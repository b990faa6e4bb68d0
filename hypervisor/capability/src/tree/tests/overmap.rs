//! Purpose: what a delegation finds where it goes: rules, and random worlds against the plain model.
use super::model::{Form, Model};
use super::rules::{ALL, delegate, give, world};
use super::world::{Entry, Mirror, Place, World, memory, piece, span};
use crate::tree::{Attributes, Error, Outcome, Piece, Span, Transfer};
use abi::Rights;
use proptest::prelude::*;

const READ: Rights = Rights::new(1);

/// The delegation with what is in its way dealt with first, however often it is preempted.
fn overmap(world: &World, transfer: &Transfer, replace: bool, slice: usize) -> Vec<(u64, u8)> {
    let mut mirror = Mirror::new(world);
    (mirror.slice, mirror.round) = (slice, replace);
    let mut over = *transfer;
    for _ in 0..1000 {
        let outcome = world.tree().overmap(&mut over, replace, &mut mirror);
        world.check();
        mirror.assert_matches();
        if outcome != Ok(Outcome::Preempted) {
            assert_eq!(outcome, Ok(Outcome::Done));
            break;
        }
    }
    let mut rest = *transfer;
    while world.tree().delegate(&mut rest, &mut mirror) == Ok(Outcome::Preempted) {}
    world.check();
    world.check_joined();
    mirror.assert_matches();
    mirror.revoked.iter().map(|(piece, left)| (piece.span.base, left.bits())).collect()
}

#[test]
fn the_same_delegation_with_more_rights_raises_them_in_place() {
    let world = world(4);
    delegate(&world, Transfer { rights: READ, ..give((0, 0), (1, 10), 4) });
    let revoked = overmap(&world, &give((0, 1), (1, 11), 2), false, usize::MAX);
    assert_eq!(revoked, [], "nobody loses anything");
    assert_eq!(world.pieces(1), [piece(1, 10, 1, 100, 1), piece(1, 11, 2, 101, 7), piece(1, 13, 1, 103, 1)]);
    overmap(&world, &give((0, 0), (1, 10), 4), false, usize::MAX);
    assert_eq!(world.pieces(1), [piece(1, 10, 4, 100, 7)], "and what is alike joins again");
}

#[test]
fn what_comes_from_elsewhere_is_raised_by_nobody() {
    let world = world(2);
    delegate(&world, Transfer { rights: READ, ..give((0, 0), (1, 10), 1) });
    delegate(&world, Transfer { rights: ALL, ..give((0, 0), (2, 20), 1) });
    // The same unit, but not from there: the rights of a child would exceed its parent's.
    overmap(&world, &give((2, 20), (1, 10), 1), false, usize::MAX);
    assert_eq!(world.pieces(1), [piece(1, 10, 1, 100, 1)]);
    overmap(&world, &give((0, 1), (1, 10), 1), false, usize::MAX);
    assert_eq!(world.pieces(1), [piece(1, 10, 1, 100, 1)], "another one stays, too");
}

#[test]
fn what_is_replaced_arrives_though_something_beside_it_stays() {
    for (rights, had) in [(ALL, ALL), (READ, ALL), (ALL, READ)] {
        let world = world(8);
        delegate(&world, Transfer { rights: had, ..give((0, 1), (1, 11), 1) });
        delegate(&world, give((0, 6), (1, 10), 1));
        delegate(&world, give((0, 7), (1, 12), 1));
        overmap(&world, &Transfer { rights, ..give((0, 0), (1, 10), 4) }, true, usize::MAX);
        let units = world.units();
        let shown = (10..14).map(|unit| units.get(&(1, unit)).map(|((origin, ..), _)| *origin));
        assert_eq!(shown.collect::<Vec<_>>(), [100, 101, 102, 103].map(Some));
    }
}

#[test]
fn memory_of_another_type_is_another_mapping() {
    let (world, combining) = (world(2), Attributes::WRITE_COMBINING);
    delegate(&world, Transfer { rights: READ, ..give((0, 0), (1, 10), 1) });
    let anew = Transfer { attributes: combining, ..give((0, 0), (1, 10), 1) };
    assert_eq!(overmap(&world, &anew, false, usize::MAX), [], "its type is not raised");
    assert_eq!(world.pieces(1), [piece(1, 10, 1, 100, 1)]);
    assert_eq!(overmap(&world, &anew, true, usize::MAX), [(10, 0)], "it is mapped anew if that is asked for");
    let there = Piece { attributes: combining, ..piece(1, 10, 1, 100, 7) };
    assert_eq!(world.pieces(1), [there]);
    // What is inherited is not asked for.
    delegate(&world, Transfer { rights: READ, ..give((1, 10), (2, 20), 1) });
    assert_eq!(overmap(&world, &give((1, 10), (2, 20), 1), true, usize::MAX), [], "and is the same");
    assert_eq!(world.pieces(2), [Piece { attributes: combining, ..piece(2, 20, 1, 100, 7) }]);
}

#[test]
fn another_one_is_replaced_with_what_descends_from_it() {
    let world = world(4);
    delegate(&world, give((0, 0), (1, 10), 2));
    delegate(&world, give((1, 10), (2, 20), 2));
    let revoked = overmap(&world, &give((0, 2), (1, 11), 1), true, usize::MAX);
    assert_eq!(revoked, [(21, 0), (11, 0)], "children before parents, and no other unit");
    assert_eq!(world.pieces(1), [piece(1, 10, 1, 100, 7), piece(1, 11, 1, 102, 7)]);
    assert_eq!(world.pieces(2), [piece(2, 20, 1, 100, 7)]);
}

#[test]
fn a_hole_replaces_nothing() {
    let world = world(1);
    world.tree().insert_root(&piece(1, 10, 3, 300, 7)).unwrap();
    overmap(&world, &give((0, 0), (1, 10), 3), true, usize::MAX);
    assert_eq!(world.pieces(1), [piece(1, 10, 1, 100, 7), piece(1, 11, 2, 301, 7)]);
}

#[test]
fn who_replaces_what_his_own_comes_from_ends_with_nothing_there() {
    let world = world(1);
    delegate(&world, give((0, 0), (1, 10), 1));
    overmap(&world, &give((1, 10), (0, 0), 1), true, usize::MAX);
    assert_eq!(world.used(), 0);
}

#[test]
fn what_would_replace_a_part_of_itself_replaces_nothing() {
    let world = world(1);
    delegate(&world, give((0, 0), (1, 10), 4));
    let before = world.units();
    for (from, to, expected) in [((1, 10), (1, 10), Ok(Outcome::Done)), ((0, 0), (0, 1), Err(Error::Overlap))] {
        assert_eq!(world.tree().overmap(&mut give(from, to, 2), true, &mut Mirror::new(&world)), expected);
    }
    assert_eq!(world.units(), before);
}

/// What is there afterwards, unit by unit, if source and destination are of different domains and neither descends from the
/// other.
fn expected(before: &Model, transfer: &Transfer, replace: bool) -> Model {
    let mut model = before.clone();
    for offset in 0..transfer.range.count {
        let (source, target): (Place, Place) =
            ((transfer.from.owner, transfer.range.base + offset), (transfer.to, transfer.base + offset));
        let Some(&((origin, rights, its_own), _)) = before.units.get(&source) else { continue };
        let combining = Attributes::WRITE_COMBINING.0;
        let alike = |attributes| (attributes ^ (its_own | transfer.attributes.0)) & combining == 0;
        let given = rights & transfer.rights.bits();
        let old: Option<(Entry, Option<Place>)> = model.units.get(&target).copied();
        match old {
            _ if given == 0 => {}
            Some(((its, had, attributes), parent)) if parent == Some(source) && its == origin && alike(attributes) => {
                model.units.insert(target, ((its, had | given, attributes), parent));
            }
            Some(_) if replace => {
                model.revoke(target.0, span(target.1, 1), Rights::ALL, true);
                model.transfer(Form::Delegate, transfer, span(source.1, 1));
            }
            _ => {}
        }
    }
    model
}

fn range() -> impl Strategy<Value = Span> {
    (0..8u64, 1..5u64).prop_map(|(base, count)| span(base, count))
}

/// The type of memory can be said by who has it from nobody.
fn manner() -> impl Strategy<Value = Attributes> {
    prop_oneof![4 => Just(Attributes::NONE), 1 => Just(Attributes::WRITE_COMBINING)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 400 }))]
    #[test]
    fn units_that_are_taken_are_raised_or_replaced_or_left(
        before in prop::collection::vec((0u32..2, range(), 0..12u64, 1u8..8, manner()), 0..8),
        (from, range, base, rights, attributes) in (0u32..2, range(), 0..12u64, 1u8..8, manner()),
        replace: bool,
        slice in 1usize..6,
    ) {
        let world = world(8);
        for (from, range, base, rights, attributes) in before {
            // From the roots to domain 1, and from there to domain 2.
            let transfer = Transfer { from: memory(from), range, to: from + 1, base, rights: Rights::new(rights), attributes };
            delegate(&world, transfer);
        }
        let transfer = Transfer { from: memory(from), range, to: 2, base, rights: Rights::new(rights), attributes };
        let model = expected(&Model::of(&world), &transfer, replace);
        overmap(&world, &transfer, replace, slice);
        let after = world.units();
        // Free units are a delegation's own matter: it takes or leaves whole pieces.
        for (place, unit) in &model.units {
            prop_assert_eq!(after.get(place), Some(unit), "{:?}", place);
        }
    }
}
