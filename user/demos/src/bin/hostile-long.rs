//! A domain that is hostile to the kernel, for a long while: see [`demos::hostile`].
//!
//! Ends with success if every check holds.
//! Concurrency: see there.
#![no_std]
#![no_main]

use demos::hostile::{self, Plan};
use rt::{Environment, ExitStatus};

rt::entry!(main);

fn main(environment: &Environment) -> ExitStatus {
    hostile::run(environment, Plan { seed: 1000, lives: 20, steps: 100_000 })
}
