//! Says that it is there and spins for ever: something to look at from outside.
//!
//! Concurrency: none.
#![no_std]
#![no_main]

use rt::{Environment, ExitStatus};

rt::entry!(main);

fn main(_: &Environment) -> ExitStatus {
    demos::announce("idle", "here to be looked at");
    loop {
        core::hint::spin_loop();
    }
}
