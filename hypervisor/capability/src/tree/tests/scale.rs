//! Purpose: large trees need no stack, and no long time between preemption points.
use super::rules::give;
use super::world::{Mirror, World, memory, piece, span};
use crate::tree::{Effects, Error, MAX_DEPTH, Outcome, Piece, Span, Transfer};
use abi::Rights;
use std::cell::Cell;

pub fn quiet(world: &World) -> Mirror<'_> {
    let mut mirror = Mirror::new(world);
    mirror.checking = false;
    mirror
}

/// Runs on a stack on which a recursion of a few hundred steps would not fit.
fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(64 << 10).spawn(test).unwrap().join().unwrap();
}

#[test]
fn a_chain_as_deep_as_allowed_is_built_divided_and_removed_on_a_small_stack() {
    on_a_small_stack(|| {
        let depth = u64::from(MAX_DEPTH);
        let world = World::new(2 * depth as usize + 10);
        let tree = world.tree();
        tree.insert_root(&piece(0, 0, 2, 100, 7)).unwrap();
        let mut mirror = quiet(&world);
        for level in 0..depth {
            assert_eq!(tree.delegate(&mut give((0, 2 * level), (0, 2 * level + 2), 2), &mut mirror), Ok(Outcome::Done));
        }
        let mut deeper = give((0, 2 * depth), (0, 2 * depth + 2), 2);
        assert_eq!(tree.delegate(&mut deeper, &mut mirror), Err(Error::TooDeep));
        assert_eq!(world.used() as u64, depth + 1);
        assert_eq!(tree.revoke(memory(0), &mut span(1, 1), Rights::ALL, false, &mut mirror), Ok(Outcome::Done));
        assert_eq!(world.used() as u64, depth + 1, "each level lost its second unit");
        world.check();
        assert_eq!(tree.revoke(memory(0), &mut span(0, 2), Rights::ALL, true, &mut mirror), Ok(Outcome::Done));
        assert_eq!(world.used(), 0);
    });
}

/// Counts the nodes that an operation looks at between two questions whether to go on.
pub struct Latency<'w> {
    pub world: &'w World,
    pub before: u64,
    pub worst: &'w Cell<u64>,
    pub preempt: bool,
}

impl Latency<'_> {
    pub fn note(&mut self) {
        let now = self.world.looks.get();
        self.worst.set(self.worst.get().max(now - self.before));
        self.before = now;
    }
}

impl Effects for Latency<'_> {
    fn mapped(&mut self, _: &Piece) -> Result<(), Error> {
        Ok(())
    }
    fn revoked(&mut self, _: &Piece, _: Rights, _: bool) {}
    fn raised(&mut self, _piece: &Piece) {}

    fn may_continue(&mut self) -> bool {
        self.note();
        !self.preempt
    }
}

/// `count` children of unit 0 of domain 0, in domain 1, none next to another.
pub fn fan(count: u64) -> World {
    let world = World::new(count as usize + 2);
    world.tree().insert_root(&piece(0, 0, 1, 100, 7)).unwrap();
    let mut mirror = quiet(&world);
    for child in 0..count {
        assert_eq!(world.tree().delegate(&mut give((0, 0), (1, 2 * child), 1), &mut mirror), Ok(Outcome::Done));
    }
    drop(mirror);
    world
}

/// Revokes everything, or all but the root, being preempted whenever possible. The longest time between preemption points.
fn worst_latency_of_revoking(world: &World, itself: bool) -> u64 {
    let worst = Cell::new(0);
    loop {
        let mut effects = Latency { world, before: world.looks.get(), worst: &worst, preempt: true };
        let outcome = world.tree().revoke(memory(0), &mut { Span::ALL }, Rights::ALL, itself, &mut effects);
        effects.note();
        if outcome == Ok(Outcome::Done) {
            return worst.get();
        }
    }
}

#[test]
fn a_fan_of_100_000_is_preempted_as_soon_as_one_of_1_000() {
    on_a_small_stack(|| {
        for itself in [false, true] {
            let [small, large] = [1_000, 100_000].map(|count| {
                let world = fan(count);
                world.check();
                let worst = worst_latency_of_revoking(&world, itself);
                assert_eq!(world.used(), usize::from(!itself));
                worst
            });
            // Leaving the index takes the logarithm of its size.
            assert!(small <= 60 && large <= 60, "{small} and {large} nodes looked at");
        }
    });
}

