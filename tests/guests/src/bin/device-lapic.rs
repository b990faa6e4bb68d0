//! The local APIC's page: identity, priorities, requests and service.
//!
//! Concurrency: one processor.
#![no_std]
#![no_main]

use micro_guests::apic::{self, register};
use micro_guests::{Checks, cpu, guest, interrupts};

guest!(main);

fn main(checks: &mut Checks) {
    apic::enable(false);
    checks.that("its page", !apic::is_x2());
    checks.equal("number", apic::read(register::ID), 0);
    checks.equal("version", apic::read(register::VERSION) & 0xF0, 0x10);
    apic::write(register::TPR, 0x60);
    checks.equal("priority", apic::read(register::PPR), 0x60);
    // To oneself, of lower and of higher priority.
    apic::send(0, 0x4055);
    apic::send(0, 0x4077);
    checks.equal("requested", apic::read(register::IRR + 2) & 1 << 21, 1 << 21);
    cpu::open();
    checks.equal("the higher one", interrupts::count(0x77), 1);
    checks.equal("the lower one waits", interrupts::count(0x55), 0);
    checks.equal("served", apic::read(register::ISR + 3), 1 << 23);
    apic::write(register::TPR, 0);
    checks.equal("it is still served", interrupts::count(0x55), 0);
    apic::end_of_interrupt();
    checks.equal("now", interrupts::count(0x55), 1);
    apic::end_of_interrupt();
    checks.equal("nothing served", apic::read(register::PPR), 0);
    cpu::close();
}
