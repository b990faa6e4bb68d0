//! Capability spaces and the rules of delegation.
//!
//! Purpose: what a delegation moves, and the port space's bitmap. The mapping tree and the object space join them.
//! Invariants: a receiver never gets more than the sender has and the window allows.
//! Concurrency: pure functions; who calls them holds the space's lock.
//! Source: interface §3; lectures B:354, C:189-219 with trap T1.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod port;
pub mod tree;
pub mod window;
pub mod word;
