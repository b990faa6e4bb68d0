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

/// Executes an undefined instruction: the kernel reports the fault and the program is over.
pub fn undefined() -> ! {
    // SAFETY: the instruction raises an exception; control never comes back.
    unsafe { asm!("ud2", options(noreturn, nomem, nostack)) }
}
