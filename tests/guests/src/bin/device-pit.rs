//! The interval timer: counters that run down, what they tell of themselves, and channel 2's gate.
//!
//! Concurrency: one processor.
#![no_std]
#![no_main]

use micro_guests::{Checks, guest, port};

guest!(main);

fn latched(channel: u8) -> u16 {
    port::out8(0x43, channel << 6);
    let low = port::in8(0x40 + u16::from(channel));
    u16::from(low) | u16::from(port::in8(0x40 + u16::from(channel))) << 8
}

fn main(checks: &mut Checks) {
    // Channel 0, mode 2, 65536.
    port::out8(0x43, 0x34);
    port::out8(0x40, 0);
    port::out8(0x40, 0);
    port::out8(0x43, 0xE2);
    checks.equal("mode", port::in8(0x40) & 0x3F, 0x34);
    let first = latched(0);
    let mut last = first;
    while last == first {
        last = latched(0);
    }
    // Channel 2 once, with its gate off, then on.
    let gate = port::in8(0x61) & !3;
    port::out8(0x61, gate);
    port::out8(0x43, 0xB0);
    port::out8(0x42, 0);
    port::out8(0x42, 2);
    checks.equal("not there yet", port::in8(0x61) & 0x20, 0);
    port::out8(0x61, gate | 1);
    while port::in8(0x61) & 0x20 == 0 {}
    checks.that("it has run down", port::in8(0x61) & 0x20 != 0);
}
