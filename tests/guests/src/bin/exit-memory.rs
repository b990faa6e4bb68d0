//! Accesses to memory that is none exit, and are decoded: loads, stores, operations, strings.
//!
//! Concurrency: one processor.
#![no_std]
#![no_main]

use micro_guests::apic;
use micro_guests::{Checks, guest, memory};

guest!(main);

/// Beyond the guest's memory; and the index register of the I/O APIC.
const NOTHING: u64 = 0x8000_0000;
const INDEX: u64 = 0xFEC0_0000;
const OWN: u64 = 0x28_0000;

fn main(checks: &mut Checks) {
    checks.equal("nothing, byte", memory::read8(NOTHING), 0xFF);
    checks.equal("nothing, word", memory::read16(NOTHING + 2), 0xFFFF);
    checks.equal("nothing, 4 bytes", memory::read32(NOTHING + 4), u32::MAX);
    checks.equal("nothing, 8 bytes", memory::read64(NOTHING + 8), u64::MAX);
    memory::write64(NOTHING, 5);
    memory::write8(NOTHING, 5);
    checks.equal("stores are lost", memory::read32(NOTHING), u32::MAX);
    memory::write32(INDEX, 0x10);
    memory::or32(INDEX, 1);
    checks.that("an operation, then a comparison", memory::equals32(INDEX, 0x11));
    checks.that("another comparison", !memory::equals32(INDEX, 0x10));
    checks.equal("a byte of a register", memory::read8(INDEX), 0x11);
    memory::fill32(NOTHING, 7, 20);
    memory::fill32(OWN, 0, 16);
    memory::copy32(NOTHING, OWN, 8);
    checks.equal("copied from nothing", memory::read64(OWN + 24), u64::MAX);
    checks.equal("no further", memory::read64(OWN + 32), 0);
    memory::write32(OWN, 0x10);
    memory::copy32(OWN, INDEX, 1);
    checks.equal("copied to a device", apic::io_read(0x10) & 1 << 16, 1 << 16);
}
