//! The better balanced design: N lists.
//!
//! Purpose: a thread that wakes at tick t is in list t mod N. The interrupt at tick t looks at that list only, so of k
//! threads at k/N on average; all threads that are due then are in it.
//! Invariants: as above. After missed ticks their lists are looked at too, each once.
//! Concurrency: none.
//! Source: lecture E:824-828 (row 165).
use crate::buckets::{Buckets, Entry};
use crate::{LISTS, Wakeups, tick_of, visits};

/// Lists by tick modulo their number.
pub struct Lists {
    buckets: Buckets,
    /// The last tick.
    last: u64,
}

impl Lists {
    /// Empty lists for so many threads.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self { buckets: Buckets::new(LISTS, threads), last: 0 }
    }
}

impl Wakeups for Lists {
    fn name(&self) -> &'static str {
        "lists"
    }

    fn insert(&mut self, thread: usize, wakeup: u64) {
        // What is due already is due at the next tick.
        let wakeup = tick_of(wakeup).max(self.last + 1);
        self.buckets.insert(wakeup % LISTS, Entry { thread, wakeup });
    }

    fn remove(&mut self, thread: usize) {
        self.buckets.remove(thread);
    }

    fn tick(&mut self, now: u64) -> Vec<usize> {
        let now = tick_of(now);
        let last = std::mem::replace(&mut self.last, now);
        let mut woken = Vec::new();
        for tick in visits(last, now) {
            let due = self.buckets.scan(tick % LISTS, |entry| entry.wakeup <= now);
            woken.extend(due.iter().map(|entry| entry.thread));
        }
        woken
    }

    fn touched(&self) -> u64 {
        self.buckets.touched
    }
}
