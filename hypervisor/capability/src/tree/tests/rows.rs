//! Purpose: what goes in rows is what would have gone one by one, whatever comes between.
use super::model::{Form, Model};
use super::rules::give;
use super::state::{Op, apply, op, run_one, split_up};
use super::world::{Mirror, World, memory, piece, span};
use crate::tree::{Outcome, ROW, Transfer};
use abi::Rights;
use proptest::prelude::*;

const CASES: u32 = if cfg!(miri) { 2 } else { 300 };

/// Nodes next to each other in domain 0, that have nothing to do with each other: length and rights of each.
fn scattered(nodes: &[(u64, u8)]) -> World {
    let (world, mut unit) = (World::new(2000), 0);
    for (number, &(count, rights)) in nodes.iter().enumerate() {
        let origin = 100 + 10 * (number as u64 ^ 5);
        world.tree().insert_root(&piece(0, unit, count, origin, rights)).unwrap();
        unit += count;
    }
    world
}

fn nodes() -> impl Strategy<Value = Vec<(u64, u8)>> {
    let node = (prop_oneof![8 => Just(1u64), 1 => Just(3u64)], prop_oneof![8 => Just(7u8), 1 => Just(3u8)]);
    prop::collection::vec(node, 6..14)
}

/// Mostly what makes rows, and goes in rows: from domain 0 as a whole.
fn ops() -> impl Strategy<Value = Vec<Op>> {
    let range = || (0u64..6, 4u64..14).prop_map(|(base, count)| span(base, count));
    let transfer = (range(), 0u32..3, 0u64..40, 1u8..8).prop_map(|(range, to, base, rights)| {
        let base = if to == 0 { base.max(range.end()) } else { base };
        Op::Transfer(
            Form::Delegate,
            Transfer { to, rights: Rights::new(rights | 1), ..give((0, range.base), (to, base), range.count) },
        )
    });
    let revoke = (range(), any::<bool>(), 0u32..2).prop_map(|(range, all, owner)| {
        let rights = if all { Rights::ALL } else { Rights::new(5) };
        Op::Revoke { owner, range, rights, itself: false }
    });
    prop::collection::vec(prop_oneof![4 => transfer, 3 => revoke, 2 => op()], 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn rows_do_what_the_model_does_wherever_they_are_preempted(
        nodes in nodes(), ops in ops(), slice in prop_oneof![Just(usize::MAX), 1usize..6],
    ) {
        let world = scattered(&nodes);
        let mut model = Model::of(&world);
        let mut mirror = Mirror::new(&world);
        mirror.slice = slice;
        for op in ops.iter().flat_map(|&op| split_up(&world, op)) {
            run_one(&world, &mut model, &mut mirror, op);
        }
    }

    #[test]
    fn the_tree_is_the_same_with_and_without_rows(
        nodes in nodes(), ops in ops(), limit in 1usize..40, refuse_after in prop_oneof![Just(usize::MAX), 0usize..30],
    ) {
        let [with, without] = [true, false].map(|rows| {
            let world = scattered(&nodes);
            world.limit.set(limit.max(nodes.len()));
            let mut results = vec![];
            for op in &ops {
                let mut mirror = Mirror::new(&world);
                (mirror.rows, mirror.refuse_after) = (rows, refuse_after);
                results.push(apply(&world, &mut mirror, *op));
                world.check();
                mirror.assert_matches();
            }
            (world.units(), world.used(), results)
        });
        prop_assert_eq!(with, without);
    }
}

#[test]
fn what_lies_scattered_goes_in_rows() {
    let world = scattered(&[(1, 7); 30]);
    let mut mirror = Mirror::new(&world);
    // Not from the start of a group on.
    assert_eq!(world.tree().delegate(&mut give((0, 0), (1, 3), 30), &mut mirror), Ok(Outcome::Done));
    assert_eq!((mirror.in_rows, world.pieces(1).len()), ([30, 0], 30));
    mirror.in_rows = [0; 2];
    assert_eq!(world.tree().revoke(memory(0), &mut span(2, 20), Rights::ALL, false, &mut mirror), Ok(Outcome::Done));
    assert_eq!((mirror.in_rows, world.pieces(1).len()), ([0, 20], 10));
    world.check();
    mirror.assert_matches();
}

#[test]
fn a_row_is_a_step_between_two_questions_whether_to_go_on() {
    let world = scattered(&[(1, 7); 30]);
    let mut mirror = Mirror::new(&world);
    mirror.slice = 1;
    for (operation, most) in [("delegate", ROW), ("revoke", ROW)] {
        let (mut transfer, mut range) = (give((0, 0), (1, 0), 30), span(0, 30));
        let mut times = 0;
        loop {
            mirror.in_rows = [0; 2];
            let outcome = match operation {
                "delegate" => world.tree().delegate(&mut transfer, &mut mirror),
                _ => world.tree().revoke(memory(0), &mut range, Rights::ALL, false, &mut mirror),
            };
            world.check();
            assert!(mirror.in_rows.iter().all(|&units| units <= most), "{operation}: {:?}", mirror.in_rows);
            times += 1;
            if outcome == Ok(Outcome::Done) {
                break;
            }
        }
        assert!(times >= 30 / ROW, "{operation} was preempted {times} times");
    }
    assert!(world.pieces(1).is_empty());
}
