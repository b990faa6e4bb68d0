//! IN and OUT exit: sizes, what becomes of the rest of the register, and ports where nothing is.
//!
//! Concurrency: one processor.
#![no_std]
#![no_main]

use micro_guests::{Checks, guest, port};

guest!(main);

/// Scratch register of the serial port.
const SCRATCH: u16 = 0x3FF;
const NOTHING: u16 = 0x1234;

fn main(checks: &mut Checks) {
    for value in [0, 0x5A, 0xFF] {
        port::out8(SCRATCH, value);
        checks.equal("what was written", port::in8(SCRATCH), value);
    }
    port::out8(SCRATCH, 0x12);
    checks.equal("a byte leaves the rest", port::in8_wide(SCRATCH), !0xFF | 0x12);
    checks.equal("nothing, byte", port::in8(NOTHING), 0xFF);
    checks.equal("nothing, word", port::in16_wide(NOTHING), u64::MAX);
    checks.equal("nothing, 4 bytes", port::in32_wide(NOTHING), 0xFFFF_FFFF);
    port::out32(0xCF8, 0x8000_0000);
    checks.equal("4 bytes clear the upper half", port::in32_wide(0xCF8), 0x8000_0000);
    checks.that("a word of it", port::in16_wide(0xCFC) & !0xFFFF == !0xFFFF);
}
