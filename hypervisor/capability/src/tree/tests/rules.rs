//! Purpose: one test per rule, named after it.
use super::world::{Mirror, World, memory, piece, span};
use crate::tree::{Attributes, Error, Outcome, Piece, Space, Span, Transfer, UNITS};
use abi::{Kind, Rights};

pub const ALL: Rights = Rights::ALL;
pub const WRITE: Rights = Rights::new(2);

/// From (domain, first unit) to (domain, first unit), so many units, all rights.
pub fn give(from: (u32, u64), to: (u32, u64), count: u64) -> Transfer {
    let (range, from) = (span(from.1, count), memory(from.0));
    Transfer { from, range, to: to.0, base: to.1, rights: ALL, attributes: Attributes::NONE }
}

/// Domain 0 has units 0..`count` with origins from 100 on and rights 7.
pub fn world(count: u64) -> World {
    let world = World::new(2000);
    world.tree().insert_root(&piece(0, 0, count, 100, 7)).unwrap();
    world
}

pub fn delegate(world: &World, mut transfer: Transfer) {
    assert_eq!(world.tree().delegate(&mut transfer, &mut Mirror::new(world)), Ok(Outcome::Done));
    world.check();
}

pub fn revoke(world: &World, owner: u32, mut range: Span, rights: Rights, itself: bool) {
    let mut mirror = Mirror::new(world);
    assert_eq!(world.tree().revoke(memory(owner), &mut range, rights, itself, &mut mirror), Ok(Outcome::Done));
    mirror.assert_matches();
    world.check();
}

fn rights_at(world: &World, owner: u32, unit: u64) -> u8 {
    world.tree().lookup(memory(owner), unit).map_or(0, |piece| piece.rights.bits())
}

fn depths(world: &World, owner: u32, unit: u64) -> Vec<u16> {
    let mut depths = vec![];
    world.tree().derived(memory(owner), unit, |depth, _| depths.push(depth));
    depths
}

/// Lecture C:474-492: eight mappings of one page, depths 0 1 2 2 3 2 3 1. New children stand first, so those that are
/// named last are made first.
#[test]
fn the_lectures_example_has_its_depths_and_its_subtree() {
    let world = world(1);
    // Element n of the lecture is unit n of domain 1, the root element is in domain 0.
    for (parent, child) in [(0, 7), (0, 1), (1, 5), (5, 6), (1, 3), (3, 4), (1, 2)] {
        let from = if parent == 0 { (0, 0) } else { (1, parent) };
        delegate(&world, give(from, (1, child), 1));
    }
    assert_eq!(depths(&world, 0, 0), [0, 1, 2, 2, 3, 2, 3, 1]);
    let mut order = vec![];
    world.tree().derived(memory(1), 1, |_, piece| order.push(piece.span.base));
    assert_eq!(order, [1, 2, 3, 4, 5, 6], "the subtree of element 1 is elements 2 to 6");

    let mut mirror = Mirror::new(&world);
    assert_eq!(world.tree().revoke(memory(1), &mut span(1, 1), ALL, true, &mut mirror), Ok(Outcome::Done));
    let removed: Vec<u64> = mirror.revoked.iter().map(|(piece, _)| piece.span.base).collect();
    assert_eq!(removed, [2, 4, 3, 6, 5, 1], "post-order: children before parents");
    assert_eq!(depths(&world, 0, 0), [0, 1]);
}

#[test]
fn what_is_not_there_is_not_given_and_holes_stay_holes() {
    let world = world(2);
    delegate(&world, give((0, 50), (1, 0), 4));
    assert!(world.pieces(1).is_empty());
    revoke(&world, 0, span(1, 1), ALL, true);
    world.tree().insert_root(&piece(0, 3, 1, 300, 7)).unwrap();
    delegate(&world, give((0, 0), (1, 10), 5));
    assert_eq!(world.pieces(1), [piece(1, 10, 1, 100, 7), piece(1, 13, 1, 300, 7)]);
}

