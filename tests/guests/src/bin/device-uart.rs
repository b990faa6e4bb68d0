//! The serial port: loop-back, its registers, and the interrupt of an empty transmitter through pin 4.
//!
//! Concurrency: one processor.
#![no_std]
#![no_main]

use micro_guests::interrupts::{self, Controller};
use micro_guests::{Checks, apic, cpu, guest, port};

guest!(main);

const BASE: u16 = 0x3F8;
const VECTOR: u8 = 0x49;

fn main(checks: &mut Checks) {
    apic::enable(true);
    interrupts::acknowledge(Controller::Apic);
    port::out8(BASE + 3, 0x83);
    port::out8(BASE, 1);
    checks.equal("divisor", port::in8(BASE), 1);
    port::out8(BASE + 3, 3);
    checks.equal("ready to send", port::in8(BASE + 5) & 0x60, 0x60);
    port::out8(BASE + 4, 0x1E);
    port::out8(BASE, 0x5A);
    checks.equal("it has come back", port::in8(BASE + 5) & 1, 1);
    checks.equal("the same", port::in8(BASE), 0x5A);
    checks.equal("modem lines", port::in8(BASE + 6) & 0xF0, 0xD0);
    port::out8(BASE + 4, 8);
    apic::route(4, VECTOR.into());
    cpu::open();
    port::out8(BASE + 1, 2);
    checks.equal("empty", interrupts::count(VECTOR), 1);
    checks.equal("which it says", port::in8(BASE + 2) & 0xF, 2);
    checks.equal("once", port::in8(BASE + 2) & 0xF, 1);
    port::out8(BASE + 1, 0);
    port::out8(BASE + 1, 2);
    cpu::close();
    checks.equal("again when it is asked for again", interrupts::count(VECTOR), 2);
}
