//! Who is interrupted by a revocation: the acceptance matrix on the running system, see [`demos::shootdown`].
//!
//! Ends with success if every check holds.
//! Concurrency: see there.
#![no_std]
#![no_main]

use rt::{Environment, ExitStatus};

rt::entry!(main);

fn main(environment: &Environment) -> ExitStatus {
    demos::shootdown::run(environment)
}
