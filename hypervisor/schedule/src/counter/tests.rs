//! Purpose: nothing that was added is lost or given twice, whoever comes, gives up or ends meanwhile.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use super::*;

/// Waiters 1 to 4 and signals 1 to 4 (different things of the same names).
#[derive(Default)]
struct Parties {
    waiters: [WaitLinks; 5],
    signals: [SignalLinks; 5],
}

impl Elements<WaitLinks> for Parties {
    fn links(&self, id: Id) -> &WaitLinks {
        &self.waiters[id.get() as usize]
    }
}

impl Elements<SignalLinks> for Parties {
    fn links(&self, id: Id) -> &SignalLinks {
        &self.signals[id.get() as usize]
    }
}

fn id(number: u32) -> Id {
    Id::new(number).expect("not 0")
}

#[cfg(not(any(loom, shuttle)))]
mod plain {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    /// What a counter is, without a thought for how.
    #[derive(Default)]
    struct Model {
        /// Ups that are no signal's.
        plain: u64,
        waiters: VecDeque<u32>,
        signals: VecDeque<(u32, u64)>,
        withdrawn: [bool; 5],
        closed: bool,
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Up(u64),
        Raise(u32, u64),
        Down(u32, bool),
        Cancel(u32),
        Withdraw(u32),
        Close,
    }

    fn step() -> impl Strategy<Value = Step> {
        let party = 1..5_u32;
        prop_oneof![
            4 => (1..4_u64).prop_map(Step::Up),
            6 => (party.clone(), 1..4_u64).prop_map(|(signal, by)| Step::Raise(signal, by)),
            8 => (party.clone(), any::<bool>()).prop_map(|(waiter, all)| Step::Down(waiter, all)),
            3 => party.clone().prop_map(Step::Cancel),
            1 => party.prop_map(Step::Withdraw),
            1 => Just(Step::Close),
        ]
    }

    impl Model {
        fn up(&mut self, by: u64) -> Option<u32> {
            let woken = self.waiters.pop_front();
            if woken.is_none() && !self.closed {
                self.plain += by;
            }
            woken
        }

        fn raise(&mut self, signal: u32, by: u64) -> Option<(u32, u64)> {
            if self.withdrawn[signal as usize] {
                return None;
            }
            if let Some(waiter) = self.waiters.pop_front() {
                return Some((waiter, by));
            }
            match self.signals.iter_mut().find(|(queued, _)| *queued == signal) {
                Some((_, count)) => *count += by,
                None => self.signals.push_back((signal, by)),
            }
            None
        }

        fn down(&mut self, waiter: u32, all: bool) -> Down {
            if self.closed {
                return Down::Closed;
            }
            if let Some((signal, count)) = self.signals.pop_front() {
                if all {
                    self.plain = 0;
                }
                return Down::Taken(Some((id(signal), count)));
            }
            if self.plain != 0 {
                self.plain = if all { 0 } else { self.plain - 1 };
                return Down::Taken(None);
            }
            self.waiters.push_back(waiter);
            Down::Waits
        }

        fn forget(&mut self, waiter: u32) -> bool {
            let at = self.waiters.iter().position(|&waits| waits == waiter);
            at.and_then(|at| self.waiters.remove(at)).is_some()
        }
    }

    proptest! {
        #[test]
        fn a_counter_does_what_a_plain_model_of_it_does(
            initial in 0..3_u64, steps in prop::collection::vec(step(), 0..120),
        ) {
            let (parties, counter) = (Parties::default(), Counter::new(initial));
            let mut model = Model { plain: initial, ..Model::default() };
            for step in steps {
                match step {
                    Step::Up(by) => prop_assert_eq!(counter.up(&parties, by).map(Id::get), model.up(by)),
                    Step::Raise(signal, by) => {
                        let found = counter.raise(&parties, id(signal), by).map(|(waiter, count)| (waiter.get(), count));
                        prop_assert_eq!(found, model.raise(signal, by));
                    }
                    // Who waits does not come again.
                    Step::Down(waiter, _) if model.waiters.contains(&waiter) => {}
                    Step::Down(waiter, all) => {
                        let mut prepared = false;
                        let found = counter.down(&parties, id(waiter), all, || prepared = true);
                        prop_assert_eq!(found, model.down(waiter, all));
                        prop_assert_eq!(prepared, found == Down::Waits);
                    }
                    Step::Cancel(waiter) => {
                        prop_assert_eq!(counter.cancel(&parties, id(waiter)), model.forget(waiter));
                    }
                    Step::Withdraw(signal) => {
                        counter.withdraw(&parties, id(signal));
                        model.withdrawn[signal as usize] = true;
                        model.signals.retain(|(queued, _)| *queued != signal);
                    }
                    Step::Close => {
                        let woken = counter.close(&parties).map(Id::get);
                        prop_assert_eq!(woken, model.waiters.pop_front());
                        model.closed = true;
                    }
                }
                let state = counter.0.lock();
                if !model.closed {
                    prop_assert_eq!(state.count, model.plain + model.signals.len() as u64);
                    prop_assert!(state.count == 0 || model.waiters.is_empty(), "nobody waits for what is there");
                }
                prop_assert_eq!(state.queued, model.signals.len() as u64);
            }
        }
    }