#[test]
fn a_receiver_gets_rights_that_are_both_given_and_had() {
    for (had, given, further) in (0..512u16).map(|n| ((n & 7) as u8, (n >> 3 & 7) as u8, (n >> 6) as u8)) {
        let world = World::new(10);
        if had != 0 {
            world.tree().insert_root(&piece(0, 0, 1, 100, had)).unwrap();
        }
        delegate(&world, Transfer { rights: Rights::new(given), ..give((0, 0), (1, 0), 1) });
        delegate(&world, Transfer { rights: Rights::new(further), ..give((1, 0), (2, 0), 1) });
        assert_eq!(rights_at(&world, 0, 0), had, "the giver keeps what it has");
        assert_eq!(rights_at(&world, 1, 0), had & given);
        assert_eq!(rights_at(&world, 2, 0), had & given & further);
    }
}

#[test]
fn pages_given_one_by_one_are_one_node() {
    let world = world(1024);
    let (tree, mut mirror) = (world.tree(), Mirror::new(&world));
    mirror.checking = false;
    for unit in (0..1024).step_by(2).chain((1..1024).step_by(2)) {
        assert_eq!(tree.delegate(&mut give((0, unit), (1, 5000 + unit), 1), &mut mirror), Ok(Outcome::Done));
    }
    assert_eq!(world.pieces(1), [piece(1, 5000, 1024, 100, 7)]);
    assert_eq!(world.used(), 2);
    for unit in 0..1024 {
        assert_eq!(tree.revoke(memory(0), &mut span(unit, 1), WRITE, false, &mut mirror), Ok(Outcome::Done));
    }
    assert_eq!(world.pieces(1), [piece(1, 5000, 1024, 100, 5)], "and again after losing a right one by one");
    world.check();
}

#[test]
fn an_occupied_destination_leaves_out_the_piece_and_no_other() {
    let world = world(4);
    world.tree().insert_root(&piece(0, 4, 4, 300, 7)).unwrap();
    world.tree().insert_root(&piece(1, 12, 1, 400, 1)).unwrap();
    delegate(&world, give((0, 0), (1, 10), 8));
    assert_eq!(world.pieces(1), [piece(1, 12, 1, 400, 1), piece(1, 14, 4, 300, 7)]);
}

#[test]
fn map_keeps_the_givers_mapping_and_the_receiver_chooses_the_place() {
    let world = world(3);
    delegate(&world, give((0, 1), (1, 77), 2));
    assert_eq!(world.pieces(0), [piece(0, 0, 3, 100, 7)]);
    assert_eq!(world.pieces(1), [piece(1, 77, 2, 101, 7)]);
}

#[test]
fn grant_moves_the_mapping_with_its_children_and_leaves_aliases() {
    let world = world(1);
    delegate(&world, give((0, 0), (1, 1), 1));
    delegate(&world, give((0, 0), (1, 2), 1));
    delegate(&world, give((1, 1), (2, 5), 1));
    let mut mirror = Mirror::new(&world);
    assert_eq!(world.tree().grant(&mut give((1, 1), (3, 9), 1), &mut mirror), Ok(Outcome::Done));
    mirror.assert_matches();
    world.check();
    assert_eq!(world.pieces(1), [piece(1, 2, 1, 100, 7)], "the alias stays");
    assert_eq!(world.pieces(3), [piece(3, 9, 1, 100, 7)]);
    revoke(&world, 3, span(9, 1), ALL, false);
    assert!(world.pieces(2).is_empty(), "the children are the new owner's");
    revoke(&world, 0, span(0, 1), ALL, false);
    assert!(world.pieces(3).is_empty() && world.pieces(1).is_empty(), "the parent still revokes");
}

#[test]
fn a_grant_of_some_units_leaves_the_others_with_their_children() {
    let world = world(4);
    delegate(&world, give((0, 0), (1, 0), 4));
    delegate(&world, give((1, 0), (2, 0), 4));
    let mut transfer = Transfer { rights: Rights::new(5), ..give((1, 1), (3, 1), 2) };
    assert_eq!(world.tree().grant(&mut transfer, &mut Mirror::new(&world)), Ok(Outcome::Done));
    world.check();
    assert_eq!(world.pieces(1), [piece(1, 0, 1, 100, 7), piece(1, 3, 1, 103, 7)]);
    assert_eq!(world.pieces(3), [piece(3, 1, 2, 101, 5)]);
    let expected = [piece(2, 0, 1, 100, 7), piece(2, 1, 2, 101, 5), piece(2, 3, 1, 103, 7)];
    assert_eq!(world.pieces(2), expected, "no child has more than its parent");
}

