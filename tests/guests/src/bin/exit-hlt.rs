//! HLT exits: the processor waits without running until an interrupt comes, its own timer's here.
//!
//! Concurrency: one processor.
#![no_std]
#![no_main]

use micro_guests::apic::{self, register};
use micro_guests::interrupts::{self, Controller};
use micro_guests::{Checks, cpu, guest};

guest!(main);

const VECTOR: u8 = 0x41;
/// Each later than the one before, so that some come when interrupts are let in and HLT is next.
const ROUNDS: u64 = 200;

fn main(checks: &mut Checks) {
    apic::enable(true);
    interrupts::acknowledge(Controller::Apic);
    apic::write(register::DIVIDE, 0xB);
    apic::write(register::TIMER, VECTOR.into());
    for round in 1..=ROUNDS {
        let before = cpu::time();
        apic::write(register::INITIAL, 500 * round as u32);
        while interrupts::count(VECTOR) < round {
            cpu::wait();
        }
        checks.that("time has passed", cpu::time() > before);
    }
    checks.equal("once for each", interrupts::count(VECTOR), ROUNDS);
}
