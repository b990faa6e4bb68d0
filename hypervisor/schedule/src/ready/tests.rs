//! Purpose: the ready queue against plain lists.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use super::*;
use crate::budget::Budget;
use proptest::prelude::*;

struct Contexts(Vec<ReadyLinks>);

impl Elements<ReadyLinks> for Contexts {
    fn links(&self, id: Id) -> &ReadyLinks {
        &self.0[id.get() as usize]
    }
}

fn contexts(count: usize) -> Contexts {
    Contexts((0..=count).map(|_| ReadyLinks::default()).collect())
}

fn id(number: u32) -> Id {
    Id::new(number).expect("not 0")
}

#[derive(Clone, Debug)]
enum Step {
    Enqueue(u32, u8, Place),
    Remove(u32),
    Dequeue,
}

fn any_step() -> impl Strategy<Value = Step> {
    // The edges of both words, and more than one element in a list.
    let priority = prop_oneof![prop::sample::select(vec![0, 1, 62, 63, 64, 65, 126, 127, 128, 255]), any::<u8>()];
    let place = prop_oneof![Just(Place::Head), Just(Place::Tail)];
    prop_oneof![
        4 => (1..20u32, priority, place).prop_map(|(id, priority, place)| Step::Enqueue(id, priority, place)),
        2 => (1..20u32).prop_map(Step::Remove),
        1 => Just(Step::Dequeue),
    ]
}

proptest! {
    #[test]
    fn the_ready_queue_behaves_like_a_list_per_priority(steps in prop::collection::vec(any_step(), 0..300)) {
        let (contexts, queue) = (contexts(20), ReadyQueue::default());
        let mut model = vec![Vec::<u32>::new(); PRIORITIES];
        for step in steps {
            match step {
                Step::Enqueue(number, priority, place) => {
                    model.iter_mut().for_each(|list| list.retain(|other| *other != number));
                    let list = &mut model[usize::from(priority.min(127))];
                    match place {
                        Place::Head => {
                            list.insert(0, number);
                            queue.enqueue(&contexts, id(number), priority, Place::Head);
                        }
                        Place::Tail => {
                            list.push(number);
                            queue.enqueue_tail(&contexts, id(number), priority);
                        }
                    }
                }
                Step::Remove(number) => {
                    let list = model.iter_mut().find(|list| list.contains(&number));
                    prop_assert_eq!(queue.remove(&contexts, id(number)), list.is_some());
                    if let Some(list) = list {
                        list.retain(|other| *other != number);
                    }
                }
                Step::Dequeue => {
                    let highest = (0..PRIORITIES).rev().find(|priority| !model[*priority].is_empty());
                    let expected = highest.map(|priority| (id(model[priority].remove(0)), priority as u8));
                    prop_assert_eq!(queue.dequeue(&contexts), expected);
                }
            }
            let highest = model.iter().enumerate().rev().find_map(|(priority, list)| Some((*list.first()?, priority)));
            prop_assert_eq!(queue.highest(), highest.map(|(number, priority)| (id(number), priority as u8)));
            for number in 1..20 {
                let queued = model.iter().any(|list| list.contains(&number));
                prop_assert_eq!(contexts.0[number as usize].next.get().is_some(), queued);
            }
        }
        // Each list in full.
        for (priority, list) in model.iter().enumerate().rev() {
            for number in list {
                prop_assert_eq!(queue.dequeue(&contexts), Some((id(*number), priority as u8)));
            }
        }
        prop_assert_eq!(queue.dequeue(&contexts), None);
    }
}

/// Runs the queue for so many quanta of 10 ticks; a context that yields does so after `run` ticks. Returns who ran.
fn simulate(queue: &ReadyQueue, contexts: &Contexts, budgets: &mut [Budget], quanta: usize, run: u64) -> Vec<u32> {
    let mut now = 0;
    (0..quanta)
        .map(|_| {
            let (id, priority) = queue.dequeue(contexts).expect("somebody can run");
            let budget = &mut budgets[id.get() as usize];
            let since = now;
            now = budget.deadline(now).min(since + run);
            let (next, place) = budget.charge(since, now).0.release(run < 10);
            *budget = next;
            queue.enqueue(contexts, id, priority, place);
            id.get()
        })
        .collect()
}

#[test]
fn contexts_of_the_highest_priority_take_turns_when_their_quanta_end() {
    let (contexts, queue) = (contexts(4), ReadyQueue::default());
    let mut budgets = vec![Budget { quantum: 10, left: 10 }; 5];
    for (number, priority) in [(1, 5), (2, 5), (3, 5), (4, 4)] {
        queue.enqueue_tail(&contexts, id(number), priority);
    }
    assert_eq!(simulate(&queue, &contexts, &mut budgets, 7, 10), [1, 2, 3, 1, 2, 3, 1]);
    assert!(budgets.iter().all(|budget| budget.left == 10));
}

#[test]
fn contexts_that_yield_take_turns_and_keep_what_is_left() {
    let (contexts, queue) = (contexts(2), ReadyQueue::default());
    let mut budgets = vec![Budget { quantum: 10, left: 10 }; 3];
    for number in [1, 2] {
        queue.enqueue_tail(&contexts, id(number), 5);
    }
    assert_eq!(simulate(&queue, &contexts, &mut budgets, 4, 3), [1, 2, 1, 2]);
    assert_eq!([budgets[1].left, budgets[2].left], [4, 4]);
    // Two more turns use it up, and it is refilled then.
    assert_eq!(simulate(&queue, &contexts, &mut budgets, 4, 3), [1, 2, 1, 2]);
    assert_eq!([budgets[1].left, budgets[2].left], [10, 10]);
}

#[test]
fn a_preempted_context_goes_on_before_its_equals() {
    let (contexts, queue) = (contexts(3), ReadyQueue::default());
    for number in [1, 2] {
        queue.enqueue_tail(&contexts, id(number), 5);
    }
    let (running, priority) = queue.dequeue(&contexts).expect("two can run");
    queue.enqueue_tail(&contexts, id(3), 6);
    assert!(queue.highest().is_some_and(|(_, highest)| highest > priority));
    queue.enqueue(&contexts, running, priority, Place::Head);
    let order: Vec<_> = std::iter::from_fn(|| queue.dequeue(&contexts)).map(|(id, _)| id.get()).collect();
    assert_eq!(order, [3, 1, 2]);
}

#[test]
fn zero_bytes_are_empty_links_and_an_empty_queue() {
    assert_eq!(size_of::<ReadyLinks>(), 12);
    assert_eq!(size_of::<ReadyQueue>(), 16 + 4 * PRIORITIES);
    let queue = ReadyQueue::default();
    assert_eq!(queue.highest(), None);
    assert!(!queue.remove(&contexts(1), id(1)));
}
