//! What a context contributes to the queue that it waits in.
//!
//! Purpose: a node of a leftist tree, named by number instead of by pointer.
//! Invariants: `rank` is 0 exactly while the element waits in no queue; of a waiting element it is the number of nodes
//! on the way that always goes right. A left child's rank is at least the right one's.
//! Concurrency: touched by the owner of the queue only, hence `Relaxed`.
//! Source: as the crate's root.
use sync::Link;
use sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// The part of an element that belongs to the queue; 32 bytes.
#[derive(Debug, Default)]
#[repr(C)]
pub struct TimeoutLinks {
    pub(crate) deadline: AtomicU64,
    /// Number of the arming, so that equal deadlines are in order.
    pub(crate) sequence: AtomicU64,
    pub(crate) parent: Link,
    pub(crate) left: Link,
    pub(crate) right: Link,
    pub(crate) rank: AtomicU32,
}

impl TimeoutLinks {
    /// Whether the element waits for a deadline.
    pub fn is_pending(&self) -> bool {
        self.rank.load(Relaxed) != 0
    }

    /// What elements are ordered by.
    pub(crate) fn key(&self) -> (u64, u64) {
        (self.deadline.load(Relaxed), self.sequence.load(Relaxed))
    }
}
