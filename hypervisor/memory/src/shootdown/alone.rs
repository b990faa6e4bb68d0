//! A machine with one core, for tests: nobody is to be interrupted.
//!
//! Purpose: what changes tables and is not about other cores needs a machine all the same.
//! Invariants: none.
//! Concurrency: one thread.
//! Source: none.
use super::{Core, Machine, Pages};
use core::cell::Cell;
use sync::atomic::AtomicU64;

/// The machine.
#[derive(Default)]
pub struct Alone {
    pub core: Core,
    /// How often the core has forgotten everything.
    pub flushes: Cell<u32>,
    flights: AtomicU64,
}

impl Machine for Alone {
    fn cores(&self) -> u32 {
        1
    }
    fn own(&self) -> u32 {
        0
    }
    fn core(&self, _: u32) -> &Core {
        &self.core
    }
    fn interrupt(&self, _: impl Iterator<Item = u32>, _: u32) {}
    fn flush(&self, pages: Pages) {
        self.flushes.update(|flushes| flushes + u32::from(pages == Pages::ALL));
    }
    fn landed(&self, _: u32) {}
    fn flights(&self) -> &AtomicU64 {
        &self.flights
    }
}
