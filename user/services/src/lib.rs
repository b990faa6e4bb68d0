//! Messages of the services here.
//!
//! Concurrency: plain values.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod peer;