#[test]
fn a_copy_is_out_of_the_givers_reach_but_not_out_of_its_parents() {
    let world = world(1);
    delegate(&world, give((0, 0), (1, 0), 1));
    assert_eq!(world.tree().copy(&mut give((1, 0), (2, 0), 1), &mut Mirror::new(&world)), Ok(Outcome::Done));
    assert_eq!(world.tree().copy(&mut give((0, 0), (3, 0), 1), &mut Mirror::new(&world)), Ok(Outcome::Done));
    assert!(world.pieces(3).is_empty(), "a root has no parent to share");
    revoke(&world, 1, span(0, 1), ALL, true);
    assert_eq!(world.pieces(2), [piece(2, 0, 1, 100, 7)]);
    revoke(&world, 0, span(0, 1), ALL, false);
    assert!(world.pieces(2).is_empty());
}

#[test]
fn copy_and_revoke_is_grant() {
    let [moved, copied] = [(); 2].map(|()| {
        let world = world(4);
        delegate(&world, give((0, 0), (1, 0), 4));
        world
    });
    assert_eq!(moved.tree().grant(&mut give((1, 1), (2, 8), 2), &mut Mirror::new(&moved)), Ok(Outcome::Done));
    assert_eq!(copied.tree().copy(&mut give((1, 1), (2, 8), 2), &mut Mirror::new(&copied)), Ok(Outcome::Done));
    revoke(&copied, 1, span(1, 2), ALL, true);
    assert_eq!(moved.units(), copied.units());
}

#[test]
fn revoking_at_one_level_removes_those_below_only() {
    let build = || {
        let world = world(1);
        for (from, to) in [((0, 0), (1, 1)), ((1, 1), (2, 2)), ((2, 2), (3, 3)), ((3, 3), (1, 4))] {
            delegate(&world, give(from, to, 1));
        }
        world
    };
    let world = build();
    revoke(&world, 1, span(1, 1), ALL, false);
    assert_eq!([0, 1, 2, 3].map(|owner| world.pieces(owner).len()), [1, 1, 0, 0]);
    let world = build();
    revoke(&world, 1, span(1, 1), ALL, true);
    assert_eq!([0, 1, 2, 3].map(|owner| world.pieces(owner).len()), [1, 0, 0, 0]);
}

#[test]
fn revoking_some_rights_leaves_the_others() {
    let world = world(1);
    delegate(&world, give((0, 0), (1, 1), 1));
    delegate(&world, Transfer { rights: WRITE, ..give((1, 1), (2, 2), 1) });
    revoke(&world, 0, span(0, 1), WRITE, false);
    assert_eq!([0, 1, 2].map(|owner| rights_at(&world, owner, u64::from(owner))), [7, 5, 0]);
}

#[test]
fn a_diamond_falls_as_a_whole() {
    let world = world(1);
    delegate(&world, give((0, 0), (1, 0), 1));
    delegate(&world, give((0, 0), (2, 0), 1));
    delegate(&world, give((1, 0), (3, 1), 1));
    delegate(&world, give((2, 0), (3, 2), 1));
    revoke(&world, 1, span(0, 1), ALL, true);
    assert_eq!(world.pieces(3), [piece(3, 2, 1, 100, 7)]);
    revoke(&world, 0, span(0, 1), ALL, false);
    assert_eq!(world.used(), 1);
}

#[test]
fn a_revocation_touches_exactly_its_range() {
    let world = world(8);
    delegate(&world, give((0, 0), (1, 0), 8));
    delegate(&world, give((1, 1), (2, 11), 6));
    revoke(&world, 0, span(3, 2), ALL, false);
    assert_eq!(world.pieces(0), [piece(0, 0, 8, 100, 7)]);
    assert_eq!(world.pieces(1), [piece(1, 0, 3, 100, 7), piece(1, 5, 3, 105, 7)]);
    assert_eq!(world.pieces(2), [piece(2, 11, 2, 101, 7), piece(2, 15, 2, 105, 7)]);
}

