//! Purpose: what is pushed is handed out once, in order, with what was done before; and the owner is always told.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use super::*;
use sync::atomic::Ordering::{Acquire, Release};

struct Contexts(Vec<InboxLinks>);

impl Elements<InboxLinks> for Contexts {
    fn links(&self, id: Id) -> &InboxLinks {
        &self.0[id.get() as usize]
    }
}

fn contexts(count: u32) -> Contexts {
    Contexts((0..=count).map(|_| InboxLinks::default()).collect())
}

fn id(number: u32) -> Id {
    Id::new(number).expect("not 0")
}

/// Everything that is in now.
fn drain(reader: &Reader, inbox: &Inbox, contexts: &Contexts) -> Vec<u32> {
    reader.refill(inbox, contexts);
    std::iter::from_fn(|| reader.next(contexts)).map(Id::get).collect()
}

#[cfg(not(any(loom, shuttle)))]
mod plain {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicBool, AtomicU32 as Word, AtomicU64 as Count};

    #[test]
    fn names_come_out_once_in_the_order_in_which_they_came() {
        let (contexts, inbox, reader) = (contexts(5), Inbox::default(), Reader::default());
        assert!(!reader.refill(&inbox, &contexts));
        assert_eq!(inbox.push(&contexts, id(3)), Pushed::First);
        assert_eq!(inbox.push(&contexts, id(1)), Pushed::Behind);
        assert_eq!(inbox.push(&contexts, id(3)), Pushed::Already);
        assert_eq!(inbox.push(&contexts, id(2)), Pushed::Behind);
        assert_eq!(drain(&reader, &inbox, &contexts), [3, 1, 2]);
        assert!(inbox.is_empty());
        assert_eq!(reader.next(&contexts), None);
        assert_eq!(inbox.push(&contexts, id(3)), Pushed::First);
        assert_eq!(drain(&reader, &inbox, &contexts), [3]);
    }

    #[test]
    fn a_name_can_be_pushed_again_as_soon_as_it_is_handed_out_and_not_before() {
        let (contexts, inbox, reader) = (contexts(2), Inbox::default(), Reader::default());
        assert_eq!(inbox.push(&contexts, id(1)), Pushed::First);
        assert_eq!(inbox.push(&contexts, id(2)), Pushed::Behind);
        assert!(reader.refill(&inbox, &contexts));
        assert_eq!(reader.next(&contexts), Some(id(1)));
        assert_eq!(inbox.push(&contexts, id(2)), Pushed::Already);
        assert_eq!(inbox.push(&contexts, id(1)), Pushed::First);
        // The rest of the old batch comes first; the owner decides when to take a new one.
        assert!(reader.refill(&inbox, &contexts));
        assert_eq!(reader.next(&contexts), Some(id(2)));
        assert_eq!(reader.next(&contexts), None);
        assert_eq!(drain(&reader, &inbox, &contexts), [1]);
    }

    #[test]
    fn zero_bytes_are_empty() {
        assert_eq!((size_of::<InboxLinks>(), size_of::<Inbox>(), size_of::<Reader>()), (8, 4, 4));
    }

    proptest! {
        #[test]
        fn the_inbox_behaves_like_a_queue_without_duplicates(steps in prop::collection::vec(0..14u32, 0..200)) {
            let (contexts, inbox, reader) = (contexts(10), Inbox::default(), Reader::default());
            let (mut waiting, mut taken) = (Vec::new(), Vec::new());
            for step in steps {
                match step {
                    1..=10 => {
                        let expected = if waiting.contains(&step) || taken.contains(&step) {
                            Pushed::Already
                        } else {
                            waiting.push(step);
                            if waiting.len() == 1 { Pushed::First } else { Pushed::Behind }
                        };
                        prop_assert_eq!(inbox.push(&contexts, id(step)), expected);
                    }
                    0 => {
                        if taken.is_empty() {
                            taken.append(&mut waiting);
                        }
                        prop_assert_eq!(reader.refill(&inbox, &contexts), !taken.is_empty());
                    }
                    _ => {
                        let expected = (!taken.is_empty()).then(|| taken.remove(0));
                        prop_assert_eq!(reader.next(&contexts).map(Id::get), expected);
                    }
                }
                prop_assert_eq!(inbox.is_empty(), waiting.is_empty());
            }
        }
    }

    #[test]
    fn threads_that_wake_elements_lose_no_wake_up() {
        const PUSHERS: u32 = 4;
        const ELEMENTS: u32 = 8;
        const WAKES: u64 = 30_000;
        let (contexts, inbox, reader) = (contexts(ELEMENTS), Inbox::default(), Reader::default());
        // What each pusher has done to each element, and an interrupt line.
        let done: Vec<[Count; PUSHERS as usize]> = (0..=ELEMENTS).map(|_| Default::default()).collect();
        let (line, finished) = (AtomicBool::new(false), Word::new(0));
        let (mut handed, mut interrupts) = (0u64, 0u64);
        let mut seen = vec![[0; PUSHERS as usize]; ELEMENTS as usize + 1];
        std::thread::scope(|scope| {
            for pusher in 0..PUSHERS as usize {
                let (contexts, inbox, done, line, finished) = (&contexts, &inbox, &done, &line, &finished);
                scope.spawn(move || {
                    for wake in 1..=WAKES {
                        let number = (wake as u32).wrapping_mul(0x9E37_79B1).wrapping_add(pusher as u32) % ELEMENTS + 1;
                        done[number as usize][pusher].store(wake, Relaxed);
                        if inbox.push(contexts, id(number)) == Pushed::First {
                            line.store(true, Release);
                        }
                    }
                    finished.fetch_add(1, Release);
                });
            }
            loop {
                let last = finished.load(Acquire) == PUSHERS;
                // The owner looks only when interrupted: a missing interrupt shows as a missing wake-up below.
                if line.swap(false, Acquire) {
                    interrupts += 1;
                    for number in drain(&reader, &inbox, &contexts) {
                        handed += 1;
                        for (seen, done) in seen[number as usize].iter_mut().zip(&done[number as usize]) {
                            let now = done.load(Relaxed);
                            assert!(now >= *seen);
                            *seen = now;
                        }
                    }
                } else if last {
                    break;
                }
            }
        });
        assert!(inbox.is_empty());
        for (seen, done) in seen.iter().zip(&done) {
            let done = done.each_ref().map(|done| done.load(Relaxed));
            assert_eq!(*seen, done, "the last wake-up of every pusher is seen");
        }
        assert!(interrupts <= handed && handed <= u64::from(PUSHERS) * WAKES);
    }
}

