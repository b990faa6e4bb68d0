//! What a guest finds as Linux is told of it: command line, initial file system, memory map, other processors.
//!
//! Concurrency: two processors.
#![no_std]
#![no_main]

use micro_guests::{Checks, apic, guest, memory, processors};

guest!(main);

/// The boot parameters, and fields of them.
const PARAMETERS: u64 = 0x7000;
const INITIAL: u64 = 0x218;
const LINE: u64 = 0x228;
const ENTRIES: u64 = 0x1E8;
const MAP: u64 = 0x2D0;

fn other() {}

fn main(checks: &mut Checks) {
    let field = |at: u64| u64::from(memory::read32(PARAMETERS + at));
    let line = field(LINE);
    let begins = b"one two".iter().enumerate().all(|(at, byte)| memory::read8(line + at as u64) == *byte);
    checks.that("the command line", begins);
    let (start, size) = (field(INITIAL), field(INITIAL + 4));
    checks.equal("size of the initial file system", size, 8);
    checks.equal("its contents", memory::read64(start), u64::from_le_bytes(*b"initial\n"));
    checks.equal("the first entry of the map", memory::read64(PARAMETERS + MAP), 0);
    let entries = field(ENTRIES) & 0xFF;
    let ends = (0..entries).map(|entry| PARAMETERS + MAP + 20 * entry).map(|at| {
        let kind = memory::read32(at + 16);
        if kind == 1 { memory::read64(at) + memory::read64(at + 8) } else { 0 }
    });
    checks.that("memory up to the initial file system", ends.max().is_some_and(|end| end >= start + size));
    apic::enable(true);
    processors::run(1, other);
    while !processors::was_started() {}
}
