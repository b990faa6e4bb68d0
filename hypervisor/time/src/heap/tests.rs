//! Purpose: the queue against an ordered set, and the worst case of each operation.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use super::*;
use crate::TimeoutLinks;
use proptest::prelude::*;
use std::collections::{BTreeSet, VecDeque};

/// Elements in a vector that count how many of them an operation touches.
struct Contexts {
    links: Vec<TimeoutLinks>,
    /// Number of the operation that touched each element last.
    marks: Vec<Cell<u32>>,
    operation: Cell<u32>,
    touched: Cell<u32>,
    worst: Cell<u32>,
}

impl Elements<TimeoutLinks> for Contexts {
    fn links(&self, id: Id) -> &TimeoutLinks {
        if self.marks[id.get() as usize].replace(self.operation.get()) != self.operation.get() {
            self.touched.set(self.touched.get() + 1);
        }
        &self.links[id.get() as usize]
    }
}

impl Contexts {
    fn new(count: u32) -> Self {
        let links = (0..=count).map(|_| TimeoutLinks::default()).collect();
        let marks = vec![Cell::new(0); count as usize + 1];
        Self { links, marks, operation: Cell::new(0), touched: Cell::new(0), worst: Cell::new(0) }
    }

    /// Runs one operation and remembers what the worst so far has touched.
    fn measured<T>(&self, operation: impl FnOnce() -> T) -> T {
        self.operation.set(self.operation.get() + 1);
        self.touched.set(0);
        let result = operation();
        self.worst.set(self.worst.get().max(self.touched.get()));
        result
    }

    /// Checks the invariants of the tree; returns the number of its elements.
    fn check(&self, queue: &Timeouts) -> usize {
        let node = |id: Id| &self.links[id.get() as usize];
        let rank = |id: Option<Id>| id.map_or(0, |id| node(id).rank.load(Relaxed));
        let mut seen = 0;
        let mut open: VecDeque<_> = queue.root.get().map(|root| (root, None)).into_iter().collect();
        while let Some((id, parent)) = open.pop_front() {
            seen += 1;
            let links = node(id);
            let (left, right) = (links.left.get(), links.right.get());
            assert_eq!(links.parent.get(), parent);
            assert!(rank(left) >= rank(right), "the heavier child is to the left");
            assert_eq!(rank(Some(id)), rank(right) + 1);
            for child in [left, right].into_iter().flatten() {
                assert!(links.deadline.load(Relaxed) <= node(child).deadline.load(Relaxed));
                open.push_back((child, Some(id)));
            }
        }
        let pending = self.links.iter().filter(|links| links.is_pending()).count();
        assert_eq!(seen, pending);
        seen
    }
}

fn id(number: u32) -> Id {
    Id::new(number).expect("not 0")
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u32, u64),
    Remove(u32),
    Expire(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    // Few elements and few deadlines: elements move, and deadlines are equal.
    prop_oneof![
        3 => (1..40u32, 0..30u64).prop_map(|(id, deadline)| Step::Insert(id, deadline)),
        1 => (1..40u32, any::<u64>()).prop_map(|(id, deadline)| Step::Insert(id, deadline)),
        2 => (1..40u32).prop_map(Step::Remove),
        1 => (0..30u64).prop_map(Step::Expire),
    ]
}

proptest! {
    #[test]
    fn the_queue_behaves_like_an_ordered_set(steps in prop::collection::vec(any_step(), 0..300)) {
        let (contexts, queue) = (Contexts::new(40), Timeouts::default());
        // Deadline, number of the arming, element.
        let mut model = BTreeSet::<(u64, usize, u32)>::new();
        for (arming, step) in steps.into_iter().enumerate() {
            match step {
                Step::Insert(number, deadline) => {
                    model.retain(|(_, _, other)| *other != number);
                    model.insert((deadline, arming, number));
                    let first = model.first().is_some_and(|(_, _, first)| *first == number);
                    prop_assert_eq!(queue.insert(&contexts, id(number), deadline), first);
                }
                Step::Remove(number) => {
                    let before = model.len();
                    model.retain(|(_, _, other)| *other != number);
                    prop_assert_eq!(queue.remove(&contexts, id(number)), model.len() < before);
                }
                Step::Expire(now) => {
                    let expired = model.first().copied().filter(|(deadline, _, _)| *deadline <= now);
                    prop_assert_eq!(queue.expire(&contexts, now).map(Id::get), expired.map(|(_, _, number)| number));
                    if let Some(expired) = expired {
                        model.remove(&expired);
                    }
                }
            }
            let first = model.first().map(|(deadline, _, number)| (id(*number), *deadline));
            prop_assert_eq!(queue.first(&contexts), first);
            prop_assert_eq!(contexts.check(&queue), model.len());
            for (deadline, _, number) in &model {
                let links = &contexts.links[*number as usize];
                prop_assert!(links.is_pending() && links.deadline.load(Relaxed) == *deadline);
            }
        }
    }
}

#[test]
fn equal_deadlines_expire_in_the_order_of_arming() {
    let (contexts, queue) = (Contexts::new(1000), Timeouts::default());
    for number in 1..=1000 {
        queue.insert(&contexts, id(number), 7);
    }
    // Arming anew counts.
    assert!(!queue.insert(&contexts, id(1), 7));
    let expired: Vec<_> = std::iter::from_fn(|| queue.expire(&contexts, 7)).map(Id::get).collect();
    assert_eq!(expired, (2..=1000).chain([1]).collect::<Vec<_>>());
}

