//! Memory of devices, and the program's own beyond its image.
//!
//! Invariants: nothing of the image is touched.
//! Concurrency: volatile accesses.

use core::arch::asm;

use crate::SCRATCH;

/// Whether an address may be accessed: the program's own memory, boot parameters, start-up code and command line, tables,
/// or no memory at all.
fn check(address: u64) {
    let low = (0x7000..0x9000).contains(&address)
        || (0x2_0000..0x2_1000).contains(&address)
        || (0xE_0000..0x10_0000).contains(&address);
    assert!(low || SCRATCH.contains(&address) || (SCRATCH.end..1 << 32).contains(&address), "{address:#x} is taken");
}

/// Panics unless all of it is the program's own.
pub fn own(address: u64, length: u64) {
    assert!(SCRATCH.contains(&address) && length <= SCRATCH.end - address, "{address:#x} is not ours");
}

macro_rules! accesses {
    ($($read:ident, $write:ident: $type:ty, $class:ident;)+) => {
        $(
            /// Reads.
            pub fn $read(address: u64) -> $type {
                check(address);
                // SAFETY: nothing of the program's is there; an access to a device changes nothing of it either.
                unsafe { core::ptr::with_exposed_provenance::<$type>(address as usize).read_volatile() }
            }

            /// Writes.
            pub fn $write(address: u64, value: $type) {
                check(address);
                // SAFETY: nothing of the program's is there; an access to a device changes nothing of it either.
                unsafe { core::ptr::with_exposed_provenance_mut::<$type>(address as usize).write_volatile(value) };
            }
        )+
    };
}
accesses! {
    read8, write8: u8, reg_byte;
    read16, write16: u16, reg;
    read32, write32: u32, reg;
    read64, write64: u64, reg;
}

/// `or dword ptr [address], bits`, as one instruction.
pub fn or32(address: u64, bits: u32) {
    check(address);
    // SAFETY: nothing of the program's is there; an access to a device changes nothing of it either.
    unsafe { asm!("or dword ptr [{}], {:e}", in(reg) address, in(reg) bits) };
}

/// `cmp dword ptr [address], value`: whether they are equal.
pub fn equals32(address: u64, value: u32) -> bool {
    check(address);
    let equal: u8;
    // SAFETY: nothing of the program's is there; an access to a device changes nothing of it either.
    unsafe { asm!("cmp dword ptr [{}], {:e}", "sete {}", in(reg) address, in(reg) value, out(reg_byte) equal) };
    equal != 0
}

/// Copies `count` times 4 bytes by REP MOVSD.
pub fn copy32(from: u64, to: u64, count: u64) {
    [from, to, to + 4 * count].into_iter().for_each(check);
    // SAFETY: nothing of the program's is there; an access to a device changes nothing of it either.
    unsafe { asm!("rep movsd", inout("rsi") from => _, inout("rdi") to => _, inout("rcx") count => _) };
}

/// Stores `value` `count` times by REP STOSD.
pub fn fill32(to: u64, value: u32, count: u64) {
    [to, to + 4 * count].into_iter().for_each(check);
    // SAFETY: nothing of the program's is there; an access to a device changes nothing of it either.
    unsafe { asm!("rep stosd", in("eax") value, inout("rdi") to => _, inout("rcx") count => _) };
}
