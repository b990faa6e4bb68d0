//! Purpose: what is taken from many who mostly lack it: in short steps, and whatever comes between.
use super::model::Model;
use super::rules::{ALL, delegate, give};
use super::scale::{Latency, quiet};
use super::state::{Op, apply_once, clear, op, run_one, start};
use super::world::{Mirror, World, memory, piece, span};
use crate::tree::{Error, Outcome, Span, Transfer};
use abi::Rights;
use proptest::prelude::*;
use std::cell::Cell;

const READ: Rights = Rights::new(1);
const WRITE: Rights = Rights::new(2);

/// `count` children of unit 0 of domain 0, in domain 1, that may only read; the one that is found last may write, and has as many
/// children that may not, and last one that may.
fn readers(count: u64) -> World {
    let world = World::new(2 * count as usize + 4);
    world.tree().insert_root(&piece(0, 0, 1, 100, 7)).unwrap();
    let mut mirror = quiet(&world);
    for (from, to) in [((0, 0), 1), ((1, 0), 2)] {
        for child in 0..count {
            let rights = if child == 0 { ALL } else { READ };
            let mut transfer = Transfer { rights, ..give(from, (to, 2 * child), 1) };
            assert_eq!(world.tree().delegate(&mut transfer, &mut mirror), Ok(Outcome::Done));
        }
    }
    drop(mirror);
    world
}

/// Who may write in a domain.
fn writers(world: &World, owner: u32) -> usize {
    let pieces = world.pieces(owner);
    pieces.iter().filter(|piece| !piece.rights.and(WRITE).is_none()).count()
}

#[test]
fn those_who_lack_it_are_passed_over_as_preemptibly_in_a_crowd_of_100_000() {
    // Taking a right from others, from oneself too, and granting less than one has.
    for how in 0..3 {
        let [small, large] = if cfg!(miri) { [100, 200] } else { [1_000, 100_000] }.map(|count| {
            let (world, worst, mut times) = (readers(count), Cell::new(0), 0);
            let mut rest = Transfer { rights: ALL.without(WRITE), ..give((0, 0), (3, 5), 1) };
            loop {
                let mut effects = Latency { world: &world, before: world.looks.get(), worst: &worst, preempt: true };
                let outcome = match how {
                    2 => world.tree().grant(&mut rest, &mut effects),
                    _ => world.tree().revoke(memory(0), &mut rest.range, WRITE, how == 1, &mut effects),
                };
                effects.note();
                if outcome != Ok(Outcome::Preempted) {
                    assert_eq!(outcome, Ok(Outcome::Done));
                    break;
                }
                times += 1;
                assert!(times < 3 * count, "no progress");
            }
            world.check();
            let left = [0, 1, 2, 3].map(|owner| writers(&world, owner));
            assert_eq!((left, world.used() as u64), ([usize::from(how == 0), 0, 0, 0], 2 * count + 1), "{how}");
            assert!(times > count, "{times} times");
            worst.get()
        });
        assert!(small <= 100 && large <= 100, "{how}: {small} and {large} nodes looked at");
    }
}

#[test]
fn what_is_begun_is_finished_by_who_comes_by() {
    for comes in 0..4 {
        let world = readers(10);
        let mut mirror = Mirror::new(&world);
        mirror.slice = 1;
        let revoke = |mirror: &mut Mirror<'_>| world.tree().revoke(memory(0), &mut span(0, 1), WRITE, false, mirror);
        for _ in 0..6 {
            assert_eq!(revoke(&mut mirror), Ok(Outcome::Preempted));
        }
        assert_eq!(writers(&world, 1), 1, "it is under way");
        mirror.slice = usize::MAX;
        let (tree, rest) = (world.tree(), &mut give((0, 0), (3, 0), 1));
        let outcome = match comes {
            // What is given meanwhile has the right, and loses it.
            0 => tree.delegate(rest, &mut mirror),
            1 => tree.grant(rest, &mut mirror),
            2 => tree.overmap(rest, true, &mut mirror),
            _ => tree.revoke(memory(0), &mut rest.range, Rights::new(4), false, &mut mirror),
        };
        assert_eq!(outcome, Ok(Outcome::Done));
        world.check();
        assert_eq!(writers(&world, 1), usize::from(comes == 0), "{comes}");
        assert_eq!(revoke(&mut mirror), Ok(Outcome::Done));
        let left = [0, 1, 2, 3].map(|owner| writers(&world, owner));
        assert_eq!(left, if comes == 1 { [0, 0, 0, 1] } else { [1, 0, 0, 0] }, "{comes}");
        world.check();
        world.check_joined();
        mirror.assert_matches();
    }
}