#[test]
fn keep_takes_the_mapping_and_leaves_what_came_from_it() {
    let world = world(2);
    delegate(&world, give((0, 0), (1, 0), 2));
    delegate(&world, give((1, 0), (2, 0), 1));
    let mut mirror = Mirror::new(&world);
    assert_eq!(world.tree().revoke_keep(memory(1), &mut span(0, 1), WRITE, &mut mirror), Ok(Outcome::Done));
    world.check();
    assert_eq!(world.pieces(1), [piece(1, 1, 1, 101, 7)], "all rights go, whatever the mask");
    assert_eq!(depths(&world, 0, 0), [0, 1], "the grandchild is a child now");
    assert_eq!(world.tree().revoke_keep(memory(2), &mut span(0, 1), WRITE, &mut mirror), Ok(Outcome::Done));
    assert_eq!(rights_at(&world, 2, 0), 5, "a leaf loses what the mask says");
    revoke(&world, 0, span(0, 1), ALL, false);
    assert!(world.pieces(2).is_empty());
}

#[test]
fn the_last_holder_of_an_object_is_reported() {
    let world = World::new(10);
    let space = |owner| Space { owner, kind: Kind::Objects };
    world.tree().insert_root(&Piece { space: space(0), ..piece(0, 5, 1, 4711, 31) }).unwrap();
    let mut transfer = Transfer { from: space(0), ..give((0, 5), (1, 9), 1) };
    let mut mirror = Mirror::new(&world);
    mirror.checking = false;
    assert_eq!(world.tree().delegate(&mut transfer, &mut mirror), Ok(Outcome::Done));
    assert_eq!(world.tree().revoke_keep(space(0), &mut span(5, 1), ALL, &mut mirror), Ok(Outcome::Done));
    assert!(mirror.last.is_empty(), "the creator's capability is gone, another is left");
    assert_eq!(world.tree().revoke(space(1), &mut span(9, 1), Rights::new(1), true, &mut mirror), Ok(Outcome::Done));
    assert!(mirror.last.is_empty(), "a capability with fewer rights is one");
    assert_eq!(world.tree().revoke(space(1), &mut span(9, 1), ALL, true, &mut mirror), Ok(Outcome::Done));
    assert_eq!((mirror.last.as_slice(), world.used()), ([4711].as_slice(), 0));
}

/// The objects' rule: a root of one unit, so that its end is the object's.
#[test]
fn the_end_of_an_object_is_reported_once_whoever_keeps_it() {
    for first in 1..3 {
        let world = World::new(10);
        let space = |owner| Space { owner, kind: Kind::Objects };
        for unit in [5, 6] {
            world.tree().insert_root(&Piece { space: space(0), ..piece(0, unit, 1, 4711 + unit, 31) }).unwrap();
        }
        let mut mirror = Mirror::new(&world);
        mirror.checking = false;
        for to in 1..3 {
            let mut transfer = Transfer { from: space(0), ..give((0, 5), (to, 9), 1) };
            assert_eq!(world.tree().delegate(&mut transfer, &mut mirror), Ok(Outcome::Done));
        }
        assert_eq!(world.tree().revoke_keep(space(0), &mut span(5, 1), ALL, &mut mirror), Ok(Outcome::Done));
        world.check();
        assert_eq!(world.used(), 3, "two roots are left of the first object; they are not one, nor is the neighbour");
        for owner in [first, 3 - first] {
            assert!(mirror.last.is_empty());
            assert_eq!(world.tree().revoke_keep(space(owner), &mut { Span::ALL }, ALL, &mut mirror), Ok(Outcome::Done));
        }
        assert_eq!(mirror.last, [4716]);
        assert_eq!(world.tree().revoke(space(0), &mut { Span::ALL }, ALL, true, &mut mirror), Ok(Outcome::Done));
        assert_eq!((mirror.last.as_slice(), world.used()), ([4716, 4717].as_slice(), 0));
    }
}

#[test]
fn units_beyond_the_greatest_are_not_given_and_looking_there_finds_nothing() {
    let world = world(2);
    assert_eq!(world.tree().insert_root(&piece(0, UNITS - 1, 2, 100, 7)), Err(Error::Occupied));
    world.tree().insert_root(&piece(0, UNITS - 1, 1, 300, 7)).unwrap();
    delegate(&world, give((0, 0), (1, UNITS - 1), 2));
    delegate(&world, give((0, 0), (1, (1 << 52) - 2), 2));
    assert!(world.pieces(1).is_empty());
    assert_eq!(world.tree().lookup(memory(0), (1 << 52) - 1), None);
    assert_eq!(world.tree().lookup(memory(0), UNITS - 1).map(|piece| piece.origin), Some(300));
}

