//! A disk: its size, what is written is read back, and requests beyond its end.
//!
//! Concurrency: one processor.
#![no_std]
#![no_main]

use micro_guests::virtio::Device;
use micro_guests::{Checks, guest, memory};

guest!(main);

const HEADER: u64 = 0x28_0000;
const DATA: u64 = 0x29_0000;
const STATUS: u64 = 0x28_1000;

/// A request for `length` bytes at `sector`; its status.
fn request(disk: &mut Device, kind: u32, sector: u64, length: u32) -> u8 {
    memory::write64(HEADER, kind.into());
    memory::write64(HEADER + 8, sector);
    memory::write8(STATUS, 0xEE);
    disk.offer(0, &[(HEADER, 16, false), (DATA, length, kind == 0), (STATUS, 1, true)]);
    while disk.done(0).is_none() {}
    memory::read8(STATUS)
}

fn main(checks: &mut Checks) {
    let Some(mut disk) = Device::find(2, 1) else { return checks.that("there is a disk", false) };
    let sectors = u64::from(disk.config(0));
    checks.equal("sectors", sectors, 2048);
    memory::fill32(DATA, 0x5A5A_1234, 1024);
    checks.equal("written", request(&mut disk, 1, 5, 4096), 0);
    memory::fill32(DATA, 0, 1024);
    checks.equal("read", request(&mut disk, 0, 6, 3584), 0);
    checks.equal("the same", memory::read32(DATA + 3580), 0x5A5A_1234);
    checks.equal("no further", memory::read32(DATA + 3584), 0);
    checks.equal("what was not written", request(&mut disk, 0, 100, 512), 0);
    checks.equal("is zero", memory::read32(DATA), 0);
    checks.equal("beyond the end", request(&mut disk, 0, sectors, 512), 1);
    checks.equal("half a sector", request(&mut disk, 0, 0, 100), 1);
    checks.equal("no such request", request(&mut disk, 77, 0, 512), 2);
    // A ring in the chain: the device needs a reset, and works again after it.
    disk.offer(0, &[(HEADER, 16, false)]);
    memory::write64(disk.ring(0) + 8, 16 | 1 << 32);
    disk.offer(0, &[]);
    checks.that("it is offended", disk.status() & 0x40 != 0);
    disk.reset();
    let Some(mut disk) = Device::find(2, 1) else { return checks.that("it is gone", false) };
    checks.equal("after a reset", request(&mut disk, 0, 5, 512), 0);
    checks.equal("all is there", memory::read32(DATA), 0x5A5A_1234);
}
