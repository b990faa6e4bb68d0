//! Purpose: random sequences of operations do to the tree what they do to the plain model.
use super::model::{Form, Model};
use super::world::{Mirror, World, memory, piece, span};
use crate::tree::{Attributes, Effects, Error, Nodes, Outcome, Span, Transfer};
use abi::Rights;
use proptest::prelude::*;

const UNITS: u64 = 14;
const CASES: u32 = if cfg!(miri) { 2 } else { 600 };

#[derive(Clone, Copy, Debug)]
pub enum Op {
    Transfer(Form, Transfer),
    Revoke { owner: u32, range: Span, rights: Rights, itself: bool },
    Keep { owner: u32, range: Span, rights: Rights },
}

fn range() -> impl Strategy<Value = Span> {
    (0..UNITS, prop_oneof![1..4u64, 1..UNITS]).prop_map(|(base, count)| span(base, count.min(UNITS - base)))
}

/// Mostly all rights, so that chains get long.
fn rights() -> impl Strategy<Value = Rights> {
    prop_oneof![3 => Just(Rights::new(7)), 2 => (0u8..8).prop_map(Rights::new)]
}

fn transfer() -> impl Strategy<Value = Op> {
    let form = prop_oneof![6 => Just(Form::Delegate), 1 => Just(Form::Copy), 2 => Just(Form::Grant)];
    let attributes = [Attributes::NONE, Attributes::WRITE_COMBINING, Attributes::DEVICE, Attributes::LAST];
    let attributes = (0..11usize).prop_map(move |which| attributes[which.saturating_sub(7)]);
    // Mostly to the same place, or half the space away, so that pieces meet that belong together.
    let base = prop_oneof![2 => Just(None), 1 => (0..UNITS).prop_map(Some)];
    (form, 0u32..3, range(), 0u32..3, base, rights(), attributes).prop_map(
        |(form, from, range, to, base, rights, attributes)| {
            let half = if from == to { UNITS / 2 } else { 0 };
            let base = base.unwrap_or(range.base + half);
            Op::Transfer(form, Transfer { from: memory(from), range, to, base, rights, attributes })
        },
    )
}

pub fn op() -> impl Strategy<Value = Op> {
    let revoke = (0u32..3, range(), rights(), any::<bool>()).prop_map(|(owner, range, rights, itself)| Op::Revoke {
        owner,
        range,
        rights,
        itself,
    });
    let keep = (0u32..3, range(), rights()).prop_map(|(owner, range, rights)| Op::Keep { owner, range, rights });
    prop_oneof![8 => transfer(), 3 => revoke, 1 => keep]
}

/// Units that are entered or taken at once.
fn portion() -> impl Strategy<Value = u64> {
    prop_oneof![Just(u64::MAX), 1..4u64]
}

/// Two roots in domain 0.
pub fn start(capacity: usize) -> World {
    let world = World::new(capacity);
    world.tree().insert_root(&piece(0, 0, 6, 100, 7)).unwrap();
    world.tree().insert_root(&piece(0, 8, 4, 200, 7)).unwrap();
    world
}

/// Parts of the nodes of `owner` that lie in `range`.
fn parts(world: &World, owner: u32, range: Span) -> Vec<Span> {
    let parts = world.pieces(owner).into_iter().map(|piece| piece.span.and(range));
    parts.filter(|part| part.count > 0).collect()
}

/// Operations whose effect on one node may divide another one of the range are done node by node, because what is taken
/// as a whole is a node at its turn.
pub fn split_up(world: &World, op: Op) -> Vec<Op> {
    match op {
        Op::Transfer(Form::Grant, transfer) => parts(world, transfer.from.owner, transfer.range)
            .into_iter()
            .map(|range| Transfer { range, base: transfer.base + (range.base - transfer.range.base), ..transfer })
            .map(|transfer| Op::Transfer(Form::Grant, transfer))
            .collect(),
        Op::Keep { owner, range, rights } => {
            parts(world, owner, range).into_iter().map(|range| Op::Keep { owner, range, rights }).collect()
        }
        _ => vec![op],
    }
}

