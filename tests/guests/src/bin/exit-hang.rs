//! A loop with interrupts off: the watchdog finds it, and the machine starts again.
//!
//! Concurrency: one processor.
#![no_std]
#![no_main]

use micro_guests::{Checks, clock, cpu, guest};

guest!(main);

fn main(checks: &mut Checks) {
    let lives = clock::lives();
    cpu::close();
    if lives < 2 {
        loop {
            core::hint::spin_loop();
        }
    }
    // Once more, perhaps, if others kept it from running.
    checks.that("it lives again", lives <= 9);
}
