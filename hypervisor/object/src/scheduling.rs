//! Scheduling contexts: priority, and time to run.
//!
//! Purpose: what a ready queue holds.
//! Invariants: a scheduling context is bound to one context for ever, and stays on its core; it is in at most one
//! queue: ready, or with the context that waits.
//! Concurrency: queue links and budget belong to its core; other cores reach it through that core's inbox.
//! Source: interface §5 ("create_sc") and §8.
use crate::context::Context;
use crate::reference::{Object, Ref, kind};
use schedule::{Budget, InboxLinks, ReadyLinks};
use sync::Count;
use sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A scheduling context.
#[derive(Debug)]
pub struct Scheduling {
    /// The context that runs on it, itself or through whom it calls.
    pub context: Ref<Context>,
    /// Its core.
    pub core: u32,
    /// 1 to 127.
    pub priority: u8,
    /// Its place in the ready queue.
    pub ready: ReadyLinks,
    /// Its place in the inbox of its core.
    pub inbox: InboxLinks,
    /// Capabilities, together one.
    pub count: Count,
    quantum: u64,
    left: AtomicU64,
}

// SAFETY: the numbers of object types stand in `reference::kind`, each once.
unsafe impl Object for Scheduling {
    const KIND: u32 = kind::SCHEDULING;
}

impl Scheduling {
    /// A scheduling context with a full budget, in no queue.
    #[must_use]
    pub fn new(context: Ref<Context>, core: u32, priority: u8, budget: Budget) -> Self {
        Self {
            context,
            core,
            priority,
            ready: ReadyLinks::default(),
            inbox: InboxLinks::default(),
            count: Count::new(),
            quantum: budget.quantum,
            left: AtomicU64::new(budget.left),
        }
    }

    /// Its budget, in TSC ticks.
    #[must_use]
    pub fn budget(&self) -> Budget {
        Budget { quantum: self.quantum, left: self.left.load(Relaxed) }
    }

    /// Replaces what is left of it.
    pub fn set_budget(&self, budget: Budget) {
        self.left.store(budget.left, Relaxed);
    }
}
