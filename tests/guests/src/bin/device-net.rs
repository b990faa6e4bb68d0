//! A network: two of these machines send each other frames through the switch.
//!
//! Concurrency: one processor.
#![no_std]
#![no_main]

use micro_guests::virtio::Device;
use micro_guests::{Checks, cpu, guest, memory};

guest!(main);

const SENT: u64 = 0x28_0000;
const RECEIVED: u64 = 0x29_0000;
const HEADER: u64 = 12;
/// What is in the frames, behind addresses and type.
const TEXT: u32 = 0x4755_4553;

fn main(checks: &mut Checks) {
    let Some(mut net) = Device::find(1, 2) else { return checks.that("there is a network", false) };
    checks.equal("its address", net.config(0), 2);
    let own = net.config(4) as u16;
    memory::fill32(SENT, 0, 32);
    memory::fill32(SENT + HEADER, u32::MAX, 1);
    memory::write16(SENT + HEADER + 4, 0xFFFF);
    memory::write32(SENT + HEADER + 6, 2);
    memory::write16(SENT + HEADER + 10, own);
    memory::write16(SENT + HEADER + 12, 0xB588);
    memory::write32(SENT + HEADER + 14, TEXT);
    net.offer(0, &[(RECEIVED, 2048, true)]);
    let (mut heard, mut after) = (0, 0);
    // Until the other one has been heard, and then for a while, so that it hears this one.
    while after < 20 {
        net.offer(1, &[(SENT, 76, false)]);
        while net.done(1).is_none() {}
        let start = cpu::time();
        while cpu::time() - start < 2_000_000 {}
        if let Some(length) = net.done(0) {
            heard += u64::from(memory::read32(RECEIVED + HEADER + 14) == TEXT);
            checks.equal("length", length, 76);
            checks.that("from the other", memory::read16(RECEIVED + HEADER + 10) != own);
            net.offer(0, &[(RECEIVED, 2048, true)]);
        }
        after += u64::from(heard > 0);
    }
    checks.that("frames", heard > 0);
}