/// Two pushers and the owner, in all interleavings and with all values that their loads may see. Each model counts the
/// outcomes that it has met: one that explores too little fails.
#[cfg(loom)]
mod model {
    use super::*;
    use crate::explore::explore;
    use loom::cell::UnsafeCell;
    use loom::sync::{Arc, atomic::AtomicBool};
    use loom::thread;
    use std::sync::Mutex;

    /// A core that other cores wake: what they do to an element first, and the interrupt line.
    struct Core {
        contexts: Contexts,
        inbox: Inbox,
        /// Written by a pusher before it pushes the element, read by the owner that is handed it; the model checker
        /// complains if one is not ordered before the other.
        wake: Vec<UnsafeCell<u32>>,
        line: AtomicBool,
    }

    impl Core {
        fn new(elements: u32) -> Arc<Self> {
            let wake = (0..=elements).map(|_| UnsafeCell::new(0)).collect();
            Arc::new(Self { contexts: contexts(elements), inbox: Inbox::default(), wake, line: AtomicBool::new(false) })
        }

        fn push(&self, number: u32) -> Pushed {
            let pushed = self.inbox.push(&self.contexts, id(number));
            if pushed == Pushed::First {
                // An exchange, as for a hazard word; the checker does not order a plain store after an exchange that has
                // not read it.
                self.line.swap(true, Release);
            }
            pushed
        }

        /// Does something to element `cell`, then pushes `number`.
        fn wake(&self, cell: u32, number: u32) -> Pushed {
            self.wake[cell as usize].with_mut(|_| ());
            self.push(number)
        }

        /// What the owner does when it is interrupted; nothing if it is not.
        fn interrupt(&self, reader: &Reader) -> Vec<u32> {
            if !self.line.swap(false, Acquire) {
                return Vec::new();
            }
            drain(reader, &self.inbox, &self.contexts)
        }

        fn saw(&self, cell: u32) {
            self.wake[cell as usize].with(|_| ());
        }
    }

    #[test]
    fn two_pushers_of_two_elements_wake_both_once() {
        let outcomes = ["together 1 2", "together 2 1", "apart 1 2", "apart 2 1"];
        explore(&outcomes, || {
            let core = Core::new(2);
            let pushers = [1, 2].map(|number| {
                let core = core.clone();
                thread::spawn(move || core.wake(number, number))
            });
            let reader = Reader::default();
            thread::yield_now();
            let early = core.interrupt(&reader);
            early.iter().for_each(|number| core.saw(*number));
            let pushed = pushers.map(|pusher| pusher.join().expect("the thread ends"));
            let late = core.interrupt(&reader);
            late.iter().for_each(|number| core.saw(*number));
            let together = pushed.contains(&Pushed::Behind);
            assert!(!pushed.contains(&Pushed::Already));
            let mut handed = early;
            handed.extend(late);
            let [first, second] = handed[..] else { panic!("{handed:?}") };
            assert_eq!(first + second, 3, "both, once");
            format!("{} {first} {second}", if together { "together" } else { "apart" })
        });
    }

