//! The interface that both rings share: numbers, layouts and decoders, nothing that does anything.
//!
//! Invariants: every layout is pinned by size and offset assertions; decoding never fails silently.
//! Concurrency: plain values.
//! Source: the classic NOVA x86-64 interface, API version 10.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod address;

pub use address::{PhysAddr, VirtAddr};
