//! Objects of all types come and go on all cores, for a short while: see [`demos::churn`].
//!
//! Ends with success if every check holds.
//! Concurrency: see there.
#![no_std]
#![no_main]

use rt::{Environment, ExitStatus};

rt::entry!(main);

fn main(environment: &Environment) -> ExitStatus {
    demos::churn::run(environment, 5_000)
}
