//! The 8259A pair: set-up, the interval timer as an interrupt of it, masks.
//!
//! Concurrency: one processor.
#![no_std]
#![no_main]

use micro_guests::apic::{self, register};
use micro_guests::interrupts::{self, Controller};
use micro_guests::{Checks, MASKED, cpu, guest, port};

guest!(main);

const VECTOR: u8 = 0x70;

fn main(checks: &mut Checks) {
    // What the 8259A says comes in through local interrupt 0, from the start: as firmware leaves it.
    interrupts::acknowledge(Controller::Pic);
    for (port, value) in
        [(0x20, 0x11), (0x21, VECTOR), (0x21, 4), (0x21, 1), (0xA0, 0x11), (0xA1, 0x78), (0xA1, 2), (0xA1, 1)]
    {
        port::out8(port, value);
    }
    port::out8(0x21, 0xFE);
    port::out8(0xA1, 0xFF);
    checks.equal("mask", port::in8(0x21), 0xFE);
    checks.equal("mask of the second", port::in8(0xA1), 0xFF);
    port::out8(0x43, 0x34);
    port::out8(0x40, 0);
    port::out8(0x40, 0x10);
    while interrupts::count(VECTOR) < 5 {
        cpu::wait();
    }
    port::out8(0x20, 0xB);
    checks.equal("nothing is served", port::in8(0x20), 0);
    apic::enable(true);
    apic::write(register::LINT0, MASKED | 7 << 8);
    cpu::open();
    cpu::close();
    let before = interrupts::count(VECTOR);
    let start = cpu::time();
    while cpu::time() - start < 20_000_000 {
        cpu::open();
        cpu::close();
    }
    checks.equal("cut off", interrupts::count(VECTOR), before);
    checks.equal("no other", interrupts::count(VECTOR + 1), 0);
}
