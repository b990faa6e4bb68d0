//! Kernel objects: where they are stored and how they are referenced.
//!
//! Purpose: protection domains, contexts, portals and the rest live in pages of the kernel's pool and name each other by
//! small typed references. This crate turns references into `&T`, so that the crates with the algorithms forbid unsafe.
//! Invariants: 1. a page holds objects of one type, its header says of which. 2. A [`Ref`] is made by [`Store::write`]
//! only, or read back from a word that one was written to. 3. A slot is reused only after [`Slab::remove`], whose caller
//! promises that a grace period has passed. 4. Objects are `Sync`: their fields are atomics, cells behind locks, or
//! never change, so `&T` is all that anybody needs.
//! Concurrency: reading is free; a slab has one owner, who locks it.
//! Source: `docs/src/decisions/0003-objects-and-sync.md`.
#![cfg_attr(not(test), no_std)]
// UNSAFETY: references are turned into borrows of pool memory; argued in `store.rs`, on the host checked by Miri.
#![expect(unsafe_code, reason = "references into pool memory")]

mod context;
mod domain;
pub mod frame;
mod portal;
mod reference;
mod scheduling;
mod semaphore;
mod slab;
mod slabs;
mod store;

pub use context::{Context, Continuation, Identity, NO_ROOT, Page};
pub use domain::Domain;
pub use portal::Portal;
pub use reference::{Object, Plain, Ref};
pub use scheduling::{Place, Scheduling};
pub use semaphore::{Semaphore, Take};
pub use slab::{Slab, Slot};
pub use slabs::{Charged, Slabs};
pub use store::Store;

/// Alignment of objects and unit of references, in bytes: a cache line.
pub const GRANULE: usize = 64;
