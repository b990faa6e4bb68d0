//! Purpose: what the lecture asks of a mapping database, with the numbers that show it: how a node is found, who pays for it,
//! and how much is left to whoever helps.
//! Source: lecture C:254-266 (constraints), C:297-336 (finding the root), C:433 (small pages), C:551-568 (helping).
use super::rules::give;
use super::scale::{fan, quiet};
use super::world::{World, memory, piece, span};
use crate::tree::{Effects, Error, Node, Nodes, Outcome, Piece, Space};
use abi::Rights;
use std::collections::BTreeSet;

/// Nodes looked at by `operation`.
fn looks<T>(world: &World, operation: impl FnOnce() -> T) -> u64 {
    let before = world.looks.get();
    operation();
    world.looks.get() - before
}

/// Node by node until the one that has the unit, as without an index (row 114); how many nodes.
fn search(world: &World, space: Space, unit: u64) -> u64 {
    let nodes = world.nodes_of(space);
    1 + nodes.into_iter().take_while(|&id| world.node(id).piece().span.end() <= unit).count() as u64
}

#[test]
fn the_index_finds_in_the_logarithm_what_a_search_finds_in_the_number_and_the_latest_find_in_a_few() {
    for count in [1_000, 10_000, 100_000] {
        let world = fan(count);
        let find = |child: u64| assert!(world.tree().lookup(memory(1), 2 * child).is_some());
        let (middle, quarter) = (count / 2, count / 4);
        let searched = search(&world, memory(1), 2 * middle);
        // Far from the latest find, whichever way that is; then beside it, which is the lecture's cache (row 115).
        find(0);
        let indexed = [count - 1, quarter, middle, 1].map(|child| looks(&world, || find(child)));
        find(middle);
        let cached = looks(&world, || find(middle + 1));
        assert_eq!(searched, middle + 1);
        let most = 2 * u64::from(count.ilog2()) + 8;
        assert!(indexed.iter().all(|&looks| looks <= most), "{indexed:?} looks among {count}");
        assert!(cached <= 8, "{cached} looks beside the latest find, of {count}");
    }
}

#[test]
fn a_node_is_one_cache_line_and_a_table_entry_holds_nothing_of_it() {
    // Apart from the page table: one line for each node that is looked at, and as many entries to a line as without nodes
    // (row 117). Together, an entry of 8 bytes would be one of 72.
    assert_eq!((size_of::<Node>(), align_of::<Node>()), (64, 64));
}

#[test]
fn small_pages_are_charged_one_by_one_and_what_continues_costs_nothing() {
    // Row 127: a range that is given page by page, in an order that joins nothing, costs a node each, which is who gets it.
    let world = World::new(200);
    world.tree().insert_root(&piece(0, 0, 64, 100, 7)).unwrap();
    let mut mirror = quiet(&world);
    let mut paid = |from: u64, to: u64| {
        let before = world.nodes_of(memory(1)).len();
        assert_eq!(world.tree().delegate(&mut give((0, from), (1, to), 1), &mut mirror), Ok(Outcome::Done));
        world.nodes_of(memory(1)).len() - before
    };
    let apart: usize = (0..32).map(|page| paid(2 * page, 2 * page)).sum();
    let joined: usize = (0..32).map(|page| paid(page, 100 + page)).sum();
    assert_eq!((apart, joined), (32, 1));
    assert_eq!(world.used(), 1 + 32 + 1, "the giver has its root");
    assert_eq!(world.nodes_of(memory(0)).len(), 1);
}

#[test]
fn who_has_no_memory_left_for_a_node_is_refused_and_keeps_what_it_has() {
    let world = World::new(200);
    world.tree().insert_root(&piece(0, 0, 64, 100, 7)).unwrap();
    world.limit.set(8);
    let mut mirror = quiet(&world);
    let mut give = |page: u64| world.tree().delegate(&mut give((0, 2 * page), (1, 2 * page), 1), &mut mirror);
    assert!((0..8).all(|page| give(page) == Ok(Outcome::Done)));
    assert!(give(8).is_err());
    assert_eq!(world.pieces(1).len(), 8);
}

/// Stops for good after so many steps.
struct Stops(u64);

impl Effects for Stops {
    fn mapped(&mut self, _: &Piece) -> Result<(), Error> {
        Ok(())
    }
    fn revoked(&mut self, _: &Piece, _: Rights, _: bool) {}
    fn raised(&mut self, _: &Piece) {}

    fn may_continue(&mut self) -> bool {
        self.0 = self.0.saturating_sub(1);
        self.0 != 0
    }
}

#[test]
fn who_helps_does_what_is_left_and_who_was_preempted_finds_nothing_more_to_do() {
    const COUNT: u64 = 400;
    let revoke = |world: &World, stops: u64| {
        let mut effects = Stops(stops);
        let mut outcome = None;
        let looks = looks(world, || {
            outcome = Some(world.tree().revoke(memory(0), &mut span(0, 1), Rights::ALL, false, &mut effects));
        });
        (outcome, looks)
    };
    let (_, alone) = revoke(&fan(COUNT), u64::MAX);
    let mut rests = BTreeSet::new();
    for stops in (1..COUNT).step_by(7) {
        let world = fan(COUNT);
        let (outcome, begun) = revoke(&world, stops);
        assert_eq!(outcome, Some(Ok(Outcome::Preempted)), "after {stops}");
        // Another one, that knows nothing of the first: the rest, and a few looks to get there.
        let left = world.nodes_of(memory(1)).len() as u64;
        let (outcome, helped) = revoke(&world, u64::MAX);
        assert_eq!((outcome, world.used()), (Some(Ok(Outcome::Done)), 1));
        assert!(begun + helped <= alone + 40, "{begun} and {helped}, {alone} in one go");
        assert!(helped <= left * alone / COUNT + 60, "{helped} for {left} of {COUNT} children, {alone} for all");
        rests.insert(helped);
        // The first, when it runs again.
        let (outcome, again) = revoke(&world, u64::MAX);
        assert_eq!(outcome, Some(Ok(Outcome::Done)));
        assert!(again <= 8, "{again} looks at a node without children");
    }
    assert!(rests.len() > 20, "the more is done, the less is left");
}
