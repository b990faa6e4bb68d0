//! A domain that is hostile to the kernel, for a short while: see [`demos::hostile`].
//!
//! Ends with success if every check holds.
//! Concurrency: see there.
#![no_std]
#![no_main]

use demos::hostile::{self, Plan};
use rt::{Environment, ExitStatus};

rt::entry!(main);

fn main(environment: &Environment) -> ExitStatus {
    hostile::run(environment, Plan { seed: 1, lives: 2, steps: 30_000 })
}
