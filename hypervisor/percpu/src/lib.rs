//! The page that every core sees at the same address, with another frame behind it on each core.
//!
//! Purpose: a core's identity, its current context and its descriptor tables are one load away, with no segment
//! swap. [`this`] is the only "ambient" state of ring 0; pure crates take the core as an argument.
//! Invariants: 1. the page is mapped at [`memory::layout::CORE_LOCAL`] before the first instruction of Rust runs on
//! a core, and stays. 2. [`Local`] is touched by its own core only: it is not `Sync`, and so a reference to it cannot
//! leave the core (the assertion at the end of `page.rs` fails to compile otherwise). 3. [`Shared`] holds atomics,
//! and what has a lock; other cores reach it through the pool, never through the fixed address.
//! Concurrency: see 2 and 3. An interrupt may come between two accesses only at named preemption points.
//! Source: lecture D:200-203, D:335; design plan §3; `docs/src/decisions/0005-core-local-page.md`.
#![cfg_attr(not(test), no_std)]
// UNSAFETY: one dereference of the fixed address, argued in `this`.
#![expect(unsafe_code, reason = "the core-local page is a fixed address")]

mod page;
mod task_state;

pub use page::{CoreLocal, Hazard, Local, Shared, Window};
pub use task_state::{GDT_ENTRIES, SELECTOR_TSS, TaskState, descriptor_table};

use memory::layout::CORE_LOCAL;

/// The part of a core's page that others may touch.
///
/// # Safety
/// `page` is the address, in the pool or the image, of the core-local page of a core that runs.
pub unsafe fn shared_of(page: u64) -> &'static Shared {
    let page = core::ptr::with_exposed_provenance::<CoreLocal>(page as usize);
    // SAFETY: the caller's promise; the page is never given back, and `Shared` consists of atomics. Only that part of the
    // page is borrowed.
    unsafe { &(*page).shared }
}

/// The core-local page of the core that asks.
#[inline]
pub fn this() -> &'static CoreLocal {
    let page = core::ptr::with_exposed_provenance::<CoreLocal>(CORE_LOCAL as usize);
    // SAFETY: boot maps a zeroed, writable, page-aligned frame of its own at this address on every core before Rust
    // runs there, and it is never unmapped. All-zero bytes are a valid `CoreLocal`. Fields are cells and atomics, so a
    // shared reference suffices for every access, and the type is not `Sync`, so it stays on this core.
    unsafe { &*page }
}
