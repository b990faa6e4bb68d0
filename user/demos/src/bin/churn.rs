//! Objects of all types come and go on all cores, for a short while: see [`demos::churn`].
//!
//! Ends with success if every check holds.
//! Concurrency: see there.
#![no_std]
#![no_main]

use rt::{Environment, ExitStatus};

rt::entry!(main);

fn main(environment: &Environment) -> ExitStatus {
    // With more cores than the host has, waiting for all of them takes long under emulation.
    let cycles = if environment.hip().enabled_cpus() == 1 { 5_000 } else { 800 };
    demos::churn::run(environment, cycles)
}
