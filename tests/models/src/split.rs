//! Short and long queues.
//!
//! Purpose: each of the N lists is two. The interrupt looks at the short one, which has the threads whose time is near;
//! every [`PERIOD`] ticks it also looks at the long one and moves those whose time has become near.
//! Invariants: a thread in long list i wakes after tick `next[i]`, when that list is looked at the next time; `next[i]`
//! is i modulo N, as are all ticks at which threads of list i wake. So nobody in a long list is due.
//! Concurrency: none.
//! Source: lecture E:829-832 (row 166).
use crate::buckets::{Buckets, Entry};
use crate::{LISTS, Wakeups, tick_of, visits};

/// Ticks between two looks at a long list; a multiple of the number of lists. 128 ms.
pub const PERIOD: u64 = 4 * LISTS;

/// A short and a long list per tick modulo N.
pub struct Split {
    /// Short list i is i, long list i is N + i.
    buckets: Buckets,
    /// Tick at which a long list is looked at.
    next: Vec<u64>,
    last: u64,
}

impl Split {
    /// Empty lists for so many threads.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        let next = (0..LISTS).map(|list| list + PERIOD).collect();
        Self { buckets: Buckets::new(2 * LISTS, threads), next, last: 0 }
    }

    fn put(&mut self, entry: Entry) {
        let list = entry.wakeup % LISTS;
        let long = entry.wakeup > self.next[list as usize];
        self.buckets.insert(list + if long { LISTS } else { 0 }, entry);
    }
}

impl Wakeups for Split {
    fn name(&self) -> &'static str {
        "short/long"
    }

    fn insert(&mut self, thread: usize, wakeup: u64) {
        self.put(Entry { thread, wakeup: tick_of(wakeup).max(self.last + 1) });
    }

    fn remove(&mut self, thread: usize) {
        self.buckets.remove(thread);
    }

    fn tick(&mut self, now: u64) -> Vec<usize> {
        let now = tick_of(now);
        let last = std::mem::replace(&mut self.last, now);
        let mut woken = Vec::new();
        for tick in visits(last, now) {
            let list = tick % LISTS;
            if tick >= self.next[list as usize] {
                self.next[list as usize] = tick + PERIOD;
                for near in self.buckets.scan(LISTS + list, |entry| entry.wakeup <= tick + PERIOD) {
                    self.put(near);
                }
            }
            let due = self.buckets.scan(list, |entry| entry.wakeup <= now);
            woken.extend(due.iter().map(|entry| entry.thread));
        }
        woken
    }

    fn touched(&self) -> u64 {
        self.buckets.touched
    }
}
