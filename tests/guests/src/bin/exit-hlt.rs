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

fn main(checks: &mut Checks) {
    apic::enable(true);
    interrupts::acknowledge(Controller::Apic);
    apic::write(register::DIVIDE, 0xB);
    apic::write(register::TIMER, VECTOR.into());
    for round in 1..=10 {
        let before = cpu::time();
        apic::write(register::INITIAL, 100_000);
        while interrupts::count(VECTOR) < round {
            cpu::wait();
        }
        checks.that("time has passed", cpu::time() > before);
    }
    checks.equal("once for each", interrupts::count(VECTOR), 10);
}
