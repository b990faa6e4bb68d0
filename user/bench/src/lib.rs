//! The benchmark program's pure parts: what is asked for, figures from batches, lines of output.
//!
//! The program measures one operation after the other and prints a line of JSON for each; `cargo xtask bench` reads them.
//! Principles:
//! 1. The figure is that of a loop around the operation, with nothing subtracted: what a program pays.
//! 2. An operation that the kernel refuses is a line with the reason, never left out.
//! 3. Nothing is believed about the clock: a loop of known length is measured first.
//!
//! Concurrency: plain values.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod figures;
pub mod firmware;
pub mod line;
pub mod request;