fn apply_to_model(world: &World, model: &mut Model, op: Op) {
    match op {
        Op::Transfer(form, transfer) => {
            let target = span(transfer.base, transfer.range.count);
            let same_space = transfer.from.owner == transfer.to;
            if same_space && target != transfer.range && target.and(transfer.range).count > 0 {
                return;
            }
            for part in parts(world, transfer.from.owner, transfer.range) {
                model.transfer(form, &transfer, part);
            }
        }
        Op::Revoke { owner, range, rights, itself } => model.revoke(owner, range, rights, itself),
        Op::Keep { owner, range, rights } => {
            for part in parts(world, owner, range) {
                model.revoke_keep(owner, part, rights);
            }
        }
    }
}

/// As the kernel does it in a short way: whether there is one.
fn apply_short(world: &World, mirror: &mut Mirror<'_>, op: &Op) -> bool {
    let tree = world.tree();
    match op {
        Op::Transfer(Form::Delegate, transfer) => {
            let Some((delegation, piece)) = tree.plan_delegation(transfer) else { return false };
            if mirror.mapped(&piece).is_err() {
                return false;
            }
            let entered = tree.enter_delegation(delegation, piece.space).is_ok();
            if !entered {
                mirror.revoked(&piece, Rights::NONE, false);
            }
            entered
        }
        Op::Revoke { owner, range, rights, itself: false } => {
            let plan = tree.plan_revocation(memory(*owner), *range, *rights, |_| true);
            plan.is_some_and(|(only, piece)| {
                mirror.revoked(&piece, Rights::NONE, false);
                tree.remove_only(only, piece.space);
                true
            })
        }
        _ => false,
    }
}

/// Part of an operation, with what these domains have held, and what it reaches, or with all.
fn within<'w>(
    world: &World,
    mirror: &mut Mirror<'w>,
    domains: &[u32],
    part: impl FnOnce(&mut Mirror<'w>) -> Result<Outcome, Error>,
) -> Result<Outcome, Error> {
    if mirror.all {
        return part(mirror);
    }
    let before = world.contents();
    world.held.replace(Some(domains.to_vec()));
    let outcome = part(mirror);
    world.check_changes(&before);
    world.held.replace(None);
    outcome
}

/// What is done is cut off the operation.
pub fn apply_once(world: &World, mirror: &mut Mirror<'_>, op: &mut Op) -> Result<Outcome, Error> {
    let tree = world.tree();
    if mirror.short && apply_short(world, mirror, op) {
        return Ok(Outcome::Done);
    }
    match op {
        Op::Transfer(Form::Delegate, transfer) => {
            let held = [transfer.from.owner, transfer.to];
            within(world, mirror, &held, |mirror| tree.delegate(transfer, mirror))
        }
        Op::Transfer(Form::Copy, transfer) => tree.copy(transfer, mirror),
        Op::Transfer(Form::Grant, transfer) => tree.grant(transfer, mirror),
        Op::Revoke { owner, range, rights, itself } => {
            within(world, mirror, &[*owner], |mirror| tree.revoke(memory(*owner), range, *rights, *itself, mirror))
        }
        Op::Keep { owner, range, rights } => tree.revoke_keep(memory(*owner), range, *rights, mirror),
    }
}

/// Repeats the rest of the operation as often as it is preempted.
pub fn apply(world: &World, mirror: &mut Mirror<'_>, op: Op) -> Result<(), Error> {
    let mut rest = op;
    mirror.all = false;
    for _ in 0..10_000 {
        if apply_once(world, mirror, &mut rest)? == Outcome::Done {
            return Ok(());
        }
        world.check();
    }
    panic!("preempted without progress: {op:?}");
}

fn run_with_ample_memory(ops: &[Op], slice: usize, portion: u64, short: bool) {
    let world = start(2000);
    let mut model = Model::of(&world);
    let mut mirror = Mirror::new(&world);
    (mirror.slice, mirror.portion, mirror.short) = (slice, portion, short);
    for op in ops.iter().flat_map(|&op| split_up(&world, op).into_iter().map(move |one| (op, one))) {
        run_one(&world, &mut model, &mut mirror, op.1);
    }
    clear(&world, &mut mirror);
}

/// Empties all spaces: nothing is left, and the end of each root has been reported once.
pub fn clear(world: &World, mirror: &mut Mirror<'_>) {
    for owner in 0..3 {
        let all = Op::Revoke { owner, range: Span::ALL, rights: Rights::ALL, itself: true };
        assert_eq!(apply(world, mirror, all), Ok(()));
        assert!(world.index(memory(owner)).is_empty());
    }
    assert_eq!(world.used(), 0, "nothing is left when everything is revoked");
    let mut ended: Vec<u64> = mirror.last.iter().map(|origin| origin / 100).collect();
    ended.sort_unstable();
    assert_eq!(ended, [1, 2], "each root ends once");
}

