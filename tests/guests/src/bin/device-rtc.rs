//! The clock and its memory: a date, bytes that are kept, and the end of a period.
//!
//! Concurrency: one processor.
#![no_std]
#![no_main]

use micro_guests::{Checks, guest, port};

guest!(main);

fn read(index: u8) -> u8 {
    port::out8(0x70, index);
    port::in8(0x71)
}

fn main(checks: &mut Checks) {
    for (index, value) in [(0x40, 0x12), (0x7F, 0x34)] {
        port::out8(0x70, index);
        port::out8(0x71, value);
        checks.equal("kept", read(index), value);
    }
    checks.equal("power was always there", read(0xD), 0x80);
    checks.equal("24 hours, decimal digits", read(0xB) & 0x06, 2);
    checks.equal("century", read(0x32), 0x20);
    checks.that("month", (1..=0x12).contains(&read(8)));
    checks.that("day", (1..=0x31).contains(&read(7)));
    // The flag of a period (1024 in a second) rises though nobody wants an interrupt, and reading takes it away.
    checks.equal("rate", read(0xA) & 0x7F, 0x26);
    for _ in 0..3 {
        while read(0xC) & 0x40 == 0 {}
    }
    checks.equal("nobody wants it", read(0xC) & 0x80, 0);
}