#[test]
fn who_cannot_pay_for_the_mark_has_an_ancestor_do_so() {
    let world = readers(10);
    let mut mirror = Mirror::new(&world);
    mirror.slice = 1;
    world.limit.set(2);
    let mut times = 0;
    // The root's owner has one node, and pays for a mark at a time; then none is left, and a walk goes on to its end.
    while world.tree().revoke(memory(0), &mut span(0, 1), WRITE, false, &mut mirror) == Ok(Outcome::Preempted) {
        world.check();
        times += 1;
        assert!(times < 100, "no progress");
    }
    assert_eq!([0, 1, 2].map(|owner| writers(&world, owner)), [1, 0, 0]);
    world.check();
    mirror.assert_matches();
}

/// Two roots, of which the first unit has many children with different rights.
fn crowd() -> World {
    let world = start(2000);
    for child in 0..12 {
        let (to, unit, rights) =
            (1 + child % 2, child / 2 * 2 + 1, Rights::new([1, 3, 1, 5, 1, 7][child as usize % 6]));
        delegate(&world, Transfer { rights, ..give((0, 0), (to as u32, unit), 1) });
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 600 }, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn a_crowd_does_what_the_model_does_wherever_it_is_preempted(
        ops in prop::collection::vec(op(), 1..12), slice in 1usize..6, last in 0u8..8,
    ) {
        let world = crowd();
        let (mut model, mut mirror) = (Model::of(&world), Mirror::new(&world));
        mirror.slice = slice;
        for op in ops {
            // Of single units, so that nothing is to be done node by node.
            let one = |range: Span| Span { count: 1, ..range };
            let op = match op {
                Op::Transfer(form, transfer) => Op::Transfer(form, Transfer { range: one(transfer.range), ..transfer }),
                Op::Revoke { owner, range, rights, itself } => Op::Revoke { owner, range: one(range), rights, itself },
                Op::Keep { owner, range, rights } => Op::Keep { owner, range: one(range), rights },
            };
            run_one(&world, &mut model, &mut mirror, op);
        }
        run_one(&world, &mut model, &mut mirror, Op::Revoke { owner: 0, range: span(0, 1), rights: Rights::new(last), itself: false });
        clear(&world, &mut mirror);
    }

    #[test]
    fn whatever_interrupts_taking_from_a_crowd_it_is_taken_in_the_end(
        ops in prop::collection::vec((op(), 1usize..4, 1usize..6), 1..40), most in 1usize..4, all: bool, rights in 1u8..8, itself: bool,
        limit in prop_oneof![Just(usize::MAX), 5usize..20],
    ) {
        let world = crowd();
        let mut mirror = Mirror::new(&world);
        (mirror.most, mirror.slice) = (most, 1);
        world.limit.set(limit);
        let (range, rights) = (span(0, 1), Rights::new(rights));
        let mut last = Op::Revoke { owner: 0, range, rights, itself };
        let mut others = ops.into_iter();
        mirror.all = all;
        for times in 0.. {
            let outcome = apply_once(&world, &mut mirror, &mut last);
            world.check();
            mirror.assert_matches();
            if outcome == Ok(Outcome::Done) {
                break;
            }
            if itself && outcome == Err(Error::Full) {
                // It has to be divided first.
                return Ok(());
            }
            prop_assert!(outcome == Ok(Outcome::Preempted) && times < 1_000, "{outcome:?}");
            if let Some((mut other, slice, parts)) = others.next() {
                mirror.slice = slice;
                for _ in 0..parts {
                    let _ = apply_once(&world, &mut mirror, &mut other);
                    world.check();
                    mirror.assert_matches();
                }
                mirror.slice = 1;
            }
        }
        let after = Model::of(&world);
        let mut rest = after.clone();
        rest.revoke(0, range, rights, itself);
        prop_assert_eq!(&rest.units, &after.units, "it is taken");
        world.limit.set(usize::MAX);
        clear(&world, &mut mirror);
    }
}
