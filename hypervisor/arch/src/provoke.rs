//! Instructions that fault, for the kernel's self-tests.
//!
//! Purpose: see `provoke.rs` of the kernel binary, which alone uses this.
//! Invariants: each function faults.
//! Concurrency: the calling core.
//! Source: AMD64 manual volume 2, §8.2.
use core::arch::asm;

/// Pushes to an unmapped stack: #PF, which cannot be pushed either: #DF.
pub fn without_stack() {
    // SAFETY: none; the double fault does not return.
    unsafe { asm!("mov rsp, 0x1000", "push rax", options(noreturn)) }
}

/// Executes an undefined instruction: #UD.
pub fn undefined() {
    // SAFETY: none; the fault does not return.
    unsafe { asm!("ud2", options(noreturn)) }
}

/// Calls `address`: #PF if it is not executable.
pub fn jump(address: u64) {
    // SAFETY: none; the fault does not return.
    unsafe { asm!("call {}", "ud2", in(reg) address, options(noreturn)) }
}
