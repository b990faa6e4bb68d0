//! The deadlines that a core waits for: one queue per core of contexts that want to be woken at a TSC value.
//!
//! Purpose: arm, cancel, find the earliest, take what has expired. A context waits for at most one deadline, so the
//! queue's links are part of the context and the queue never allocates.
//! Invariants: 1. every operation has a worst case, not only an average, of O(log n) steps, the earliest deadline is
//! found in O(1): interrupts are off meanwhile, and the waiters choose the deadlines. 2. No recursion, constant stack.
//! 3. Equal deadlines expire in the order in which they were armed. 4. All-zero links and an all-zero queue are empty.
//! Concurrency: a queue and the links in it belong to one core. [`Timeouts`] is not `Sync`; links are atomics only
//! because objects are shared, and need no ordering. A wake-up from another core goes through that core's inbox.
//! Source: lectures E:789-863 (rows 163-168; `tests/models` compares their designs with this one); C. A. Crane, *Linear
//! lists and priority queues as balanced binary trees*, 1972 (leftist trees).
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod heap;
mod links;

pub use heap::Timeouts;
pub use links::TimeoutLinks;
pub use sync::{Elements, Id};
