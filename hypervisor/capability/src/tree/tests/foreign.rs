//! Purpose: what is not the tree's is left where it is, and nothing of it is in the tree: rules, and random worlds against the
//! plain model.
use super::model::{Form, Model};
use super::rules::{ALL, give, world};
use super::state::{Op, apply, op, run_one, split_up, start};
use super::world::{Mirror, Place, World, memory, piece, span};
use crate::tree::{Attributes, Outcome, Transfer};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn places() -> impl Strategy<Value = BTreeSet<Place>> {
    prop::collection::btree_set((0u32..3, 0..14u64), 0..6)
}

/// A mirror where something else has these units, as far as the tree has not.
fn mirror<'w>(world: &'w World, foreign: &BTreeSet<Place>) -> Mirror<'w> {
    let mut mirror = Mirror::new(world);
    mirror.foreign = foreign.iter().copied().filter(|place| !mirror.entries.contains_key(place)).collect();
    mirror
}

#[test]
fn a_single_unit_that_something_else_has_is_left_out() {
    for form in [Form::Delegate, Form::Copy, Form::Grant] {
        let world = world(1);
        let mut mirror = mirror(&world, &[(1, 5)].into());
        mirror.foreign.insert((1, 5));
        assert_eq!(apply(&world, &mut mirror, Op::Transfer(form, give((0, 0), (1, 5), 1))), Ok(()));
        world.check();
        mirror.assert_matches();
        assert_eq!((world.pieces(0), world.pieces(1)), (vec![piece(0, 0, 1, 100, 7)], vec![]));
    }
}

#[test]
fn a_run_goes_round_what_something_else_has() {
    for portion in [1, 2, 3, u64::MAX] {
        let world = world(10);
        let mut mirror = mirror(&world, &[(1, 20), (1, 23), (1, 24), (1, 29)].into());
        mirror.portion = portion;
        assert_eq!(world.tree().delegate(&mut give((0, 0), (1, 20), 10), &mut mirror), Ok(Outcome::Done));
        world.check();
        world.check_joined();
        mirror.assert_matches();
        assert_eq!(world.pieces(1), [piece(1, 21, 2, 101, 7), piece(1, 25, 4, 105, 7)]);
        // Once more it finds all there.
        let (used, mapped) = (world.used(), mirror.mapped.len());
        assert_eq!(world.tree().delegate(&mut give((0, 0), (1, 20), 10), &mut mirror), Ok(Outcome::Done));
        assert_eq!((world.used(), mirror.mapped.len()), (used, mapped));
    }
}

#[test]
fn what_is_not_the_trees_is_not_replaced() {
    let world = world(4);
    let mut mirror = mirror(&world, &[(1, 1)].into());
    let mut transfer = give((0, 0), (1, 0), 4);
    assert_eq!(world.tree().overmap(&mut transfer.clone(), true, &mut mirror), Ok(Outcome::Done));
    assert_eq!(world.tree().delegate(&mut transfer, &mut mirror), Ok(Outcome::Done));
    mirror.assert_matches();
    assert_eq!(world.pieces(1), [piece(1, 0, 1, 100, 7), piece(1, 2, 2, 102, 7)]);
}

#[test]
fn a_limit_counts_the_parts() {
    let world = world(8);
    let limited = Transfer { attributes: Attributes::NONE.limited(2), ..give((0, 0), (1, 0), 8) };
    let mut mirror = mirror(&world, &[(2, 2), (2, 5)].into());
    assert_eq!(world.tree().delegate(&mut limited.clone(), &mut mirror), Ok(Outcome::Done));
    // One is left for what is made of it.
    assert_eq!(world.tree().delegate(&mut give((1, 0), (2, 0), 8), &mut mirror), Ok(Outcome::Done));
    world.check();
    assert_eq!(world.pieces(2).iter().map(|piece| piece.span).collect::<Vec<_>>(), [span(0, 2)]);
    let mut all = span(0, 8);
    assert_eq!(world.tree().revoke(memory(0), &mut all, ALL, false, &mut mirror), Ok(Outcome::Done));
    assert!(mirror.foreign.len() == 2 && world.pieces(2).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 400 }, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn with_something_else_in_the_way_the_tree_does_what_the_model_does(
        ops in prop::collection::vec(op(), 1..40),
        foreign in places(),
        slice in prop_oneof![Just(usize::MAX), 1usize..12],
        portion in prop_oneof![Just(u64::MAX), 1..4u64],
        short: bool,
    ) {
        let world = start(2000);
        let mut mirror = mirror(&world, &foreign);
        (mirror.slice, mirror.portion, mirror.short) = (slice, portion, short);
        let mut model = Model { foreign: mirror.foreign.clone(), ..Model::of(&world) };
        for op in ops {
            for op in split_up(&world, op) {
                run_one(&world, &mut model, &mut mirror, op);
            }
        }
    }

    /// What was refused for want of memory is complete when it is asked for again: round what something else has, too.
    #[test]
    fn a_repetition_goes_on_behind_what_something_else_has(
        foreign in prop::collection::btree_set((Just(1u32), 0..14u64), 0..6),
        (base, count, refuse_after) in (0..10u64, 1..15u64, 0usize..6),
        portion in 1..4u64,
    ) {
        let [first, second] = [refuse_after, usize::MAX].map(|refuse_after| {
            let world = world(14);
            let transfer = Op::Transfer(Form::Delegate, give((0, base), (1, base), count.min(14 - base)));
            let mut mirror = mirror(&world, &foreign);
            (mirror.portion, mirror.refuse_after) = (portion, refuse_after);
            while apply(&world, &mut mirror, transfer).is_err() {
                mirror.refuse_after = refuse_after.max(1);
            }
            mirror.assert_matches();
            world.pieces(1)
        });
        prop_assert_eq!(first, second);
    }
}
