//! The ready queue of a core.
//!
//! Purpose: the highest priority that has something to run, in O(1): a bit per priority in two machine words, and each
//! priority has a circular list in which the oldest element comes first.
//! Invariants: bit p is set exactly if list p has a head. An element is in at most one list; `next` is 0 exactly while
//! it is in none. The context that runs is not in the queue: it is put back when it leaves the core.
//! Concurrency: not `Sync`; links are touched by the owner of the queue only, hence without ordering.
//! Source: interface §8 (128 priorities, round robin within each).
use crate::budget::Place;
use core::cell::Cell;
use sync::atomic::{AtomicU32, Ordering::Relaxed};
use sync::{Elements, Id, Link};

/// Number of priorities; 127 is the most urgent.
pub const PRIORITIES: usize = 128;

/// The part of a scheduling context that belongs to the ready queue; 12 bytes.
#[derive(Debug, Default)]
#[repr(C)]
pub struct ReadyLinks {
    next: Link,
    previous: Link,
    /// Of the list that the element is in.
    priority: AtomicU32,
}

/// What can run on a core; 528 bytes.
#[derive(Debug)]
#[repr(C)]
pub struct ReadyQueue {
    /// Bit p % 64 of word p / 64: list p is not empty.
    ready: [Cell<u64>; PRIORITIES / 64],
    heads: [Cell<Option<Id>>; PRIORITIES],
}

impl Default for ReadyQueue {
    fn default() -> Self {
        Self { ready: Default::default(), heads: [const { Cell::new(None) }; PRIORITIES] }
    }
}

impl ReadyQueue {
    /// Puts `id` behind all others of `priority`, which counts as 127 if it is above. If it is in the queue already, it
    /// moves.
    pub fn enqueue_tail(&self, elements: &impl Elements<ReadyLinks>, id: Id, priority: u8) {
        self.enqueue(elements, id, priority, Place::Tail);
    }

    /// Puts `id` where [`Budget::release`](crate::Budget::release) says; otherwise as [`Self::enqueue_tail`].
    pub fn enqueue(&self, elements: &impl Elements<ReadyLinks>, id: Id, priority: u8, place: Place) {
        self.remove(elements, id);
        let priority = usize::from(priority).min(PRIORITIES - 1);
        let links = elements.links(id);
        links.priority.store(priority as u32, Relaxed);
        let head = self.heads[priority].get();
        // The ring has no ends: the tail is what stands before the head, so both places are the same gap in it.
        let (before, after) = match head {
            Some(head) => (elements.links(head).previous.get().unwrap_or(head), head),
            None => (id, id),
        };
        join(elements, before, id);
        join(elements, id, after);
        if head.is_none() || place == Place::Head {
            self.set_head(priority, Some(id));
        }
    }

    /// Takes `id` out. Returns whether it was in the queue.
    pub fn remove(&self, elements: &impl Elements<ReadyLinks>, id: Id) -> bool {
        let links = elements.links(id);
        let (Some(next), Some(previous)) = (links.next.get(), links.previous.get()) else { return false };
        let priority = links.priority.load(Relaxed) as usize % PRIORITIES;
        if next == id {
            self.set_head(priority, None);
        } else {
            join(elements, previous, next);
            if self.heads[priority].get() == Some(id) {
                self.set_head(priority, Some(next));
            }
        }
        links.next.set(None);
        links.previous.set(None);
        true
    }

    /// The oldest element of the highest priority that has any, and that priority.
    #[must_use]
    pub fn highest(&self) -> Option<(Id, u8)> {
        let (word, above) = match self.ready[1].get() {
            0 => (self.ready[0].get(), 0),
            word => (word, 64),
        };
        let priority = word.checked_ilog2()? + above;
        Some((self.heads[priority as usize].get()?, priority as u8))
    }

    /// Whether nothing is in the queue.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ready[0].get() | self.ready[1].get() == 0
    }

    /// Takes out what [`Self::highest`] names.
    pub fn dequeue(&self, elements: &impl Elements<ReadyLinks>) -> Option<(Id, u8)> {
        let (id, priority) = self.highest()?;
        self.remove(elements, id);
        Some((id, priority))
    }

    fn set_head(&self, priority: usize, head: Option<Id>) {
        self.heads[priority].set(head);
        let (ready, bit) = (&self.ready[priority / 64], 1 << (priority % 64));
        ready.set(if head.is_some() { ready.get() | bit } else { ready.get() & !bit });
    }
}

/// Makes `second` follow `first`.
fn join(elements: &impl Elements<ReadyLinks>, first: Id, second: Id) {
    elements.links(first).next.set(Some(second));
    elements.links(second).previous.set(Some(first));
}

#[cfg(test)]
#[cfg(not(any(loom, shuttle)))]
mod tests;