    #[test]
    fn two_pushers_of_one_element_wake_it_once_or_twice() {
        explore(&["coalesced", "again"], || {
            let core = Core::new(2);
            let pushers = [(); 2].map(|()| {
                let core = core.clone();
                thread::spawn(move || core.push(1))
            });
            let reader = Reader::default();
            thread::yield_now();
            let early = core.interrupt(&reader);
            let pushed = pushers.map(|pusher| pusher.join().expect("the thread ends"));
            let late = core.interrupt(&reader);
            let again = !pushed.contains(&Pushed::Already);
            assert_eq!(early.len() + late.len(), if again { 2 } else { 1 });
            assert!(core.inbox.is_empty());
            (if again { "again" } else { "coalesced" }).to_owned()
        });
    }

    #[test]
    fn the_owner_sees_what_was_done_before_a_push_of_what_was_there_already() {
        explore(&["seen", "after"], || {
            let core = Core::new(1);
            // The element is in the inbox when the other core pushes it once more.
            assert_eq!(core.push(1), Pushed::First);
            // The checker does not know this word, so it orders nothing.
            let result = std::sync::Arc::new(Mutex::new(None));
            let pusher = thread::spawn({
                let (core, result) = (core.clone(), result.clone());
                move || {
                    let pushed = core.wake(1, 1);
                    *result.lock().expect("not poisoned") = Some(pushed);
                }
            });
            let reader = Reader::default();
            thread::yield_now();
            assert_eq!(core.interrupt(&reader), [1]);
            // A push that found the element there came before the owner was handed it.
            let seen = *result.lock().expect("not poisoned") == Some(Pushed::Already);
            if seen {
                core.saw(1);
            }
            pusher.join().expect("the thread ends");
            let pushed = *result.lock().expect("not poisoned");
            assert_eq!(core.interrupt(&reader).is_empty(), pushed == Some(Pushed::Already));
            (if seen { "seen" } else { "after" }).to_owned()
        });
    }

    #[test]
    fn who_finds_the_inbox_empty_again_comes_after_the_interrupt_that_emptied_it() {
        explore(&["behind", "first"], || {
            let core = Core::new(2);
            assert_eq!(core.push(1), Pushed::First);
            let pusher = thread::spawn({
                let core = core.clone();
                move || {
                    let pushed = core.push(2);
                    if pushed == Pushed::First {
                        // Panics if the access below is not ordered before.
                        core.wake[2].with_mut(|_| ());
                    }
                    pushed
                }
            });
            let reader = Reader::default();
            core.wake[2].with(|_| ());
            thread::yield_now();
            let mut handed = core.interrupt(&reader);
            let pushed = pusher.join().expect("the thread ends");
            handed.extend(core.interrupt(&reader));
            assert_eq!(handed, [1, 2]);
            (if pushed == Pushed::First { "first" } else { "behind" }).to_owned()
        });
    }

    #[test]
    fn an_element_that_is_pushed_again_while_a_batch_is_handed_out_breaks_no_list() {
        explore(&["1 2", "1 2 1"], || {
            let core = Core::new(2);
            assert_eq!(core.push(1), Pushed::First);
            assert_eq!(core.push(2), Pushed::Behind);
            let pusher = thread::spawn({
                let core = core.clone();
                move || core.push(1)
            });
            let reader = Reader::default();
            thread::yield_now();
            let mut handed = core.interrupt(&reader);
            let _ = pusher.join().expect("the thread ends");
            handed.extend(core.interrupt(&reader));
            handed.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
        });
    }
}

/// Four pushers and the owner, in interleavings drawn at random.
#[cfg(shuttle)]
mod sampled {
    use super::*;
    use shuttle::sync::{Arc, atomic::AtomicBool};
    use shuttle::thread;
    use std::sync::atomic::AtomicU32 as Count;

    #[test]
    fn four_pushers_lose_no_wake_up() {
        // How often each result of a push came about, over all runs.
        let met = std::sync::Arc::new([const { Count::new(0) }; 3]);
        let results = met.clone();
        let model = move || {
            let core = Arc::new((contexts(3), Inbox::default(), AtomicBool::new(false)));
            let pushers = [0, 1, 2, 3].map(|pusher| {
                let (core, met) = (core.clone(), met.clone());
                thread::spawn(move || {
                    let mut pushed = 0;
                    for number in [pusher % 3 + 1, (pusher + 1) % 3 + 1] {
                        let result = core.1.push(&core.0, id(number));
                        met[result as usize].fetch_add(1, Relaxed);
                        pushed += u32::from(result != Pushed::Already);
                        if result == Pushed::First {
                            core.2.swap(true, Release);
                        }
                    }
                    pushed
                })
            });
            let (reader, mut handed) = (Reader::default(), 0);
            let interrupt = || {
                let interrupted = core.2.swap(false, Acquire);
                if interrupted { drain(&reader, &core.1, &core.0).len() as u32 } else { 0 }
            };
            for _ in 0..4 {
                handed += interrupt();
                thread::yield_now();
            }
            let pushed: u32 = pushers.map(|pusher| pusher.join().expect("the thread ends")).iter().sum();
            handed += interrupt();
            assert_eq!(handed, pushed);
            assert!(core.1.is_empty());
        };
        shuttle::check_random(model, 20_000);
        assert!(results.iter().all(|count| count.load(Relaxed) > 1000), "met: {results:?}");
    }
}