#[test]
fn spaces_of_different_kinds_do_not_meet() {
    let world = world(2);
    let ports = Space { owner: 0, kind: Kind::Ports };
    world.tree().insert_root(&Piece { space: ports, ..piece(0, 0, 2, 0, 1) }).unwrap();
    world.check();
    assert_eq!(world.tree().lookup(ports, 1).map(|piece| piece.origin), Some(0));
    revoke(&world, 0, Span::ALL, ALL, true);
    assert_eq!(world.used(), 1);
}

#[test]
fn translation_finds_the_nearest_ancestor_in_the_window() {
    let world = world(8);
    delegate(&world, give((0, 0), (1, 20), 8));
    delegate(&world, Transfer { rights: Rights::new(5), ..give((1, 22), (2, 40), 4) });
    delegate(&world, give((2, 40), (0, 60), 4));
    let look = |sender, range, receiver, window, reach: &dyn Fn(u32) -> bool| {
        world.tree().translate((memory(sender), range), (receiver, window), reach)
    };
    let named =
        |sender, range, receiver, window| look(sender, range, receiver, window, &|_| true).expect("all is there");
    let result = |owner, base, count, origin| Some(piece(owner, base, count, origin, 5));
    assert_eq!(named(2, span(41, 2), 0, Span::ALL), result(0, 3, 2, 103), "with the sender's rights");
    assert_eq!(named(2, span(41, 9), 1, Span::ALL), result(1, 23, 3, 103), "as far as the sender's node goes");
    assert_eq!(named(2, span(40, 4), 0, span(4, 1)), result(0, 4, 1, 104), "as far as the window goes");
    assert_eq!(named(0, span(61, 1), 0, Span::ALL), result(0, 3, 1, 103), "an ancestor before the node itself");
    assert_eq!(named(0, span(61, 1), 0, span(60, 4)), result(0, 61, 1, 103), "the node itself if no ancestor will do");
    assert_eq!(named(1, span(22, 1), 2, Span::ALL), None, "a descendant is not an ancestor");
    assert_eq!(named(2, span(44, 1), 0, Span::ALL), None);
    assert_eq!(look(2, span(41, 2), 0, Span::ALL, &|owner| owner != 1), None, "it is not looked beyond whom it may");
    assert_eq!(look(2, span(41, 2), 1, Span::ALL, &|owner| owner != 0), Some(named(2, span(41, 2), 1, Span::ALL)));
}

#[test]
fn write_combining_is_inherited_and_the_last_receiver_passes_nothing_on() {
    let world = world(1);
    let both = Attributes::WRITE_COMBINING.or(Attributes::DEVICE);
    delegate(&world, Transfer { attributes: both, ..give((0, 0), (1, 0), 1) });
    delegate(&world, Transfer { attributes: Attributes::LAST, ..give((1, 0), (2, 0), 1) });
    let attributes = |owner, unit| world.tree().lookup(memory(owner), unit).map(|piece| piece.attributes);
    let inherited = Some(Attributes::WRITE_COMBINING.or(Attributes::LAST));
    assert_eq!((attributes(1, 0), attributes(2, 0)), (Some(both), inherited));
    delegate(&world, give((2, 0), (3, 0), 1));
    assert_eq!(world.tree().copy(&mut give((2, 0), (3, 0), 1), &mut Mirror::new(&world)), Ok(Outcome::Done));
    assert!(world.pieces(3).is_empty());
    assert_eq!(world.tree().grant(&mut give((2, 0), (3, 0), 1), &mut Mirror::new(&world)), Ok(Outcome::Done));
    assert_eq!(attributes(3, 0), inherited, "a grant does not lift the limit");
}

#[test]
fn a_place_taken_and_an_overlap_are_errors() {
    let world = world(8);
    assert_eq!(world.tree().insert_root(&piece(0, 7, 4, 500, 7)), Err(Error::Occupied));
    let mut mirror = Mirror::new(&world);
    assert_eq!(world.tree().delegate(&mut give((0, 0), (0, 2), 4), &mut mirror), Err(Error::Overlap));
    assert_eq!(
        world.tree().delegate(&mut give((0, 0), (0, 0), 4), &mut mirror),
        Ok(Outcome::Done),
        "onto itself: occupied"
    );
    assert_eq!(world.used(), 1);
}

