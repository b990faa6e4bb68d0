//! Guests of a few instructions: what they have in common.
//!
//! Each program in `src/bin` tries one exit or one device of the virtual machine, in 64-bit mode, counts what is not as it
//! should be, says it through port 0xE9, and ends the machine through port 0xF4: 0 for success. It starts as a Linux kernel
//! does at its 64-bit entry point, with the first 4 GiB mapped to themselves. `cargo xtask run --guest-kernel FILE` runs one,
//! `cargo xtask test vm` all of them on both kinds of processor.
//! Invariants: memory from [`SCRATCH`] on belongs to the program; what lies below is code and tables.
//! Concurrency: one processor, unless the program starts others.
//! Source: Linux, Documentation/arch/x86/boot; Intel SDM and AMD64 manual.
#![cfg_attr(target_os = "none", no_std)]
// UNSAFETY: bare machine: ports, registers, device memory, entry points in assembly.

#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "instructions and memory of the bare machine")]
mod bare;
#[cfg(target_os = "none")]
pub use bare::*;

/// First address that belongs to the program, and the end of its memory.
pub const SCRATCH: core::ops::Range<u64> = 0x20_0000..0x40_0000;
/// Bit of a local vector table entry, or of a pin: masked.
pub const MASKED: u32 = 1 << 16;
/// Exceptions.
pub const UNDEFINED: u8 = 6;
/// General protection.
pub const PROTECTION: u8 = 13;

/// Makes `$main`, a `fn(&mut Checks)`, what the guest does.
#[macro_export]
macro_rules! guest {
    ($main:path) => {
        #[cfg(target_os = "none")]
        // SAFETY: the library declares the symbol with this type, and nobody else defines it.
        #[expect(unsafe_code, reason = "the library finds the program by this symbol")]
        #[unsafe(no_mangle)]
        static MICRO_GUEST: $crate::Guest = $crate::Guest { name: env!("CARGO_BIN_NAME"), main: $main };
    };
}
