//! A reset by each of its ways: the machine starts again as at power-on, with what has a battery or is on a disk.
//!
//! Concurrency: two processors, the second of which never stops.
#![no_std]
#![no_main]

use micro_guests::virtio::Device;
use micro_guests::{Checks, MASKED, apic, clock, cpu, guest, memory, pci, port, processors, table};

guest!(main);

const OWN: u64 = 0x28_0000;

fn other() {
    loop {
        core::hint::spin_loop();
    }
}

fn main(checks: &mut Checks) {
    let lives = clock::lives();
    checks.that("in xAPIC mode", !apic::is_x2());
    checks.equal("memory", memory::read64(OWN), 0);
    checks.equal("a pin of the I/O APIC", apic::io_read(0x12) & MASKED, MASKED);
    checks.equal("a mask of the 8259A", port::in8(0x21), 0xFF);
    checks.equal("a register of the serial port", port::in8(0x3FF), 0);
    checks.equal("events", port::in16(0x602), 0);
    checks.equal("a register of the bridge", port::in32(0xCF8), 0);
    let Some(source) = pci::find(0x1AF4, 0x1044) else { return checks.that("there is a source of entropy", false) };
    checks.equal("a device's command", pci::read(source, 4) & 7, 0);
    checks.that("no start-up before", !processors::was_started());
    memory::write64(OWN, 1);
    apic::route(1, 0x55);
    port::out8(0x21, 0xFE);
    port::out8(0x3FF, 0x12);
    port::out16(0x602, 1);
    let Some(source) = Device::find(4, 1) else { return checks.that("it is gone", false) };
    checks.equal("it is ready", source.status(), 15);
    apic::enable(true);
    processors::run(1, other);
    while !processors::was_started() {}
    if checks.failed() {
        return;
    }
    match lives {
        1 => port::out8(0xCF9, 6),
        2 => port::out8(0x64, 0xFE),
        3 => match table::reset_register() {
            Some((port, value)) => port::out8(port, value),
            None => return checks.that("the table of power management has a register", false),
        },
        4 => cpu::fault_thrice(),
        _ => return checks.equal("lives", lives, 5),
    }
    loop {
        cpu::halt();
    }
}
