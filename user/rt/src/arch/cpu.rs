//! Instructions without memory operands.
//!
//! Concurrency: none of them touches shared state.
//! Source: AMD64 manual volume 3.

use core::arch::asm;

/// The selector in CS; its low two bits are the privilege level.
#[must_use]
pub fn code_segment() -> u16 {
    let selector: u16;
    // SAFETY: copies a segment selector into a register, nothing else.
    unsafe { asm!("mov {:x}, cs", out(reg) selector, options(nomem, nostack, preserves_flags)) };
    selector
}

/// The time-stamp counter, in ticks.
#[must_use]
pub fn time_stamp() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a counter.
    unsafe { asm!("rdtsc", out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags)) };
    u64::from(high) << 32 | u64::from(low)
}

/// What CPUID says: eax, ebx, ecx, edx.
#[must_use]
pub fn identification(leaf: u32, subleaf: u32) -> [u32; 4] {
    let answer = core::arch::x86_64::__cpuid_count(leaf, subleaf);
    [answer.eax, answer.ebx, answer.ecx, answer.edx]
}

/// A random number of the processor's; `None` if it makes none, or has none now.
#[must_use]
pub fn random() -> Option<u64> {
    const RDRAND: u32 = 1 << 30;
    let [_, _, features, _] = identification(1, 0);
    if features & RDRAND == 0 {
        return None;
    }
    let (number, there): (u64, u8);
    // SAFETY: the instruction exists; it changes a register and the flags.
    unsafe { asm!("rdrand {}", "setc {}", out(reg) number, out(reg_byte) there, options(nomem, nostack)) };
    (there != 0).then_some(number)
}

/// Executes an undefined instruction: the kernel reports the fault and the program is over.
pub fn undefined() -> ! {
    // SAFETY: the instruction raises an exception; control never comes back.
    unsafe { asm!("ud2", options(noreturn, nomem, nostack)) }
}
