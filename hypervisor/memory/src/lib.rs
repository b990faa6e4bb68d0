//! Memory as arithmetic: which bytes the kernel may use, which frames are free, which page translates to what.
//!
//! Purpose: everything about memory that needs no privileged instruction, so that it runs under `cargo test` as it
//! runs in ring 0.
//! Invariants: 1. memory is named by address or frame number, never by reference: the only way to the bytes is
//! [`mmu::Mmu`] or the caller. 2. A frame is owned by one value that can be neither copied nor dropped unnoticed.
//! 3. Exhaustion is a value.
//! Concurrency: each module says which lock its caller holds.
//! Source: design plan §3; `docs/src/decisions/0001-kernel-pool.md` and `0002-table-pages.md`.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod format;
pub mod frames;
pub mod layout;
pub mod mmu;
pub mod plan;
pub mod quota;
pub mod region;
#[cfg(any(test, feature = "shadow"))]
pub mod shadow;
pub mod shootdown;
pub mod space;
pub mod table;
pub mod tags;
