//! The root partition's pure parts: what it computes, without the machine.
//!
//! The root partition takes all memory, ports and interrupts that the kernel does not keep and hands them out by policy,
//! which the boot configuration says.
//! Concurrency: plain values.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod date;
pub mod frames;
pub mod machine;
