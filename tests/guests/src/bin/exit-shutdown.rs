//! Three faults at once: the monitor says so in words, and starts the machine again, which this program counts.
//!
//! Concurrency: one processor.
#![no_std]
#![no_main]

use micro_guests::{Checks, clock, cpu, guest};

guest!(main);

fn main(checks: &mut Checks) {
    let lives = clock::lives();
    if lives < 3 {
        cpu::fault_thrice();
    }
    checks.equal("lives", lives, 3);
}
