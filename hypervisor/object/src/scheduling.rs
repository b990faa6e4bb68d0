//! Scheduling contexts: priority, and time to run.
//!
//! Purpose: what a ready queue holds.
//! Invariants: a scheduling context is bound to one context for ever, and stays on its core; it is in at most one
//! queue: ready, put aside, or with the context that waits.
//! Concurrency: queue links, place and budget belong to its core; other cores reach it through that core's inbox, with
//! what they want in `requests`.
//! Source: interface §5 ("create_sc") and §8.
use crate::context::Context;
use crate::frame::Register;
use crate::reference::Ref;
use schedule::{Budget, InboxLinks, ReadyLinks, Requests};
use sync::Count;

use sync::atomic::AtomicU32;
use sync::atomic::Ordering::Relaxed;

/// Where a scheduling context is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Place {
    /// It waits with a context, or is on its way from another core.
    Away = 0,
    /// Among the ready ones of its core.
    Ready = 1,
    /// Among those of its core that were put aside.
    Parked = 2,
    /// Its core runs on its time.
    Runs = 3,
    /// Nowhere: what it would run is over.
    Nowhere = 4,
}

/// A scheduling context.
pub struct Scheduling {
    /// The context that runs on it, itself or through whom it calls.
    pub context: Ref<Context>,
    /// Its core.
    pub core: u32,
    /// Its place in the ready queue.
    pub ready: ReadyLinks,
    /// Its place in the inbox of its core.
    pub inbox: InboxLinks,
    /// Capabilities, together one.
    pub count: Count,
    /// TSC ticks that it has run for. Of a core's idle one also those of calls from other cores, and of scheduling contexts
    /// and of contexts of the core that are gone. Its core writes them.
    pub times: [Register; 4],
    priority: Register,
    place: AtomicU32,
    /// What its core is to do with it: bits that the kernel defines.
    pub requests: Requests,
    /// Word of the reference to the context that it waits with, if it does; 0 for none.
    pub with: Register,
    quantum: Register,
    /// TSC ticks that are left of its budget.
    pub left: Register,
}

impl Scheduling {
    /// A scheduling context with a full budget, in no queue; priority 1 to 127.
    pub fn new(context: Ref<Context>, core: u32, priority: u8, budget: Budget) -> Self {
        Self {
            context,
            core,
            ready: ReadyLinks::default(),
            inbox: InboxLinks::default(),
            count: Count::default(),
            times: [const { Register::new(0) }; 4],
            priority: Register::new(priority.into()),
            place: AtomicU32::new(Place::Away as u32),
            requests: Requests::default(),
            with: Register::default(),
            quantum: Register::new(budget.quantum),
            left: Register::new(budget.left),
        }
    }

    /// Its budget, in TSC ticks.
    pub fn budget(&self) -> Budget {
        Budget { quantum: self.quantum.get(), left: self.left.get() }
    }

    /// Its priority.
    pub fn priority(&self) -> u8 {
        self.priority.get() as u8
    }

    /// Takes over priority and budget of another; in no queue.
    pub fn imitate(&self, other: &Self) {
        self.priority.set(other.priority.get());
        self.quantum.set(other.quantum.get());
        self.left.set(other.left.get());
    }

    /// Where it is.
    pub fn place(&self) -> Place {
        match self.place.load(Relaxed) {
            0 => Place::Away,
            1 => Place::Ready,
            2 => Place::Parked,
            3 => Place::Runs,
            _ => Place::Nowhere,
        }
    }

    /// Sets where it is.
    pub fn set_place(&self, place: Place) {
        self.place.store(place as u32, Relaxed);
    }
}
