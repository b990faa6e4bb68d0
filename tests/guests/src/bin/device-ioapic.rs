//! The I/O APIC: its registers, and the interval timer's line through pin 2.
//!
//! Concurrency: one processor.
#![no_std]
#![no_main]

use micro_guests::interrupts::{self, Controller};
use micro_guests::{Checks, MASKED, apic, cpu, guest, port};

guest!(main);

const PIN: u32 = 2;
const VECTOR: u8 = 0x48;

fn main(checks: &mut Checks) {
    apic::enable(true);
    interrupts::acknowledge(Controller::Apic);
    checks.equal("pins", apic::io_read(1) >> 16 & 0xFF, 23);
    for pin in 0..24 {
        checks.equal("masked at first", apic::io_read(0x10 + 2 * pin) & MASKED, MASKED);
    }
    port::out8(0x43, 0x34);
    port::out8(0x40, 0);
    port::out8(0x40, 0x10);
    apic::route(PIN, VECTOR.into());
    while interrupts::count(VECTOR) < 3 {
        cpu::wait();
    }
    apic::route(PIN, MASKED | u32::from(VECTOR));
    cpu::open();
    cpu::close();
    let before = interrupts::count(VECTOR);
    let start = cpu::time();
    while cpu::time() - start < 20_000_000 {
        cpu::open();
        cpu::close();
    }
    checks.equal("masked again", interrupts::count(VECTOR), before);
}