#[test]
fn what_needs_no_change_is_passed_over_as_preemptibly() {
    // The children have no children, and no right but the first; where they would go there is something else.
    let world = fan(10_000);
    world.tree().insert_root(&piece(2, 0, 20_000, 500, 7)).unwrap();
    let (all, worst) = (give((1, 0), (2, 0), 20_000), Cell::new(0));
    let passed: [&dyn Fn(&mut Transfer, &mut Latency<'_>) -> _; 4] = [
        &|rest, effects| world.tree().revoke(memory(1), &mut rest.range, Rights::ALL, false, effects),
        &|rest, effects| world.tree().delegate(rest, effects),
        &|rest, effects| world.tree().grant(rest, effects),
        &|rest, effects| world.tree().overmap(rest, false, effects),
    ];
    for (how, operation) in passed.into_iter().enumerate() {
        let (mut rest, mut times) = (all, 0);
        loop {
            let mut effects = Latency { world: &world, before: world.looks.get(), worst: &worst, preempt: true };
            let outcome = operation(&mut rest, &mut effects);
            effects.note();
            if outcome != Ok(Outcome::Preempted) {
                assert_eq!((outcome, times > 5_000), (Ok(Outcome::Done), true), "{how}: {times} times");
                break;
            }
            times += 1;
        }
    }
    assert!(worst.get() <= 100, "{} nodes looked at", worst.get());
}

/// Four units in domain 0, `count` children in domain 1 that have one or two of them.
fn crowd(count: u64) -> World {
    let world = World::new(3 * count as usize + 10);
    world.tree().insert_root(&piece(0, 0, 4, 100, 7)).unwrap();
    let mut mirror = quiet(&world);
    for child in 0..count {
        let (unit, units) = (child % 3, 1 + child / 3 % 2);
        assert_eq!(world.tree().delegate(&mut give((0, unit), (1, 4 * child), units), &mut mirror), Ok(Outcome::Done));
    }
    drop(mirror);
    world
}

/// What can be done to unit 1 of a crowd.
const ATTACKS: [(&str, bool, bool); 3] = [("revoke", false, false), ("with itself", true, false), ("keep", true, true)];

fn attack(world: &World, (_, itself, keep): (&str, bool, bool), effects: &mut impl Effects) -> Result<Outcome, Error> {
    if keep {
        world.tree().revoke_keep(memory(0), &mut span(1, 1), Rights::ALL, effects)
    } else {
        world.tree().revoke(memory(0), &mut span(1, 1), Rights::ALL, itself, effects)
    }
}

#[test]
fn a_node_with_20_000_children_is_divided_as_preemptibly_as_one_with_500() {
    for how in ATTACKS {
        let [small, large] = [500, 20_000].map(|count| {
            let world = crowd(count);
            let worst = Cell::new(0);
            loop {
                let mut effects = Latency { world: &world, before: world.looks.get(), worst: &worst, preempt: true };
                let outcome = attack(&world, how, &mut effects);
                effects.note();
                if outcome == Ok(Outcome::Done) {
                    break;
                }
            }
            world.check();
            worst.get()
        });
        assert!(small <= 600 && large <= 600, "{}: {small} and {large} nodes looked at", how.0);
    }
}

#[test]
fn it_does_not_matter_after_how_many_steps_an_operation_is_preempted() {
    for how in ATTACKS {
        let run = |slice| {
            let world = crowd(90);
            let mut mirror = quiet(&world);
            mirror.slice = slice;
            let mut times = 0;
            while attack(&world, how, &mut mirror) == Ok(Outcome::Preempted) {
                times += 1;
                world.check();
                assert!(times < 1_000, "no progress");
            }
            drop(mirror);
            (world.units(), times)
        };
        let (whole, _) = run(usize::MAX);
        for slice in 1.. {
            let (units, times) = run(slice);
            assert_eq!(units, whole, "{} with {slice} steps", how.0);
            if times == 0 {
                break;
            }
        }
    }
}

/// The figures stand in the module's header as orders; here as numbers, so that they do not creep.
#[test]
fn one_page_costs_few_looks_at_nodes() {
    let world = fan(1_000);
    let looks = |operation: &dyn Fn(&mut Latency<'_>)| {
        let before = world.looks.get();
        let worst = Cell::new(0);
        operation(&mut Latency { world: &world, before, worst: &worst, preempt: false });
        world.looks.get() - before
    };
    let tree = world.tree();
    let delegate = looks(&|effects| {
        assert_eq!(tree.delegate(&mut give((1, 1_000), (2, 7), 1), effects), Ok(Outcome::Done));
    });
    let revoke = looks(&|effects| {
        assert_eq!(tree.revoke(memory(1), &mut span(1_000, 1), Rights::ALL, false, effects), Ok(Outcome::Done));
    });
    assert!(delegate <= 40 && revoke <= 80, "delegate {delegate}, revoke {revoke}");
}
