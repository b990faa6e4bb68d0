//! The local APIC in x2APIC mode: registers by number, commands in one write.
//!
//! Concurrency: one processor.
#![no_std]
#![no_main]

use micro_guests::apic::{self, register};
use micro_guests::interrupts::{self, Controller};
use micro_guests::{Checks, cpu, guest};

guest!(main);

fn main(checks: &mut Checks) {
    apic::enable(true);
    checks.that("mode", apic::is_x2());
    interrupts::acknowledge(Controller::Apic);
    checks.equal("number", apic::read(register::ID), 0);
    checks.that("the page is gone", cpu::read_msr(0x80E).is_none());
    checks.that("no way back but through off", !cpu::write_msr(0x1B, 0xFEE0_0900));
    checks.that("no such register", cpu::read_msr(0x8FF).is_none());
    checks.that("reserved bits", !cpu::write_msr(0x80B, 1));
    cpu::open();
    apic::write(register::SELF, 0x50);
    apic::send(0, 0x4051);
    // A shorthand: to all, among them oneself; to all others, of whom there are none.
    apic::send(0, 0x8_4052);
    apic::send(0, 0xC_4053);
    cpu::close();
    for (vector, times) in [(0x50, 1), (0x51, 1), (0x52, 1), (0x53, 0)] {
        checks.equal("times", interrupts::count(vector), times);
    }
}
