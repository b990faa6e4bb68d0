//! The kernel's own queue.
//!
//! Purpose: the crate `timeouts`, unchanged. It has no granularity: deadlines are compared as they are, and threads are
//! woken in their order, equal ones in that of insertion. An insertion or removal touches O(log n) entries, the
//! interrupt only what is due, and one more; and the timer can be set to the first deadline, so that no other interrupt
//! comes at all.
//! Invariants: thread t is element t + 1. An element counts as touched once per operation, however often the queue looks
//! it up meanwhile.
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
    /// Number of the operation that touched each thread last.
    marks: Vec<Cell<u64>>,
    operation: Cell<u64>,
    touched: Cell<u64>,
}

impl Elements<TimeoutLinks> for Threads {
    fn links(&self, id: Id) -> &TimeoutLinks {
        let thread = id.get() as usize - 1;
        if self.marks[thread].replace(self.operation.get()) != self.operation.get() {
            self.touched.set(self.touched.get() + 1);
        }
        &self.links[thread]
    }
}

impl Tree {
    /// An empty queue for so many threads.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        let links = (0..threads).map(|_| TimeoutLinks::default()).collect();
        let (marks, [operation, touched]) = (vec![Cell::new(0); threads], [const { Cell::new(0) }; 2]);
        Self { queue: Timeouts::default(), threads: Threads { links, marks, operation, touched } }
    }

    fn begin(&self) {
        self.threads.operation.set(self.threads.operation.get() + 1);
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
        self.begin();
        self.queue.insert(&self.threads, element(thread), wakeup);
    }

    fn remove(&mut self, thread: usize) {
        self.begin();
        self.queue.remove(&self.threads, element(thread));
    }

    fn tick(&mut self, now: u64) -> Vec<usize> {
        // Each look at the first is an operation, and each removal.
        let expired = std::iter::from_fn(|| {
            self.begin();
            self.queue.expire(&self.threads, now)
        });
        expired.map(|id| id.get() as usize - 1).collect()
    }

    fn touched(&self) -> u64 {
        self.threads.touched.get()
    }
}
