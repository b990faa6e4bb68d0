//! A console: what is sent is taken, and nothing is typed.
//!
//! Concurrency: one processor.
#![no_std]
#![no_main]

use micro_guests::virtio::Device;
use micro_guests::{Checks, guest, memory};

guest!(main);

const TEXT: u64 = 0x28_0000;

fn main(checks: &mut Checks) {
    let Some(mut console) = Device::find(3, 2) else { return checks.that("there is a console", false) };
    for (index, byte) in (0..).zip(*b"device-console: a line\n") {
        memory::write8(TEXT + index, byte);
    }
    console.offer(0, &[(0x28_1000, 16, true)]);
    console.offer(1, &[(TEXT, 16, false), (TEXT + 16, 7, false)]);
    checks.that("taken", console.done(1).is_some());
    checks.that("nothing is typed", console.done(0).is_none());
}
