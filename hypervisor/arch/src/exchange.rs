//! Registers that host and guest exchange by software, whatever the processor's virtualisation.
//!
//! Purpose: XCR0 and the breakpoint addresses.
//! Invariants: guest values are in the registers only while nothing depends on them: the host's DR7 enables nothing.
//! Concurrency: acts on the calling core.
//! Source: AMD64 manual volume 2, §11.5 and §13.1.
use core::arch::asm;
use x86::debugregs::{dr0, dr1, dr2, dr3};

/// XCR0.
///
/// # Safety
/// CR4 allows XSAVE.
pub unsafe fn xcr0() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the caller's promise; reads a register.
    unsafe { asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags)) };
    u64::from(high) << 32 | u64::from(low)
}

/// Sets XCR0.
///
/// # Safety
/// CR4 allows XSAVE, the processor takes the value, and vector registers are neither saved nor loaded until it is the
/// host's again.
pub unsafe fn set_xcr0(value: u64) {
    let (low, high) = (value as u32, (value >> 32) as u32);
    // SAFETY: the caller's promise.
    unsafe { asm!("xsetbv", in("ecx") 0, in("eax") low, in("edx") high, options(nomem, nostack, preserves_flags)) };
}

/// The four breakpoint addresses.
pub fn breakpoints() -> [u64; 4] {
    // SAFETY: reads registers.
    unsafe { [dr0(), dr1(), dr2(), dr3()] }.map(|address| address as u64)
}

/// Sets them. DR7 enables none of them in the host.
pub fn set_breakpoints([a, b, c, d]: [u64; 4]) {
    // SAFETY: without DR7 the registers have no effect.
    unsafe {
        asm!("mov dr0, {}", "mov dr1, {}", "mov dr2, {}", "mov dr3, {}",
            in(reg) a, in(reg) b, in(reg) c, in(reg) d, options(nomem, nostack, preserves_flags));
    }
}
