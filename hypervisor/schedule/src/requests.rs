//! What other cores ask of an object, and the time that waits with a context.
//!
//! Purpose: [`Requests`] are bits that any core adds and the owner takes; [`Lent`] names the scheduling context that waits
//! with a context until whoever wakes the context takes it.
//! Invariants: a bit that was added before a push into the owner's [`crate::Inbox`] is taken at the latest when the owner
//! is handed the element for that push. Of several cores that take what is lent, one gets it.
//! Concurrency: any core. An adder releases what it did before, the taker acquires it.
//! Source: `docs/src/decisions/0021-requests-and-proxies.md`.
use sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

/// Bits that stand for what is to be done with an object.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Requests(AtomicU32);

impl Requests {
    /// Adds `bits`.
    pub fn add(&self, bits: u32) {
        self.0.fetch_or(bits, Release);
    }

    /// Takes all bits.
    pub fn take(&self) -> u32 {
        self.0.swap(0, Acquire)
    }
}

/// A word other than 0 that is taken once, or 0.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Lent(AtomicU64);

impl Lent {
    /// The word, without taking it. Without ordering.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Lends `word`, or nothing if it is 0. By the owner, when nothing is lent; what publishes the waiter to others comes
    /// after.
    pub fn set(&self, word: u64) {
        self.0.store(word, Relaxed);
    }

    /// Takes the word; 0 if it is gone.
    pub fn take(&self) -> u64 {
        self.0.swap(0, AcqRel)
    }

    /// Takes the word if it is `expected`.
    pub fn take_if(&self, expected: u64) -> bool {
        self.0.compare_exchange(expected, 0, AcqRel, Acquire).is_ok()
    }
}

#[cfg(test)]
mod tests;