    #[test]
    fn counts_end_at_the_largest_number() {
        let (parties, counter) = (Parties::default(), Counter::new(u64::MAX));
        assert_eq!(counter.up(&parties, u64::MAX), None);
        assert_eq!(counter.raise(&parties, id(1), u64::MAX), None);
        assert_eq!(counter.raise(&parties, id(1), u64::MAX), None);
        assert_eq!(counter.down(&parties, id(1), false, || ()), Down::Taken(Some((id(1), u64::MAX - 1))));
        assert_eq!(counter.take(), u64::MAX - 1);
        assert_eq!(counter.take(), 0);
    }
}

/// Two cores that up, raise, give up or end, in all interleavings. Each model counts the outcomes that it has met: one that
/// explores too little fails.
#[cfg(loom)]
mod model {
    use super::*;
    use crate::explore::explore;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    struct Core {
        parties: Parties,
        counter: Counter,
        /// Written by the waiter before it waits, read by who takes it out of the queue.
        prepared: UnsafeCell<u32>,
    }

    impl Core {
        fn new() -> Arc<Self> {
            let (parties, counter) = (Parties::default(), Counter::new(0));
            Arc::new(Self { parties, counter, prepared: UnsafeCell::new(0) })
        }

        fn down(&self) -> Down {
            self.counter.down(&self.parties, id(1), false, || self.prepared.with_mut(|_| ()))
        }

        /// Whether this is the one who makes the waiter go on.
        fn wakes(&self, woken: Option<Id>) -> bool {
            woken.inspect(|_| self.prepared.with(|_| ())).is_some()
        }
    }

    #[test]
    fn an_up_and_a_deadline_make_a_waiter_go_on_once_and_the_up_is_not_lost() {
        explore(&["up before", "woken", "deadline"], || {
            let core = Core::new();
            let other = core.clone();
            let upper = thread::spawn(move || {
                let woken = other.counter.up(&other.parties, 1);
                other.wakes(woken)
            });
            let down = core.down();
            let expired = down == Down::Waits && core.counter.cancel(&core.parties, id(1));
            let woken = upper.join().expect("the thread ends");
            let left = core.counter.take();
            match (down, woken, expired, left) {
                (Down::Taken(None), false, false, 0) => "up before",
                (Down::Waits, true, false, 0) => "woken",
                (Down::Waits, false, true, 1) => "deadline",
                other => panic!("{other:?}"),
            }
        });
    }

    #[test]
    fn a_raised_signal_is_counted_by_whoever_takes_it() {
        explore(&["both at once", "one by one"], || {
            let core = Core::new();
            let raisers = [(); 2].map(|()| {
                let core = core.clone();
                thread::spawn(move || {
                    let woken = core.counter.raise(&core.parties, id(1), 1);
                    core.wakes(woken.map(|(waiter, _)| waiter));
                    woken.map_or(0, |(_, count)| count)
                })
            });
            let first = match core.down() {
                Down::Taken(Some((_, count))) => count,
                _ => 0,
            };
            let given: u64 = raisers.map(|raiser| raiser.join().expect("the thread ends")).iter().sum();
            let last = match core.counter.down(&core.parties, id(2), false, || ()) {
                Down::Taken(Some((_, count))) => count,
                _ => 0,
            };
            assert_eq!(first + given + last, 2, "each raise, once");
            if first == 2 { "both at once" } else { "one by one" }
        });
    }

    #[test]
    fn whoever_comes_while_a_counter_ends_does_not_wait_for_ever() {
        explore(&["too late", "sent away"], || {
            let core = Core::new();
            let other = core.clone();
            let closer = thread::spawn(move || {
                let woken = other.counter.close(&other.parties);
                other.wakes(woken)
            });
            let down = core.down();
            match (down, closer.join().expect("the thread ends")) {
                (Down::Closed, false) => "too late",
                (Down::Waits, true) => "sent away",
                other => panic!("{other:?}"),
            }
        });
    }

    #[test]
    fn a_signal_that_ends_is_not_queued_again() {
        explore(&["raised", "ended"], || {
            let core = Core::new();
            let other = core.clone();
            let raiser = thread::spawn(move || other.counter.raise(&other.parties, id(1), 1));
            let early = core.down();
            core.counter.withdraw(&core.parties, id(1));
            let woken = raiser.join().expect("the thread ends");
            assert_eq!(core.counter.take(), 0, "nothing is left of it");
            match (early, woken) {
                (Down::Taken(Some((_, 1))), None) | (Down::Waits, Some((_, 1))) => "raised",
                (Down::Waits, None) => "ended",
                other => panic!("{other:?}"),
            }
        });
    }
}
