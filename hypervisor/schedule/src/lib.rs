//! Which scheduling context runs next on a core, and for how long; and how other cores wake contexts there.
//!
//! Purpose: [`ReadyQueue`] holds what can run, [`Budget`] is the arithmetic of quanta, [`Inbox`] carries names of
//! elements from any core to the one that owns them.
//! Invariants: 1. every operation is O(1), except that taking a batch out of an inbox turns it round once. 2. Nothing
//! allocates: links are part of the elements, which are named by number. 3. All-zero links and queues are empty.
//! Concurrency: scheduling contexts stay on their core, and only the owner touches its queue. Who wakes a context of
//! another core pushes it into that core's inbox, and sends an interrupt if told to.
//! Source: interface §5 (create_sc, ec_ctrl) and §8; lectures E:344-355 (priorities, time slices).
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod budget;
mod counter;
#[cfg(all(test, loom))]
mod explore;
mod inbox;
mod ready;
mod requests;

pub use budget::{Budget, Place};
pub use counter::{Counter, Down, Empty, SignalLinks, Tried, WaitLinks};
pub use inbox::{Inbox, InboxLinks, Pushed, Reader};
pub use ready::{PRIORITIES, ReadyLinks, ReadyQueue};
pub use requests::{Lent, Requests};
pub use sync::{Elements, Id};
