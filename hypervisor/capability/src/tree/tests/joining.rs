//! Purpose: whatever makes neighbours equal, or one of them a leaf, makes them one node.
use super::rules::{ALL, WRITE, delegate, give, revoke, world};
use super::world::{Mirror, World, memory, piece, span};
use crate::tree::{Error, Outcome, Transfer};
use abi::Rights;

/// Units 0 and 1 of domain 1 are equal neighbours in two nodes, because each has a child, in domains 2 and 3.
pub(super) fn two_parents() -> World {
    let world = world(2);
    delegate(&world, Transfer { rights: Rights::new(5), ..give((0, 0), (1, 0), 1) });
    delegate(&world, give((0, 1), (1, 1), 1));
    delegate(&world, give((1, 0), (2, 0), 1));
    delegate(&world, give((1, 1), (3, 0), 1));
    revoke(&world, 0, span(1, 1), WRITE, false);
    assert_eq!(world.pieces(1).len(), 2);
    world
}

#[test]
fn a_leaf_joins_a_neighbour_with_children_on_either_side() {
    for (leaf, other) in [(0, 1), (1, 0)] {
        let world = world(2);
        delegate(&world, Transfer { rights: Rights::new(5), ..give((0, leaf), (1, leaf), 1) });
        delegate(&world, give((0, other), (1, other), 1));
        delegate(&world, give((1, other), (2, 0), 1));
        assert_eq!(world.pieces(1).len(), 2);
        revoke(&world, 0, span(other, 1), WRITE, false);
        assert_eq!(world.pieces(1), [piece(1, 0, 2, 100, 5)]);
        assert_eq!(world.pieces(2), [piece(2, 0, 1, 100 + other, 5)]);
    }
}

#[test]
fn who_loses_its_children_joins_its_neighbour_even_if_preempted() {
    let world = two_parents();
    let mut mirror = Mirror::new(&world);
    mirror.slice = 1;
    let revoke = |mirror: &mut Mirror<'_>| world.tree().revoke(memory(1), &mut span(0, 1), ALL, false, mirror);
    while revoke(&mut mirror) == Ok(Outcome::Preempted) {}
    assert_eq!(world.pieces(1), [piece(1, 0, 2, 100, 5)]);
}

#[test]
fn whose_child_gives_up_its_mapping_joins_its_neighbour() {
    let world = two_parents();
    revoke(&world, 2, span(0, 1), ALL, true);
    assert_eq!(world.pieces(1), [piece(1, 0, 2, 100, 5)]);
}

/// Units 0 and 1 of domain 1 join then: one of them leaves the ring that belongs to domain 0.
#[test]
fn whose_child_gives_up_its_mapping_has_its_ring_reached_first() {
    let world = two_parents();
    let mut mirror = Mirror::new(&world);
    let before = world.contents();
    world.held.replace(Some(vec![2]));
    assert_eq!(world.tree().revoke(memory(2), &mut span(0, 1), ALL, true, &mut mirror), Ok(Outcome::Done));
    world.check_changes(&before);
    assert_eq!(world.held.take(), Some(vec![2, 1, 0]));
    assert_eq!(world.pieces(1).len(), 1);
}

/// Both parts of a node that had a child, at a cut, have none where they meet equal neighbours that do.
#[test]
fn who_is_divided_and_has_no_children_any_more_joins_its_neighbours() {
    let world = world(6);
    delegate(&world, give((0, 0), (1, 0), 2));
    delegate(&world, give((0, 5), (1, 5), 1));
    delegate(&world, give((1, 0), (1, 7), 6));
    delegate(&world, give((0, 2), (1, 2), 3));
    let spans = || world.pieces(1).iter().map(|piece| (piece.span.base, piece.span.count)).collect::<Vec<_>>();
    assert_eq!(spans(), [(0, 5), (5, 1), (7, 2), (12, 1)]);
    assert_eq!(world.tree().revoke_keep(memory(0), &mut span(1, 1), ALL, &mut Mirror::new(&world)), Ok(Outcome::Done));
    assert_eq!(spans(), [(0, 1), (1, 1), (2, 4), (7, 1), (8, 1), (12, 1)]);
    world.check();
    world.check_joined();
}

#[test]
fn what_is_granted_joins_its_new_neighbour() {
    let world = world(2);
    delegate(&world, give((0, 0), (1, 0), 2));
    for unit in 0..2 {
        let outcome = world.tree().grant(&mut give((1, unit), (2, 10 + unit), 1), &mut Mirror::new(&world));
        assert_eq!(outcome, Ok(Outcome::Done));
    }
    assert_eq!(world.pieces(2), [piece(2, 10, 2, 100, 7)]);
}

#[test]
fn children_that_rise_join_their_new_siblings() {
    let world = world(2);
    delegate(&world, give((0, 0), (1, 0), 1));
    delegate(&world, give((1, 0), (2, 0), 1));
    delegate(&world, give((0, 1), (2, 1), 1));
    assert_eq!(world.pieces(2).len(), 2);
    assert_eq!(world.tree().revoke_keep(memory(1), &mut span(0, 1), ALL, &mut Mirror::new(&world)), Ok(Outcome::Done));
    assert_eq!(world.pieces(2), [piece(2, 0, 2, 100, 7)]);
    world.check();
}

#[test]
fn a_division_that_fails_half_way_is_undone() {
    let world = world(8);
    delegate(&world, give((0, 0), (1, 0), 8));
    world.limit.set(2);
    let outcome = world.tree().revoke(memory(1), &mut span(3, 2), ALL, true, &mut Mirror::new(&world));
    assert_eq!(outcome, Err(Error::Full));
    assert_eq!(world.pieces(1), [piece(1, 0, 8, 100, 7)]);
    world.check();
}
