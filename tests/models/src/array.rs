//! The simple and fast design: an array indexed by thread.
//!
//! Purpose: an insertion or removal is one store. The timer interrupt scans all entries, used or not: 2 ms for 16 384.
//! Invariants: 0 means that the thread does not wait.
//! Concurrency: none.
//! Source: lecture E:803-818 (row 164).
use crate::{Wakeups, tick_of};

/// Wake-up times by thread.
pub struct Array {
    /// Ticks; 0 for none.
    wakeups: Vec<u64>,
    touched: u64,
}

impl Array {
    /// An array of so many threads.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self { wakeups: vec![0; threads], touched: 0 }
    }
}

impl Wakeups for Array {
    fn name(&self) -> &'static str {
        "array"
    }

    fn insert(&mut self, thread: usize, wakeup: u64) {
        self.touched += 1;
        self.wakeups[thread] = tick_of(wakeup).max(1);
    }

    fn remove(&mut self, thread: usize) {
        self.touched += 1;
        self.wakeups[thread] = 0;
    }

    fn tick(&mut self, now: u64) -> Vec<usize> {
        let now = tick_of(now);
        self.touched += self.wakeups.len() as u64;
        let due = |wakeup: &u64| *wakeup != 0 && *wakeup <= now;
        let woken: Vec<_> = (0..self.wakeups.len()).filter(|thread| due(&self.wakeups[*thread])).collect();
        woken.iter().for_each(|thread| self.wakeups[*thread] = 0);
        woken
    }

    fn touched(&self) -> u64 {
        self.touched
    }
}
