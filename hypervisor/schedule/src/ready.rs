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
use core::num::NonZeroU64;
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
    #[inline]
    pub fn enqueue(&self, elements: &impl Elements<ReadyLinks>, id: Id, priority: u8, place: Place) {
        self.remove(elements, id);
        let priority = usize::from(priority).min(PRIORITIES - 1);
        let links = elements.links(id);
        links.priority.store(priority as u32, Relaxed);
        let Some(head) = self.heads[priority].get() else {
            join(elements, id, id);
            self.heads[priority].set(Some(id));
            let ready = &self.ready[priority / 64];
            return ready.set(ready.get() | 1 << (priority % 64));
        };
        // The ring has no ends: the tail is what stands before the head, so both places are the same gap in it.
        let before = elements.links(head).previous.get().unwrap_or(head);
        join(elements, before, id);
        join(elements, id, head);
        if place == Place::Head {
            self.heads[priority].set(Some(id));
        }
    }

    /// Takes `id` out. Returns whether it was in the queue.
    #[inline]
    pub fn remove(&self, elements: &impl Elements<ReadyLinks>, id: Id) -> bool {
        let links = elements.links(id);
        let found = links.next.get().is_some();
        if found {
            self.leave(elements, id, links.priority.load(Relaxed) as usize % PRIORITIES);
        }
        found
    }

    /// Takes `id`, which is in list `priority`, out.
    #[inline]
    fn leave(&self, elements: &impl Elements<ReadyLinks>, id: Id, priority: usize) {
        let (links, head) = (elements.links(id), &self.heads[priority]);
        match links.next.get().filter(|&next| next != id).zip(links.previous.get()) {
            None => {
                head.set(None);
                let ready = &self.ready[priority / 64];
                ready.set(ready.get() & !(1 << (priority % 64)));
            }
            Some((next, previous)) => {
                join(elements, previous, next);
                if head.get() == Some(id) {
                    head.set(Some(next));
                }
            }
        }
        links.next.set(None);
    }

    /// The oldest element of the highest priority that has any, and that priority.
    #[inline]
    pub fn highest(&self) -> Option<(Id, u8)> {
        let (word, above) = match self.ready[1].get() {
            0 => (self.ready[0].get(), 0),
            word => (word, 64),
        };
        let priority = NonZeroU64::new(word)?.ilog2() as usize % 64 + above;
        Some((self.heads[priority].get()?, priority as u8))
    }

    /// Whether nothing is in the queue.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.ready[0].get() | self.ready[1].get() == 0
    }

    /// Takes out `id` of this priority, which [`Self::highest`] has named just now.
    #[inline]
    pub fn take(&self, elements: &impl Elements<ReadyLinks>, (id, priority): (Id, u8)) {
        self.leave(elements, id, usize::from(priority) % PRIORITIES);
    }

    /// Takes out what [`Self::highest`] names.
    #[inline]
    pub fn dequeue(&self, elements: &impl Elements<ReadyLinks>) -> Option<(Id, u8)> {
        let (id, priority) = self.highest()?;
        self.take(elements, (id, priority));
        Some((id, priority))
    }
}

/// Makes `second` follow `first`.
#[inline]
fn join(elements: &impl Elements<ReadyLinks>, first: Id, second: Id) {
    elements.links(first).next.set(Some(second));
    elements.links(second).previous.set(Some(first));
}

#[cfg(test)]
#[cfg(not(any(loom, shuttle)))]
mod tests;
