//! What a core is asked to do before it leaves the kernel the next time.
//!
//! Purpose: bits that any core raises and the owner takes. Whoever raises one and waits until it is gone knows that the
//! owner has come by since: that is a grace period, after which the owner borrows nothing that was out of reach before.
//! Invariants: what the owner did before it takes a bit is over for whoever finds the bit gone.
//! Concurrency: any core raises, the owner takes; both looks and takes acquire, raising and taking release.
//! Source: P. McKenney, J. Slingwine, "Read-copy update" (1998); `docs/src/decisions/0006-hazards.md`.
use crate::atomic::{
    AtomicU32,
    Ordering::{AcqRel, Acquire, Release},
};

/// A word of bits.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Hazards(AtomicU32);

impl Hazards {
    /// Raises `bits`.
    pub fn raise(&self, bits: u32) {
        self.0.fetch_or(bits, Release);
    }

    /// Takes `bits`: whether any was raised. None is any more.
    pub fn take(&self, bits: u32) -> bool {
        self.0.fetch_and(!bits, AcqRel) & bits != 0
    }

    /// All that are raised.
    #[inline]
    pub fn raised(&self) -> u32 {
        self.0.load(Acquire)
    }
}

/// A grace period of two cores, in all interleavings; the model counts the outcomes that it has met.
#[cfg(all(test, loom))]
mod model {
    use super::*;
    use crate::atomic::AtomicU64;
    use crate::relax;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    const GRACE: u32 = 1 << 5;

    /// A slot with a capability to an object, and the other core's hazards.
    struct World {
        slot: AtomicU64,
        object: UnsafeCell<u32>,
        hazards: Hazards,
    }

    #[test]
    fn after_a_grace_period_nobody_uses_what_was_out_of_reach_before() {
        let met = std::sync::Arc::new(Mutex::new(BTreeSet::new()));
        let outcomes = met.clone();
        loom::model(move || {
            let slot = AtomicU64::new(1);
            let world = Arc::new(World { slot, object: UnsafeCell::new(0), hazards: Hazards::default() });
            let other = world.clone();
            // Looks the object up without counting, uses it, and comes by on its way out; once more when interrupted.
            let user = thread::spawn(move || {
                let found = other.slot.load(Acquire) != 0;
                if found {
                    other.object.with(|_| ());
                }
                while !other.hazards.take(GRACE) {
                    relax();
                }
                found
            });
            // Takes the capability away, waits, and gives the object back.
            world.slot.store(0, Release);
            world.hazards.raise(GRACE);
            while world.hazards.raised() & GRACE != 0 {
                relax();
            }
            world.object.with_mut(|_| ());
            let found = user.join().expect("the thread ends");
            met.lock().expect("not poisoned").insert(found);
        });
        assert_eq!(outcomes.lock().expect("not poisoned").len(), 2, "used before, and not found");
    }
}
