//! An interrupt that comes while they are off is delivered as soon as they are on.
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
    interrupts::acknowledge(Controller::Apic);
    for round in 1..=50 {
        cpu::close();
        // Two that wait: the higher first, the other one behind it.
        apic::write(register::SELF, 0x55);
        apic::write(register::SELF, 0x66);
        checks.equal("not yet", interrupts::count(0x55) + interrupts::count(0x66), 2 * (round - 1));
        cpu::open();
        checks.equal("now", interrupts::count(0x55), round);
        checks.equal("and this", interrupts::count(0x66), round);
    }
    cpu::close();
}
