//! Control register 8 is the task priority of the local APIC: what is below it waits, on this machine only.
//!
//! Concurrency: one processor.
#![no_std]
#![no_main]

use micro_guests::apic::{self, register};
use micro_guests::interrupts::{self, Controller};
use micro_guests::{Checks, PROTECTION, cpu, guest};

guest!(main);

fn main(checks: &mut Checks) {
    apic::enable(true);
    interrupts::acknowledge(Controller::Apic);
    cpu::open();
    for round in 1..=10 {
        checks.that("the highest", cpu::set_priority(15).is_none());
        checks.equal("reads back", cpu::priority(), 15);
        checks.equal("is the register", apic::read(register::TPR), 0xF0);
        apic::write(register::SELF, 0x55);
        // Long enough for the host to need its interrupts.
        let start = cpu::time();
        while cpu::time() - start < 3_000_000 {
            core::hint::spin_loop();
        }
        checks.equal("waits", interrupts::count(0x55), round - 1);
        apic::write(register::TPR, 0x52);
        checks.equal("is the other", cpu::priority(), 5);
        checks.equal("of the same class", interrupts::count(0x55), round - 1);
        checks.that("lower", cpu::set_priority(4).is_none());
        checks.equal("comes", interrupts::count(0x55), round);
    }
    checks.equal("too high", cpu::set_priority(16).unwrap_or(0), PROTECTION);
    checks.that("none", cpu::set_priority(0).is_none());
    cpu::close();
}
