//! The interface that both rings share: numbers, layouts and decoders, nothing that does anything.
//!
//! Principles:
//! 1. One concept per file; the names are the field's, the three-letter forms of the classic interface stand in the docs.
//! 2. A word from the other ring decodes in exactly one place. Decoding is total (every word means something) or returns
//!    an `Option`/`Result`; it never panics.
//! 3. Every layout is pinned by size and offset assertions; encoding what was decoded gives the same word.
//!
//! Concurrency: plain values.
//! Source: the classic NOVA x86-64 interface, API version 10.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod address;
pub mod arch_state;
pub mod conformance;
pub mod counter;
pub mod crd;
pub mod event;
pub mod hip;
pub mod hypercall;
pub mod item;
pub mod mtd;
pub mod operation;
pub mod qpd;
pub mod rights;
pub mod selector;
pub mod status;
pub mod utcb;

pub use address::{PhysAddr, VirtAddr};
pub use crd::{Crd, Kind};
pub use hypercall::{Hypercall, Request};
pub use item::TypedItem;
pub use mtd::Mtd;
pub use rights::Rights;
pub use selector::Selector;
pub use status::Status;

/// Version of the interface that the HIP announces.
pub const API_VERSION: u32 = 10;
/// First address at which neither a UTCB nor an entry point may lie, in bytes (classic user limit).
pub const USER_LIMIT: u64 = 0x7FFF_C000_0000;
