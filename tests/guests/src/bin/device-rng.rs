//! A source of entropy: it fills what it is given, with numbers that differ.
//!
//! Concurrency: one processor.
#![no_std]
#![no_main]

use micro_guests::virtio::Device;
use micro_guests::{Checks, guest, memory};

guest!(main);

const NUMBERS: u64 = 0x28_0000;

fn main(checks: &mut Checks) {
    let Some(mut source) = Device::find(4, 1) else { return checks.that("there is a source", false) };
    memory::fill32(NUMBERS, 0, 64);
    source.offer(0, &[(NUMBERS, 20, true), (NUMBERS + 32, 12, true)]);
    checks.equal("length", source.done(0).unwrap_or(0), 32);
    let [first, second, third] = [0, 8, 32].map(|at| memory::read64(NUMBERS + at));
    checks.that("numbers", first != 0 && first != second && second != third);
    checks.equal("no further", memory::read64(NUMBERS + 48), 0);
}
