//! The kernel's own queue.
//!
//! Purpose: the crate `timeouts`, unchanged. It has no granularity: deadlines are compared as they are, and threads are
//! woken in their order, equal ones in that of insertion. An insertion or removal touches O(log n) entries, the
//! interrupt only what is due, and one more; and the timer can be set to the first deadline, so that no other interrupt
//! comes at all.
//! Invariants: thread t is element t + 1. What counts as touched is each look-up of an element by the queue, also of
//! one that it has just looked up: an upper bound.
//! Concurrency: none.
//! Source: `hypervisor/time`.
use crate::Wakeups;
use std::cell::Cell;
use timeouts::{Elements, Id, TimeoutLinks, Timeouts};

/// The queue and the links of all threads.
pub struct Tree {
    queue: Timeouts,
    threads: Threads,
}

struct Threads {
    links: Vec<TimeoutLinks>,
    touched: Cell<u64>,
}

impl Elements for Threads {
    fn links(&self, id: Id) -> &TimeoutLinks {
        self.touched.set(self.touched.get() + 1);
        &self.links[id.get() as usize - 1]
    }
}

impl Tree {
    /// An empty queue for so many threads.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        let links = (0..threads).map(|_| TimeoutLinks::default()).collect();
        Self { queue: Timeouts::new(), threads: Threads { links, touched: Cell::new(0) } }
    }
}

fn element(thread: usize) -> Id {
    Id::MIN.saturating_add(thread as u32)
}

impl Wakeups for Tree {
    fn name(&self) -> &'static str {
        "tree"
    }

    fn insert(&mut self, thread: usize, wakeup: u64) {
        self.queue.insert(&self.threads, element(thread), wakeup);
    }

    fn remove(&mut self, thread: usize) {
        self.queue.remove(&self.threads, element(thread));
    }

    fn tick(&mut self, now: u64) -> Vec<usize> {
        let expired = std::iter::from_fn(|| self.queue.expire(&self.threads, now));
        expired.map(|id| id.get() as usize - 1).collect()
    }

    fn touched(&self) -> u64 {
        self.threads.touched.get()
    }
}
