//! The façade through which ring 0 reaches atomics and locks.
//!
//! Purpose: the code that ships is the code that is model-checked. Everything concurrent imports from here, so that
//! `--cfg loom` (exhaustive, two or three threads) or `--cfg shuttle` (sampled, more threads) replaces the primitives
//! under an unchanged algorithm.
//! Invariants: interrupts are off in the kernel wherever a lock is held, so no lock masks them; locks are held for a
//! bounded number of steps.
//! Concurrency: this is where it is defined.
//! Source: `docs/src/decisions/0003-objects-and-sync.md`.
#![cfg_attr(not(any(test, loom, shuttle)), no_std)]
#![forbid(unsafe_code)]

mod count;
mod gate;
mod hazards;
mod link;
mod spin_lock;

pub use count::{Chain, Count};
pub use gate::{Closed, Gate, Inside, Latch, Mark, Taken};
pub use hazards::Hazards;
pub use link::{Elements, Id, Link};
pub use spin_lock::{Guard, Spin};

/// Atomic integers and fences.
pub mod atomic {
    #[cfg(not(any(loom, shuttle)))]
    pub use core::sync::atomic::*;
    #[cfg(loom)]
    pub use loom::sync::atomic::*;
    #[cfg(shuttle)]
    pub use shuttle::sync::atomic::*;
}

/// A value that is written once, at boot, and only read afterwards.
pub use spin::Once;

/// Tells the processor (or the model checker) that this thread waits for another.
#[inline]
pub fn relax() {
    #[cfg(not(any(loom, shuttle)))]
    core::hint::spin_loop();
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(shuttle)]
    shuttle::thread::yield_now();
}
