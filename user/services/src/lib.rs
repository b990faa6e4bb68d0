//! Messages of the services here, which their clients and their handlers share.
//!
//! The programs are in `bin`; the root partition starts them as its boot configuration says.
//! Invariants: a service's module has its messages and its name, nothing else.
//! Concurrency: plain values.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod counter;
pub mod peer;
pub mod switch;