/// A hostile domain without quota sits below a node that is to be divided.
#[test]
fn nobody_blocks_a_revocation_by_having_no_memory() {
    let world = world(8);
    delegate(&world, give((0, 0), (1, 0), 8));
    delegate(&world, give((1, 0), (2, 0), 8));
    delegate(&world, give((1, 0), (3, 0), 2));
    world.limit.set(1);
    revoke(&world, 0, span(4, 1), ALL, false);
    assert!(world.pieces(1).is_empty(), "who cannot pay loses the whole node");

    let world = self::world(8);
    delegate(&world, give((0, 0), (1, 0), 8));
    delegate(&world, give((1, 0), (2, 0), 8));
    delegate(&world, give((2, 0), (3, 0), 8));
    // Domain 1 may have two nodes, the others one.
    delegate(&world, give((0, 0), (2, 100), 1));
    world.limit.set(2);
    revoke(&world, 0, span(4, 4), ALL, false);
    assert_eq!(world.pieces(1), [piece(1, 0, 4, 100, 7)], "a domain does not pay for its children");
    assert!(world.tree().lookup(memory(2), 0).is_none() && world.pieces(3).is_empty());

    world.limit.set(1);
    let mut mirror = Mirror::new(&world);
    assert_eq!(
        world.tree().revoke(memory(1), &mut span(1, 1), ALL, true, &mut mirror),
        Err(Error::Full),
        "one's own node"
    );
    assert_eq!(world.pieces(1), [piece(1, 0, 4, 100, 7)]);
}

#[test]
fn a_descendant_without_memory_does_not_block_dividing_ones_own_node() {
    let world = world(8);
    delegate(&world, give((0, 0), (1, 0), 8));
    delegate(&world, give((1, 0), (2, 0), 8));
    delegate(&world, give((0, 0), (2, 100), 1));
    world.limit.set(2);
    revoke(&world, 1, span(4, 4), ALL, true);
    assert_eq!(world.pieces(1), [piece(1, 0, 4, 100, 7)]);
    assert_eq!(world.pieces(2), [piece(2, 100, 1, 100, 7)]);
}

#[test]
fn a_long_delegation_is_preempted_between_pieces_and_goes_on() {
    let world = World::new(100);
    for unit in 0..9 {
        world.tree().insert_root(&piece(0, unit, 1, 100 + 2 * unit, 7)).unwrap();
    }
    let mut mirror = Mirror::new(&world);
    (mirror.slice, mirror.rows) = (3, false);
    let (mut preempted, mut rest) = (0, give((0, 0), (1, 0), 9));
    while world.tree().delegate(&mut rest, &mut mirror) == Ok(Outcome::Preempted) {
        preempted += 1;
        world.check();
    }
    assert!(preempted > 1 && world.pieces(1).len() == 9, "{preempted} times");
}

#[test]
fn a_piece_given_below_an_earlier_one_extends_it_downwards() {
    let world = world(2);
    delegate(&world, give((0, 1), (1, 11), 1));
    delegate(&world, give((0, 0), (1, 10), 1));
    assert_eq!(world.pieces(1), [piece(1, 10, 2, 100, 7)]);
}

#[test]
fn a_delegation_without_memory_is_partial_and_consistent() {
    let world = World::new(10);
    for unit in 0..4 {
        world.tree().insert_root(&piece(0, unit, 1, 100 + 2 * unit, 7)).unwrap();
    }
    world.limit.set(2);
    let mut mirror = Mirror::new(&world);
    assert_eq!(world.tree().delegate(&mut give((0, 0), (1, 0), 4), &mut mirror), Err(Error::Full));
    world.check();
    assert_eq!(world.pieces(1), [piece(1, 0, 1, 100, 7), piece(1, 1, 1, 102, 7)]);
    world.limit.set(10);
    mirror.refuse_after = 1;
    assert_eq!(world.tree().delegate(&mut give((0, 0), (1, 0), 4), &mut mirror), Err(Error::Full), "a refused effect");
    world.check();
    assert_eq!(world.pieces(1).len(), 3);
    mirror.assert_matches();
}
