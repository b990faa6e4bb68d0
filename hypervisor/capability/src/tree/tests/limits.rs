//! Purpose: how many mappings a mapping and what is made of it may be (lecture C:413-417).
use super::rules::{ALL, delegate, give, revoke, world};
use super::world::{Mirror, World, memory, span};
use crate::tree::{Attributes, Outcome, Transfer};
use abi::Rights;
use proptest::prelude::*;

/// As [`give`], asking for a limit.
fn limited(from: (u32, u64), to: (u32, u64), count: u64, limit: u16) -> Transfer {
    Transfer { attributes: Attributes::NONE.limited(limit), ..give(from, to, count) }
}

/// The limits of the mappings of a domain.
fn limits(world: &World, owner: u32) -> Vec<u16> {
    world.pieces(owner).iter().map(|piece| piece.attributes.limit()).collect()
}

/// How many mappings can be made of the first mapping of a domain still.
fn left(world: &World, owner: u32) -> u16 {
    let mut below = vec![];
    world.tree().derived(memory(owner), world.pieces(owner)[0].span.base, |depth, piece| {
        below.push((depth, piece.attributes.limit()));
    });
    let children = below.iter().filter(|(depth, _)| *depth == below[0].0 + 1);
    limits(world, owner)[0] - 1 - children.map(|(_, limit)| limit).sum::<u16>()
}

/// `map (rw, 5)` makes `[rwx, 5] -> [rw, 5], [r, 2]` of `[rwx, 10] -> [r, 2]`, where the giver's number is what it has left.
#[test]
fn the_lectures_tree() {
    let world = world(1);
    let (read, both) = (Rights::new(1), Rights::new(3));
    delegate(&world, limited((0, 0), (1, 0), 1, 13));
    delegate(&world, Transfer { rights: read, ..limited((1, 0), (2, 0), 1, 2) });
    assert_eq!((left(&world, 1), limits(&world, 2)), (10, vec![2]));
    delegate(&world, Transfer { rights: both, ..limited((1, 0), (3, 0), 1, 5) });
    assert_eq!((left(&world, 1), limits(&world, 3), limits(&world, 2)), (5, vec![5], vec![2]));
    let rights = |owner: u32| world.pieces(owner)[0].rights;
    assert_eq!((rights(1), rights(2), rights(3)), (Rights::new(7), read, both));
}

#[test]
fn who_asks_for_nothing_gets_one_and_who_asks_for_too_much_what_is_left() {
    let world = world(1);
    delegate(&world, limited((0, 0), (1, 0), 1, 4));
    delegate(&world, give((1, 0), (2, 0), 1));
    assert_eq!((limits(&world, 2), left(&world, 2), left(&world, 1)), (vec![1], 0, 2));
    delegate(&world, give((2, 0), (3, 0), 1));
    assert!(world.pieces(3).is_empty(), "who may be one mapping passes nothing on");
    delegate(&world, limited((1, 0), (3, 0), 1, 31));
    assert_eq!((limits(&world, 3), left(&world, 1)), (vec![2], 0));
    delegate(&world, give((1, 0), (2, 1), 1));
    assert_eq!(world.pieces(2).len(), 1, "nothing is left");
    revoke(&world, 3, span(0, 1), ALL, true);
    assert_eq!(left(&world, 1), 2, "what goes makes room");
}

#[test]
fn a_run_is_one_mapping_however_often_its_delegation_is_preempted() {
    let world = world(64);
    delegate(&world, limited((0, 0), (1, 0), 64, 3));
    let (mut transfer, mut mirror) = (limited((1, 0), (2, 0), 64, 2), Mirror::new(&world));
    (mirror.slice, mirror.portion) = (1, 4);
    let parts = std::iter::repeat_with(|| world.tree().delegate(&mut transfer, &mut mirror));
    assert!(parts.take_while(|outcome| *outcome == Ok(Outcome::Preempted)).count() > 3);
    assert_eq!((world.pieces(2).len(), world.pieces(2)[0].span.count, limits(&world, 2)), (1, 64, vec![2]));
    world.check();
}

