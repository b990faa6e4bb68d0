//! Wake-ups from other cores.
//!
//! Purpose: any core names an element to the core that owns it, without a lock; the owner gets each name once, in the
//! order in which they came. The pusher learns whether the owner has to be interrupted.
//! Invariants: `pending` of an element is 1 from the push until the owner is handed it, and meanwhile nobody else
//! pushes it: so `next` has one writer at a time. Whoever pushes at all is sure that the owner is handed the element
//! after that, and then sees everything that the pusher did before.
//! Concurrency: `head` is the newest of a stack. Pushers exchange it for their element, the owner exchanges it for 0.
//! Nobody follows a name read from `head` before it has been exchanged away, so no name can have come back under it.
//!
//! * `head`, push releases and the owner acquires: exchanges continue each other's release sequence, so the owner sees
//!   the `next` of all that it takes, not only of the newest. The owner releases and push acquires: so an interrupt that
//!   a push asks for comes after the one that made the owner empty the stack, however it is sent, and is not merged
//!   with it.
//! * `pending`, both sides: exchanges with `AcqRel`, and also a push that changes nothing *writes*. All exchanges of the
//!   word are in one order. A push before the owner's releases what the pusher did to it; a plain test, or a failing
//!   comparison, would not. A push after it reads 0, and is a push of its own; by then the owner has read `next`, which
//!   its half of `AcqRel` releases to that pusher.
//! * An interrupt is needed only from the push that finds the stack empty: until the owner empties it again, which is
//!   after that interrupt was sent, later pushes are below the same exchange. On x86 the exchange is locked, so it is
//!   visible before the write to the interrupt command register, in x2APIC mode too.
//!
//! Source: R. K. Treiber, *Systems programming: coping with parallelism*, 1986 (the stack); design plan §3.
use core::cell::Cell;
use sync::atomic::{
    AtomicU32,
    Ordering::{AcqRel, Acquire, Relaxed},
};
use sync::{Elements, Id, Link};

/// The part of an element that belongs to the inbox; 8 bytes.
#[derive(Debug, Default)]
#[repr(C)]
pub struct InboxLinks {
    pending: AtomicU32,
    next: Link,
}

impl InboxLinks {
    /// Whether the element is in an inbox.
    pub fn is_pending(&self) -> bool {
        self.pending.load(Acquire) != 0
    }
}

/// What a push means for the pusher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the owner may have to be interrupted"]
pub enum Pushed {
    /// The inbox was empty: interrupt the owner.
    First,
    /// The owner is on its way: another has interrupted it, or is about to.
    Behind,
    /// The element was in the inbox already; the owner is on its way, and will see what was done before this push.
    Already,
}

/// The half of a core's inbox that all cores may touch.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Inbox {
    head: AtomicU32,
}

/// The owner's half: what it has taken out together and not been handed yet.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Reader {
    taken: Cell<Option<Id>>,
}

impl Inbox {
    /// Puts `id` in. An element may be in one inbox only, that of its core.
    pub fn push(&self, elements: &impl Elements<InboxLinks>, id: Id) -> Pushed {
        let links = elements.links(id);
        if links.pending.swap(1, AcqRel) != 0 {
            return Pushed::Already;
        }
        let mut head = self.head.load(Relaxed);
        loop {
            links.next.set(Id::new(head));
            match self.head.compare_exchange_weak(head, id.get(), AcqRel, Relaxed) {
                Ok(0) => return Pushed::First,
                Ok(_) => return Pushed::Behind,
                Err(newer) => head = newer,
            }
        }
    }

    /// Whether nothing is waiting to be taken out. Without ordering: for a look before going idle, with interrupts off,
    /// so that the interrupt of a later push ends the idling.
    pub fn is_empty(&self) -> bool {
        self.head.load(Relaxed) == 0
    }
}

impl Reader {
    /// Takes everything out of `inbox` unless there is something left from before. After that [`Self::next`] hands out
    /// what was pushed up to now, and nothing later. Returns whether there is anything.
    pub fn refill(&self, inbox: &Inbox, elements: &impl Elements<InboxLinks>) -> bool {
        if self.taken.get().is_none() && !inbox.is_empty() {
            let mut rest = Id::new(inbox.head.swap(0, AcqRel));
            // The newest comes first: turn the list round.
            while let Some(id) = rest {
                let links = elements.links(id);
                rest = links.next.get();
                links.next.set(self.taken.replace(Some(id)));
            }
        }
        self.taken.get().is_some()
    }

    /// The oldest of what was taken out; from now on it may be pushed again. Whoever stops before `None` has to come
    /// back on its own: no interrupt will remind it.
    pub fn next(&self, elements: &impl Elements<InboxLinks>) -> Option<Id> {
        let id = self.taken.get()?;
        let links = elements.links(id);
        self.taken.set(links.next.get());
        links.pending.swap(0, AcqRel);
        Some(id)
    }
}

#[cfg(test)]
mod tests;
