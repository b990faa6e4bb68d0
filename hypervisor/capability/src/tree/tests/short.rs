//! Purpose: what short ways leave to the general ones; that they do the same otherwise is in `state.rs`.
use super::joining::two_parents;
use super::rules::{ALL, WRITE, delegate, give, world};
use super::world::{World, memory, span};
use crate::tree::Transfer;
use abi::Rights;

/// Whether what domain 0 has delegated from `count` units at `base` can be taken in a short way.
fn takes(world: &World, (base, count): (u64, u64), rights: Rights) -> bool {
    world.tree().plan_revocation(memory(0), span(base, count), rights, |_| true).is_some()
}

#[test]
fn one_child_of_one_node_goes_and_no_other() {
    let world = world(8);
    assert!(!takes(&world, (0, 1), ALL), "nobody has anything");
    delegate(&world, give((0, 0), (1, 0), 1));
    delegate(&world, give((0, 1), (2, 1), 2));
    assert!(takes(&world, (0, 1), ALL) && takes(&world, (1, 2), ALL));
    assert!(!takes(&world, (0, 2), ALL), "it is two, one of them in part");
    assert!(!takes(&world, (0, 3), ALL), "it is two");
    assert!(!takes(&world, (1, 1), ALL) && !takes(&world, (2, 2), ALL), "it is a part of one");
    assert!(!takes(&world, (0, 9), ALL), "it is more than the node has");
    assert!(!takes(&world, (0, 1), WRITE), "it keeps rights");
    delegate(&world, give((1, 0), (2, 0), 1));
    assert!(!takes(&world, (0, 1), ALL), "it has a child");
}

#[test]
fn among_many_children_none_is_looked_for() {
    let world = world(16);
    for place in 0..16 {
        delegate(&world, give((0, place), (1, 2 * place), 1));
    }
    assert!(takes(&world, (0, 1), ALL) && takes(&world, (15, 1), ALL));
    delegate(&world, give((0, 3), (2, 0), 1));
    assert!(!takes(&world, (0, 1), ALL));
}

#[test]
fn what_would_join_is_left() {
    let world = two_parents();
    for unit in 0..2 {
        assert!(world.tree().plan_revocation(memory(1), span(unit, 1), ALL, |_| true).is_none());
    }
    let world = super::rules::world(8);
    let gives = |transfer: Transfer| world.tree().plan_delegation(&transfer).is_some();
    assert!(gives(give((0, 2), (1, 2), 2)));
    delegate(&world, give((0, 2), (1, 2), 2));
    assert!(!gives(give((0, 4), (1, 4), 1)), "it goes on where another ends");
    assert!(!gives(give((0, 1), (1, 1), 1)), "it ends where another begins");
    assert!(!gives(give((0, 3), (1, 3), 1)), "it is there");
    assert!(gives(give((0, 4), (1, 5), 1)) && gives(Transfer { rights: WRITE, ..give((0, 4), (1, 4), 1) }));
    assert!(!gives(give((0, 7), (1, 7), 2)), "the node has no such unit");
}