#[test]
fn parts_share_a_limit() {
    let world = world(8);
    delegate(&world, limited((0, 0), (1, 0), 8, 7));
    revoke(&world, 1, span(3, 1), ALL, true);
    assert_eq!(world.pieces(1).len(), 2);
    assert!(limits(&world, 1).iter().sum::<u16>() <= 7, "{:?}", limits(&world, 1));
}

#[test]
fn a_grant_takes_the_limit_along_and_a_copy_is_the_parents() {
    let world = world(1);
    delegate(&world, limited((0, 0), (1, 0), 1, 3));
    assert_eq!(world.tree().grant(&mut limited((1, 0), (2, 0), 1, 9), &mut Mirror::new(&world)), Ok(Outcome::Done));
    assert_eq!(limits(&world, 2), [3]);
    delegate(&world, give((2, 0), (3, 0), 1));
    let copy = |to| world.tree().copy(&mut give((3, 0), to, 1), &mut Mirror::new(&world));
    assert_eq!((copy((3, 1)), limits(&world, 3)), (Ok(Outcome::Done), vec![1, 1]));
    assert_eq!((copy((3, 2)), left(&world, 2)), (Ok(Outcome::Done), 0));
    assert_eq!(world.pieces(3).len(), 2, "the parent has nothing left");
}

/// A part of a mapping takes its part of the limit along, wherever it goes.
#[test]
fn what_is_granted_in_parts_shares_a_limit() {
    let world = world(8);
    delegate(&world, limited((0, 0), (1, 0), 8, 31));
    for unit in [3, 6] {
        let mut part = give((1, unit), (2, unit), 1);
        assert_eq!(world.tree().grant(&mut part, &mut Mirror::new(&world)), Ok(Outcome::Done));
    }
    let mut all = limits(&world, 1);
    all.extend(limits(&world, 2));
    assert_eq!((all.len(), all.iter().sum::<u16>()), (5, 31), "{all:?}");
}

/// What says that something is being taken from a crowd is no mapping: it takes nothing of the parent's limit.
#[test]
fn an_order_for_a_crowd_counts_for_nothing() {
    let world = world(1);
    delegate(&world, limited((0, 0), (1, 0), 1, 31));
    delegate(&world, limited((1, 0), (2, 0), 1, 20));
    for child in 0..15 {
        delegate(&world, Transfer { rights: Rights::new(1), ..give((2, 0), (3, 2 * child), 1) });
    }
    let (mut range, mut mirror, mut given, mut times) = (span(0, 1), Mirror::new(&world), 0, 0);
    mirror.slice = 1;
    while world.tree().revoke(memory(1), &mut range, Rights::new(2), false, &mut mirror) == Ok(Outcome::Preempted) {
        if given < 9 {
            given += 1;
            delegate(&world, Transfer { rights: Rights::new(1), ..limited((1, 0), (2, 2 * given), 1, 1) });
            assert_eq!(world.pieces(2).len() as u64, 1 + given);
        }
        times += 1;
        assert!(times < 1000, "no progress");
        mirror = Mirror::new(&world);
        mirror.slice = 1;
    }
    assert_eq!(given, 9);
    world.check();
}

proptest! {
    /// Whoever gives to whomever and takes back: no subtree is larger than its top may be.
    #[test]
    fn no_subtree_outgrows_its_limit(
        steps in prop::collection::vec((any::<prop::sample::Index>(), 0u32..4, 0u64..16, 0u16..8, 0u8..5), 1..60),
    ) {
        let world = world(1);
        for (which, to, unit, limit, what) in steps {
            let places: Vec<_> = world.units().into_keys().collect();
            let (owner, at) = places[which.index(places.len())];
            match what {
                0 if owner != 0 => revoke(&world, owner, span(at, 1), ALL, which.index(2) == 0),
                1 => drop(world.tree().copy(&mut limited((owner, at), (to, unit), 1, limit), &mut Mirror::new(&world))),
                _ if owner != to || at != unit => delegate(&world, limited((owner, at), (to, unit), 1, limit)),
                _ => {}
            }
            for (owner, at) in world.units().into_keys() {
                let (mut count, mut most) = (0, 0);
                world.tree().derived(memory(owner), at, |_, piece| {
                    most = if count == 0 { piece.attributes.limit() } else { most };
                    count += 1;
                });
                prop_assert!(most == 0 || count <= most, "{count} mappings, at most {most}");
            }
        }
    }
}
