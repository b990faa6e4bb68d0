//! INS and OUTS exit: many elements at once, both ways, both directions, and memory that is not there.
//!
//! Concurrency: one processor.
#![no_std]
#![no_main]

use micro_guests::{Checks, guest, memory, port};

guest!(main);

const OWN: u64 = 0x28_0000;
/// Scratch register of the serial port.
const SCRATCH: u16 = 0x3FF;

fn main(checks: &mut Checks) {
    (0..16).for_each(|index| memory::write8(OWN + index, index as u8 + 1));
    checks.equal("bytes out", port::out_string8(SCRATCH, OWN, 16), OWN + 16);
    checks.equal("the last one", port::in8(SCRATCH), 16);
    memory::fill32(OWN, 0, 0x800);
    checks.equal("bytes in", port::in_string8(SCRATCH, OWN, 5000), OWN + 5000);
    checks.equal("all of them", memory::read8(OWN + 4999), 16);
    checks.equal("no further", memory::read8(OWN + 5000), 0);
    port::out32(0xCF8, 0x8000_0000);
    let bridge = port::in32(0xCFC);
    checks.equal("4 bytes each", port::in_string32(0xCFC, OWN, 8), OWN + 32);
    checks.equal("what is there", memory::read32(OWN + 28), bridge);
    checks.equal("none at all", port::in_string8(SCRATCH, OWN, 0), OWN);
}
