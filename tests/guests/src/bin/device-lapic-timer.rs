//! The local APIC's timer: once, again and again, and at a time.
//!
//! Concurrency: one processor.
#![no_std]
#![no_main]

use micro_guests::apic::{self, register};
use micro_guests::interrupts::{self, Controller};
use micro_guests::{Checks, MASKED, cpu, guest};

guest!(main);

const VECTOR: u8 = 0x44;
const PERIODIC: u32 = 1 << 17;
const DEADLINE: u32 = 2 << 17;

fn main(checks: &mut Checks) {
    apic::enable(true);
    interrupts::acknowledge(Controller::Apic);
    apic::write(register::DIVIDE, 0xB);
    let vector = u32::from(VECTOR);
    // Masked: it runs, and nothing comes.
    apic::write(register::TIMER, vector | MASKED);
    apic::write(register::INITIAL, 1000);
    while apic::read(register::CURRENT) != 0 {}
    cpu::open();
    checks.equal("masked", interrupts::count(VECTOR), 0);
    cpu::close();
    apic::write(register::TIMER, vector);
    apic::write(register::INITIAL, 10_000);
    while interrupts::count(VECTOR) < 1 {
        cpu::wait();
    }
    checks.equal("it stands", apic::read(register::CURRENT), 0);
    apic::write(register::TIMER, vector | PERIODIC);
    apic::write(register::INITIAL, 1_000_000);
    while interrupts::count(VECTOR) < 5 {
        cpu::wait();
    }
    apic::write(register::INITIAL, 0);
    // One more may have come in since.
    cpu::open();
    cpu::close();
    let ticks = interrupts::count(VECTOR);
    apic::write(register::TIMER, vector | DEADLINE);
    let due = cpu::time() + 3_000_000;
    checks.that("a deadline", cpu::write_msr(0x6E0, due));
    while interrupts::count(VECTOR) == ticks {
        cpu::wait();
    }
    checks.that("not before", cpu::time() >= due);
    checks.equal("it is over", cpu::read_msr(0x6E0).unwrap_or(1), 0);
}
