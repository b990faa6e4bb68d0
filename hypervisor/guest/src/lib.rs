//! Virtual CPUs as data.
//!
//! Purpose: what a virtual CPU is made of, as pages of words; what an exit means; which registers go into a message and
//! come back; which tag its translations have. Nothing here runs one.
//! Invariants: no value from a message, and no behaviour of a guest, makes a step fail or gives the guest anything that
//! the kernel keeps: what must be intercepted is, whatever a monitor asks for.
//! Concurrency: the pages of a virtual CPU are used on its core only; words are atomics so that shared borrows suffice.
//! Source: AMD64 manual volume 2, chapter 15 and appendix B; interface §4 and §6; `docs/src/decisions/0023-virtual-cpus.md`.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

use objects::Page;
use sync::atomic::Ordering::Relaxed;

/// Word of a message page that has field `$field` of the state.
macro_rules! word {
    ($field:ident) => {
        (STATE_OFFSET + offset_of!(ArchState, $field)) / 8
    };
}

mod registers;
pub mod svm;
pub mod tags;
pub mod vmx;

pub use registers::{Fields, Guest, Message};

/// Words of the second page of a virtual CPU, which the processor does not know.
pub mod extra {
    /// XCR0 while the guest runs.
    pub const XCR0: usize = 0;
    /// IA32_TSC_AUX while the guest runs.
    pub const TSC_AUX: usize = 1;
    /// See [`crate::tags`]: the tag,
    pub const TAG: usize = 2;
    /// its generation,
    pub const GENERATION: usize = 3;
    /// and what the domain's guest memory had lost by then.
    pub const SEEN: usize = 4;
    /// The first of four breakpoint addresses.
    pub const BREAKPOINTS: usize = 5;
    /// Physical address of the first page.
    pub const BLOCK: usize = 9;
    /// CR2 while the guest does not run.
    pub const CR2: usize = 10;
    /// Whether the control structure was launched.
    pub const LAUNCHED: usize = 11;
}

/// Word `index`, a constant below 512, of a page.
#[inline(always)]
pub fn load(page: &Page, index: usize) -> u64 {
    page[index].load(Relaxed)
}

/// Replaces that word.
#[inline(always)]
pub fn store(page: &Page, index: usize, value: u64) {
    page[index].store(value, Relaxed);
}

/// What the kernel does after an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Takes the host's interrupts.
    Interrupt,
    /// Lets the guest have its debug registers.
    Debug,
    /// Takes an exception of the host's, by its vector.
    Host(u8),
    /// Enters again, after these bits of DR6 were set.
    Trap(u64),
    /// Enters again.
    Again,
    /// Tells the monitor, at the portal of this event.
    Event(u8),
}

/// The value of XCR0 that a guest gets if it asks for `wanted` and the host manages `components`: one that the processor
/// takes.
pub const fn sane_xcr0(wanted: u64, components: u64) -> u64 {
    const SSE: u64 = 1 << 1;
    const AVX: u64 = 1 << 2;
    const AVX_512: u64 = 7 << 5;
    let mut value = wanted & components | 1;
    if value & SSE == 0 {
        value &= !AVX;
    }
    if value & (AVX | AVX_512) != AVX | AVX_512 {
        value &= !AVX_512;
    }
    value
}
