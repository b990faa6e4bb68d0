//! 10_000 revocations while others read, see [`demos::shootdown::hunt`].
//!
//! Ends with success if nobody read what was taken.
//! Concurrency: see there.
#![no_std]
#![no_main]

use rt::{Environment, ExitStatus};

rt::entry!(main);

fn main(environment: &Environment) -> ExitStatus {
    demos::shootdown::hunt::run(environment, 10_000, false)
}