#[test]
fn nothing_expires_before_its_deadline() {
    let (contexts, queue) = (Contexts::new(2), Timeouts::default());
    assert!(queue.insert(&contexts, id(1), 100));
    assert!(!queue.insert(&contexts, id(2), u64::MAX));
    assert_eq!(queue.expire(&contexts, 99), None);
    assert_eq!(queue.expire(&contexts, 100), Some(id(1)));
    assert!(!contexts.links[1].is_pending());
    assert_eq!(queue.expire(&contexts, u64::MAX - 1), None);
    assert_eq!(queue.expire(&contexts, u64::MAX), Some(id(2)));
    assert_eq!(queue.first(&contexts), None);
}

#[test]
fn zero_bytes_are_empty_links_and_an_empty_queue() {
    let (contexts, queue) = (Contexts::new(1), Timeouts::default());
    assert_eq!(contexts.check(&queue), 0);
    assert!(!contexts.links[0].is_pending());
    assert_eq!(size_of::<TimeoutLinks>(), 32);
    assert_eq!(size_of::<Timeouts>(), 16);
}

const MANY: u32 = 100_000;

/// Elements that an operation on `count` elements may touch. With r = log2(count + 1) an insertion goes along r nodes and
/// looks at their other children on the way up. A removal does this for two branches at once, and then goes up from
/// where the element was, again with other children; besides there are the element itself and what is beside the end.
fn bound(count: u32) -> u32 {
    6 * (count + 1).ilog2() + 3
}

/// A way to choose deadlines for [`MANY`] elements.
type Shape = (&'static str, fn(u32) -> u64);

fn shapes() -> [Shape; 5] {
    [
        ("ascending", u64::from),
        ("descending", |number| u64::from(MANY - number)),
        ("equal", |_| 7),
        ("zigzag", |number| u64::from(if number % 2 == 0 { number } else { MANY - number })),
        ("scattered", |number| u64::from(number.wrapping_mul(0x9E37_79B1)) << 20),
    ]
}

#[test]
fn a_hundred_thousand_deadlines_cost_a_logarithm_each_however_they_are_chosen() {
    for (name, shape) in shapes() {
        let (contexts, queue) = (Contexts::new(MANY), Timeouts::default());
        let mut worst = Vec::new();
        let mut phase = |contexts: &Contexts| worst.push(contexts.worst.replace(0));
        for number in 1..=MANY {
            contexts.measured(|| queue.insert(&contexts, id(number), shape(number)));
        }
        phase(&contexts);
        assert_eq!(contexts.check(&queue), MANY as usize, "{name}");
        // Cancel every third, from the middle outwards, then arm it again.
        for number in (1..=MANY).map(|number| (number + MANY / 2) % MANY + 1).filter(|number| number % 3 == 0) {
            assert!(contexts.measured(|| queue.remove(&contexts, id(number))));
        }
        phase(&contexts);
        for number in (1..=MANY).filter(|number| number % 3 == 0) {
            contexts.measured(|| queue.insert(&contexts, id(number), shape(number)));
        }
        phase(&contexts);
        let _ = contexts.measured(|| queue.first(&contexts));
        assert_eq!(contexts.worst.replace(0), 1, "{name}: the earliest is at hand");
        let mut order: Vec<_> = (1..=MANY).map(|number| (shape(number), number % 3 == 0, number)).collect();
        order.sort_unstable();
        for (_, _, number) in order {
            assert_eq!(contexts.measured(|| queue.expire(&contexts, u64::MAX)), Some(id(number)), "{name}");
        }
        phase(&contexts);
        println!("{name:10} most touched by insertion, cancellation, arming anew, expiry: {worst:?}");
        assert!(worst.iter().all(|worst| *worst <= bound(MANY)), "{name}: {worst:?}, at most {}", bound(MANY));
    }
}

#[test]
fn a_full_tree_is_taken_apart_in_any_order_for_a_logarithm_each() {
    // Ascending deadlines make full trees: right branches as long as they can be.
    for count in (1..=14).map(|bits| (1u32 << bits) - 1) {
        let ascending = 1..=count;
        let odd_first = (1..=count).step_by(2).chain((2..=count).step_by(2));
        let scattered = (0..count).map(|number| (u64::from(number) * 7919 % u64::from(count)) as u32 + 1);
        let orders: [Vec<u32>; 4] =
            [ascending.clone().collect(), ascending.rev().collect(), odd_first.collect(), scattered.collect()];
        for order in orders {
            let (contexts, queue) = (Contexts::new(count), Timeouts::default());
            for number in 1..=count {
                queue.insert(&contexts, id(number), u64::from(number));
            }
            assert_eq!(contexts.links[1].rank.load(Relaxed), (count + 1).ilog2(), "the tree is full");
            for number in order {
                assert!(contexts.measured(|| queue.remove(&contexts, id(number))));
            }
            assert_eq!(contexts.check(&queue), 0);
            assert!(contexts.worst.get() <= bound(count), "{count}: {}", contexts.worst.get());
        }
    }
}
