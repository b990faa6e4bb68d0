//! Power management: the timer runs, its registers take what they should, and the guest switches itself off.
//!
//! Concurrency: one processor.
#![no_std]
#![no_main]

use micro_guests::{Checks, guest, port};

guest!(main);

const EVENTS: u16 = 0x600;
const CONTROL: u16 = 0x604;
const TIMER: u16 = 0x608;

fn main(checks: &mut Checks) {
    let first = port::in32(TIMER);
    while port::in32(TIMER) == first {}
    checks.equal("ACPI mode", port::in16(CONTROL) & 1, 1);
    port::out16(EVENTS + 2, 0x101);
    checks.equal("what is wanted", port::in16(EVENTS + 2), 0x101);
    checks.equal("both at once", port::in32(EVENTS) >> 16, 0x101);
    checks.equal("the debug port", port::in8(0xE9), 0xE9);
    // A sleep of another kind is none.
    port::out16(CONTROL, 1 << 13 | 3 << 10);
    port::out16(CONTROL, 1 << 13 | 5 << 10);
    checks.that("it is off", false);
}