pub fn run_one(world: &World, model: &mut Model, mirror: &mut Mirror<'_>, op: Op) {
    apply_to_model(world, model, op);
    let result = apply(world, mirror, op);
    assert!(matches!(result, Ok(()) | Err(Error::Overlap)), "{result:?}");
    world.check();
    world.check_joined();
    assert_eq!(world.units(), model.units, "after {op:?}");
    mirror.assert_matches();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn the_tree_does_what_the_model_does(ops in prop::collection::vec(op(), 1..50), portion in portion()) {
        run_with_ample_memory(&ops, usize::MAX, portion, false);
    }

    #[test]
    fn short_ways_do_what_the_model_does(ops in prop::collection::vec(op(), 1..50)) {
        run_with_ample_memory(&ops, usize::MAX, u64::MAX, true);
    }

    #[test]
    fn preemption_at_any_point_changes_no_result(
        ops in prop::collection::vec(op(), 1..40), slice in 1usize..12, portion in portion(),
    ) {
        run_with_ample_memory(&ops, slice, portion, false);
    }

    /// Between two parts of an operation others come, and some are never finished.
    #[test]
    fn operations_that_interrupt_each_other_leave_the_tree_consistent(
        ops in prop::collection::vec((op(), 1usize..4, 1usize..4), 1..60), most in 1usize..4, all: bool,
    ) {
        let world = start(2000);
        let mut mirror = Mirror::new(&world);
        mirror.most = most;
        for (op, slice, parts) in ops {
            mirror.slice = slice;
            mirror.all = all;
            let mut rest = op;
            for _ in 0..parts {
                let before = Model::of(&world);
                let outcome = apply_once(&world, &mut mirror, &mut rest);
                world.check();
                mirror.assert_matches();
                let after = Model::of(&world);
                if let (Op::Revoke { owner, range, rights, itself }, Ok(Outcome::Done)) = (op, outcome) {
                    let mut rest = after.clone();
                    rest.revoke(owner, range, rights, itself);
                    prop_assert_eq!(&rest.units, &after.units, "whatever came between, it is revoked in the end");
                }
                if matches!(op, Op::Revoke { .. } | Op::Keep { .. }) {
                    prop_assert!(after.is_within(&before));
                }
            }
        }
        clear(&world, &mut mirror);
    }

    /// Whoever runs out of nodes gets an error or loses its own; nobody gets or keeps what he should not.
    #[test]
    fn exhaustion_takes_from_nobody_but_the_exhausted(
        ops in prop::collection::vec((op(), 1usize..8, 0usize..6), 1..50),
        slice in 1usize..5,
        short: bool,
    ) {
        let world = start(2000);
        for (op, limit, refuse_after) in ops {
            for op in split_up(&world, op) {
                world.limit.set(limit);
                let before = Model::of(&world);
                let mut expected = before.clone();
                apply_to_model(&world, &mut expected, op);
                let mut mirror = Mirror::new(&world);
                (mirror.slice, mirror.refuse_after, mirror.short) = (slice, refuse_after, short);
                let result = apply(&world, &mut mirror, op);
                world.check();
                mirror.assert_matches();
                let after = Model::of(&world);
                match (op, result) {
                    (Op::Transfer(Form::Delegate | Form::Copy, _), Ok(())) => {
                        prop_assert_eq!(&after.units, &expected.units);
                    }
                    (Op::Transfer(Form::Delegate | Form::Copy, _), Err(_)) => {
                        prop_assert!(before.is_within(&after) && after.is_within(&expected));
                    }
                    (Op::Transfer(Form::Grant, _), Err(_)) => {
                        // The part may have become several nodes, of which some are there.
                        expected.units.extend(before.units);
                        prop_assert!(after.is_within(&expected));
                    }
                    (Op::Keep { .. }, _) => prop_assert!(after.is_within(&before)),
                    (Op::Revoke { .. }, Err(_)) => prop_assert!(after.is_within(&before)),
                    (_, Ok(())) => prop_assert!(after.is_within(&expected)),
                }
            }
        }
    }
}
