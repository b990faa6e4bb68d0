//! Requests and lent words: one by one, and under loom together with the inbox that announces them.

#[cfg(not(any(loom, shuttle)))]
mod alone {
    use super::super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_lent_is_taken_once_and_by_its_name_only() {
        let lent = Lent::default();
        assert_eq!(lent.take(), 0);
        lent.set(7);
        assert!(!lent.take_if(8) && lent.get() == 7);
        assert!(lent.take_if(7) && !lent.take_if(7));
        assert_eq!(lent.take(), 0);
    }

    proptest! {
        #[test]
        fn all_bits_that_were_added_are_taken_once(bits: Vec<u32>) {
            let requests = Requests::default();
            bits.iter().for_each(|&bit| requests.add(bit));
            prop_assert_eq!(requests.take(), bits.iter().fold(0, |all, bit| all | bit));
            prop_assert_eq!(requests.take(), 0);
        }
    }
}

/// Two cores, in all interleavings. Each model counts the outcomes that it has met: one that explores too little fails.
#[cfg(loom)]
mod model {
    use super::super::*;
    use crate::explore::explore;
    use crate::{Elements, Id, Inbox, InboxLinks, Pushed, Reader};
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    const WAKE: u32 = 1;
    const END: u32 = 2;
    /// The scheduling context, in words.
    const TIME: u64 = 9;

    /// A scheduling context of the owner's core that waits with a context, and that core's inbox.
    #[derive(Default)]
    struct Core {
        links: InboxLinks,
        inbox: Inbox,
        requests: Requests,
        lent: Lent,
        /// What the waker leaves for the owner, and the other way round.
        note: UnsafeCell<u32>,
    }

    impl Elements<InboxLinks> for Core {
        fn links(&self, _: Id) -> &InboxLinks {
            &self.links
        }
    }

    fn time() -> Id {
        Id::new(1).expect("not 0")
    }

    impl Core {
        fn waiting() -> Arc<Self> {
            let core = Self::default();
            core.lent.set(TIME);
            Arc::new(core)
        }

        fn tell(&self, request: u32) -> Pushed {
            self.requests.add(request);
            self.inbox.push(self, time())
        }

        /// What another core does that wakes the context; whether it was the one.
        fn wake(&self) -> bool {
            let got = self.lent.take() == TIME;
            if got {
                self.note.with_mut(|_| ());
                let _ = self.tell(WAKE);
            }
            got
        }

        /// What the owner does with requests for the scheduling context, as `scheduler::attend`: true if it ends.
        fn attend(&self) -> bool {
            let asked = self.requests.take();
            if asked & WAKE != 0 {
                self.note.with(|_| ());
            }
            if asked & END == 0 {
                return false;
            }
            if asked & WAKE == 0 && !self.lent.take_if(TIME) {
                // On its way here: it ends when it has come.
                self.requests.add(END);
                return false;
            }
            true
        }

        fn receive(&self, reader: &Reader) -> usize {
            let mut ended = 0;
            while reader.refill(&self.inbox, self) {
                while reader.next(self).is_some() {
                    ended += usize::from(self.attend());
                }
            }
            ended
        }
    }

    #[test]
    fn time_that_ends_while_another_core_wakes_its_context_ends_once() {
        explore(&["ended while it waited", "ended when it came"], || {
            let core = Core::waiting();
            let other = core.clone();
            let waker = thread::spawn(move || other.wake());
            let reader = Reader::default();
            let _ = core.tell(END);
            let at_once = core.receive(&reader);
            let woken = waker.join().expect("the thread ends");
            let later = core.receive(&reader);
            assert_eq!(at_once + later, 1, "it ends, once");
            if woken { "ended when it came" } else { "ended while it waited" }
        });
    }

    #[test]
    fn of_two_that_wake_one_gets_the_time() {
        explore(&["first", "second"], || {
            let core = Core::waiting();
            let other = core.clone();
            let second = thread::spawn(move || other.wake());
            let first = core.wake();
            match (first, second.join().expect("the thread ends")) {
                (true, false) => "first",
                (false, true) => "second",
                both => panic!("{both:?}"),
            }
        });
    }

    #[test]
    fn no_request_is_lost_between_two_that_ask_and_the_owner_that_takes() {
        explore(&["together", "one by one"], || {
            let core = Arc::new(Core::default());
            let other = core.clone();
            let asker = thread::spawn(move || other.tell(8));
            let _ = core.tell(4);
            let reader = Reader::default();
            let take = || {
                let mut taken = Vec::new();
                while reader.refill(&core.inbox, &*core) {
                    while reader.next(&*core).is_some() {
                        taken.push(core.requests.take());
                    }
                }
                taken
            };
            let mut taken = take();
            let _ = asker.join().expect("the thread ends");
            taken.extend(take());
            assert_eq!(taken.iter().fold(0, |all, bits| all | bits), 12);
            if taken.contains(&12) { "together" } else { "one by one" }
        });
    }
}
