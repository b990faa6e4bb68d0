//! Designs that the lectures describe and the kernel does not use, to compare with those that it does.
//!
//! Purpose: wake-up queues. All of them run the same work ([`workload`]), wake the same threads at the same ticks, and
//! count the entries that they touch ([`compare`]); the binary `timeouts` prints the counts. What each design is for,
//! and what it costs, stands in its module.
//! Invariants: costs are counts of entries, never times; a run depends on its seed only.
//! Concurrency: single-threaded models of structures that one core owns.
//! Source: lectures E:789-863.
#![forbid(unsafe_code)]

mod array;
mod buckets;
pub mod compare;
pub mod lecture;
mod lists;
#[cfg(all(test, not(any(loom, shuttle))))]
mod mmu;
#[cfg(all(test, any(loom, shuttle)))]
mod shootdown;
mod split;
mod tree;
mod window;
pub mod workload;

pub use array::Array;
pub use lists::Lists;
pub use split::Split;
pub use tree::Tree;
pub use window::Window;

/// Milliseconds between two timer interrupts: the granularity of all designs but [`Tree`].
pub const TICK: u64 = 4;

/// Number of lists in the designs that have several.
pub const LISTS: u64 = 8;

/// A queue of threads that are to be woken at some time, in milliseconds since the start.
pub trait Wakeups {
    /// Its name, for the table.
    fn name(&self) -> &'static str;

    /// Makes `thread`, which does not wait, wait for `wakeup`.
    fn insert(&mut self, thread: usize, wakeup: u64);

    /// Makes `thread` wait no longer: its message came. It waits.
    fn remove(&mut self, thread: usize);

    /// The timer interrupt at `now`, a multiple of [`TICK`] that never decreases; some may have been missed. Takes out
    /// and returns all threads whose time has come, in the order in which they are woken.
    fn tick(&mut self, now: u64) -> Vec<usize>;

    /// Entries that were touched so far; one that is touched twice counts twice.
    fn touched(&self) -> u64;
}

/// All designs, for `threads` threads.
#[must_use]
pub fn designs(threads: usize) -> Vec<Box<dyn Wakeups>> {
    vec![
        Box::new(Array::new(threads)),
        Box::new(Lists::new(threads)),
        Box::new(Split::new(threads)),
        Box::new(Window::new(threads)),
        Box::new(Tree::new(threads)),
    ]
}

/// The first tick that is not before `wakeup`, as a number of ticks.
fn tick_of(wakeup: u64) -> u64 {
    wakeup.div_ceil(TICK)
}

/// The ticks after `last` up to `now` that have to be looked at: the last of each list.
fn visits(last: u64, now: u64) -> std::ops::RangeInclusive<u64> {
    let first = (now + 1).saturating_sub(LISTS).max(last + 1);
    first..=now
}

#[cfg(test)]
mod tests;
