//! Base and offset.
//!
//! Purpose: wake-up times without 64-bit arithmetic per entry. A time is an offset, in milliseconds, to a base that all
//! share. N lists have the threads that wake within 2^24 ms of the base; the timer interrupt looks only there. A further
//! list has the others. Every 2^24 ms (4.66 hours) the base moves, and with it the offsets of the latter.
//! Invariants: an offset in the N lists is below 2^24, one of the other list is not; all fit 32 bits, because a timeout
//! is at most 2^31 ms (24.9 days), to which longer ones are cut.
//! Concurrency: none.
//! Source: lecture E:853-863 (row 168).
use crate::buckets::{Buckets, Entry};
use crate::{LISTS, TICK, Wakeups, tick_of, visits};

/// Milliseconds between two changes of the base.
pub const WINDOW: u64 = 1 << 24;
/// The longest timeout, in milliseconds.
pub const LONGEST: u64 = 1 << 31;

/// Lists for the current window and one for all that is later.
pub struct Window {
    /// List i is i; what is later is list N.
    buckets: Buckets,
    /// Milliseconds, a multiple of [`WINDOW`].
    base: u64,
    last: u64,
}

impl Window {
    /// Empty lists for so many threads.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self { buckets: Buckets::new(LISTS + 1, threads), base: 0, last: 0 }
    }

    fn put(&mut self, entry: Entry) {
        debug_assert!(u32::try_from(entry.wakeup).is_ok());
        let list = if entry.wakeup < WINDOW { entry.wakeup / TICK % LISTS } else { LISTS };
        self.buckets.insert(list, entry);
    }

    /// Moves the base to the window of `now`; returns the threads of all windows before, which are due.
    fn move_base(&mut self, now: u64) -> Vec<usize> {
        let moved = now / WINDOW * WINDOW - self.base;
        if moved == 0 {
            return Vec::new();
        }
        self.base += moved;
        let mut due: Vec<_> = (0..LISTS).flat_map(|list| self.buckets.scan(list, |_| true)).collect();
        for later in self.buckets.scan(LISTS, |_| true) {
            match later.wakeup.checked_sub(moved) {
                Some(wakeup) => self.put(Entry { wakeup, ..later }),
                None => due.push(later),
            }
        }
        due.iter().map(|entry| entry.thread).collect()
    }
}

impl Wakeups for Window {
    fn name(&self) -> &'static str {
        "base+offset"
    }

    fn insert(&mut self, thread: usize, wakeup: u64) {
        let wakeup = tick_of(wakeup).max(self.last + 1).min(self.last + LONGEST / TICK) * TICK - self.base;
        self.put(Entry { thread, wakeup });
    }

    fn remove(&mut self, thread: usize) {
        self.buckets.remove(thread);
    }

    fn tick(&mut self, now: u64) -> Vec<usize> {
        let mut woken = self.move_base(now);
        let last = std::mem::replace(&mut self.last, now / TICK);
        let offset = now - self.base;
        for tick in visits(last, now / TICK) {
            let due = self.buckets.scan(tick % LISTS, |entry| entry.wakeup <= offset);
            woken.extend(due.iter().map(|entry| entry.thread));
        }
        woken
    }

    fn touched(&self) -> u64 {
        self.buckets.touched
    }
}
