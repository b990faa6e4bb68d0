//! Disks with an image, here that of this program: one whose changes are kept, and one that is only read.
//!
//! Concurrency: one processor.
#![no_std]
#![no_main]

use micro_guests::virtio::Device;
use micro_guests::{Checks, guest, memory};

guest!(main);

const HEADER: u64 = 0x28_0000;
const STATUS: u64 = 0x28_1000;
const DATA: u64 = 0x29_0000;
/// Where the number of a kernel's image is, in sector 1.
const MAGIC: u64 = DATA + 2;
const READ_ONLY: u32 = 1 << 5;

fn request(disk: &mut Device, write: bool, sector: u64) -> u8 {
    memory::write64(HEADER, write.into());
    memory::write64(HEADER + 8, sector);
    disk.offer(0, &[(HEADER, 16, false), (DATA, 512, !write), (STATUS, 1, true)]);
    while disk.done(0).is_none() {}
    memory::read8(STATUS)
}

fn main(checks: &mut Checks) {
    let magic = u32::from_le_bytes(*b"HdrS");
    let Some(mut disk) = Device::find(2, 1) else { return checks.that("there is a disk", false) };
    checks.equal("it can be written", disk.features() & READ_ONLY, 0);
    checks.equal("read", request(&mut disk, false, 1), 0);
    checks.equal("the image", memory::read32(MAGIC), magic);
    memory::write32(MAGIC, 1);
    checks.equal("written", request(&mut disk, true, 1), 0);
    memory::write32(MAGIC, 2);
    checks.equal("read again", request(&mut disk, false, 1), 0);
    checks.equal("the change", memory::read32(MAGIC), 1);
    checks.equal("the sector before", request(&mut disk, false, 0), 0);
    checks.equal("is as it was", memory::read16(DATA + 0x1FE), 0xAA55);
    let Some(mut other) = Device::find_next(&disk, 1) else { return checks.that("there is another disk", false) };
    checks.equal("it cannot be written", other.features() & READ_ONLY, READ_ONLY);
    checks.equal("and fails", request(&mut other, true, 1), 1);
    checks.equal("read the other", request(&mut other, false, 1), 0);
    checks.equal("the image itself", memory::read32(MAGIC), magic);
}
