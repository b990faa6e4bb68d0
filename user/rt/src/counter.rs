//! The kernel's counters, which the root partition may read.
//!
//! Concurrency: counts of cores that run are read as they are.
//! Source: an extension of ours, `docs/src/shootdown.md`, "Counters".

use abi::counter::Counter;
use abi::{Selector, Status};

use crate::arch::syscall;

/// The counter `number` of `core`.
///
/// # Errors
/// [`Status::BadCapability`] outside the root domain, [`Status::BadParameter`] for an unknown number, [`Status::BadCpu`] for a
/// core that does not run.
pub fn read(core: u32, number: u64) -> Result<u64, Status> {
    syscall::count(Selector::new(core.into()), number)
}

/// How often virtual CPUs left their guests on `core`, for whatever reason; 0 for a core that does not run.
#[must_use]
pub fn exits(core: u32) -> u64 {
    (0..=u8::MAX).filter_map(|event| read(core, Counter::exits(event)).ok()).sum()
}
