//! Configuration space: the host bridge, by ports and by memory, and where nothing is.
//!
//! Concurrency: one processor.
#![no_std]
#![no_main]

use micro_guests::{Checks, guest, memory, pci, port};

guest!(main);

const WINDOW: u64 = 0xE000_0000;

fn main(checks: &mut Checks) {
    checks.equal("the bridge", pci::read(0, 8) >> 16, 0x600);
    for device in 0..32 {
        let place = WINDOW + (u64::from(device) << 15);
        checks.equal("two ways, one place", pci::read(device, 0), memory::read32(place));
        checks.equal("one function each", memory::read32(place + 0x1000), u32::MAX);
    }
    checks.equal("nothing is there", pci::read(31, 0), u32::MAX);
    pci::write(31, 4, 7);
    port::out32(0xCF8, 0x8001_0000);
    checks.equal("one bus", port::in32(0xCFC), u32::MAX);
    port::out32(0xCF8, 0);
    checks.equal("not addressed", port::in32(0xCFC), u32::MAX);
    pci::write(0, 0, 0x1234);
    checks.that("an identity stays", pci::read(0, 0) != 0x1234);
}
