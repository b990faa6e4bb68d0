//! Semaphores.
//!
//! Purpose: a counter, and the contexts that wait for it, first come first served.
//! Invariants: while somebody waits the counter is 0; a context is in at most one queue.
//! Concurrency: everything is behind the lock, which any core takes for a few steps.
//! Source: interface §5 ("create_sm", "sm_ctrl").
use crate::context::Context;
use crate::reference::{Object, Ref, kind};
use crate::store::Store;
use sync::{Count, Spin};

/// A semaphore.
pub struct Semaphore(Spin<State>, Count);

#[derive(Debug, Default)]
struct State {
    count: u64,
    first: Option<Ref<Context>>,
    last: Option<Ref<Context>>,
}

// SAFETY: the numbers of object types stand in `reference::kind`, each once.
unsafe impl Object for Semaphore {
    const KIND: u32 = kind::SEMAPHORE;
}

impl Semaphore {
    /// A semaphore with this count, nobody waiting.
    #[must_use]
    pub fn new(count: u64) -> Self {
        Self(Spin::new(State { count, first: None, last: None }), Count::new())
    }

    /// Capabilities, together one, and signals chained to it.
    #[must_use]
    pub const fn references(&self) -> &Count {
        &self.1
    }

    /// Adds one. Returns the context that waited longest, which has it then.
    pub fn up(&self, store: &Store<'_>) -> Option<Ref<Context>> {
        let mut state = self.0.lock();
        let Some(first) = state.first else {
            state.count = state.count.saturating_add(1);
            return None;
        };
        state.first = store.get(first).next();
        if state.first.is_none() {
            state.last = None;
        }
        store.get(first).set_next(None);
        Some(first)
    }

    /// Takes one, or all of them, if there is any. If there is none, `context` waits, and the answer is false; `prepare`
    /// is called then, before anybody can wake it.
    pub fn down(&self, store: &Store<'_>, context: Ref<Context>, all: bool, prepare: impl FnOnce()) -> bool {
        let mut state = self.0.lock();
        if state.count > 0 {
            state.count = if all { 0 } else { state.count - 1 };
            return true;
        }
        prepare();
        store.get(context).set_next(None);
        match state.last {
            Some(last) => store.get(last).set_next(Some(context)),
            None => state.first = Some(context),
        }
        state.last = Some(context);
        false
    }

    /// Takes a waiter out of a semaphore that has ended.
    pub fn close(&self, store: &Store<'_>) -> Option<Ref<Context>> {
        self.up(store)
    }

    /// The semaphore that it is chained to.
    #[must_use]
    pub const fn chained(&self) -> Option<Ref<Self>> {
        None
    }

    /// Takes `context` out of the queue; false if it is not in there (any more).
    pub fn cancel(&self, store: &Store<'_>, context: Ref<Context>) -> bool {
        let mut state = self.0.lock();
        let (mut previous, mut at) = (None::<Ref<Context>>, state.first);
        while let Some(candidate) = at {
            let next = store.get(candidate).next();
            if candidate == context {
                match previous {
                    Some(previous) => store.get(previous).set_next(next),
                    None => state.first = next,
                }
                if next.is_none() {
                    state.last = previous;
                }
                store.get(context).set_next(None);
                return true;
            }
            (previous, at) = (Some(candidate), next);
        }
        false
    }
}
