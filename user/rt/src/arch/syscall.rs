//! Entry to the kernel.
//!
//! Registers: rdi, rsi, rdx, rax, r8 in and out; rcx and r11 are overwritten; flags come back cleared but for IF; all
//! others, rsp among them, are preserved. The kernel never touches the caller's stack.
//! Concurrency: what the kernel reads and writes besides registers is the UTCB of the calling thread.
//! Source: classic interface, "Entry and register convention".

use core::arch::asm;

use abi::{Crd, Selector};

use crate::hypercall::{Registers, delegation};

/// Any hypercall.
///
/// # Safety
/// The call must not take away or change memory that the program refers to, nor start code that breaks its invariants:
/// that depends on its number and its arguments.
unsafe fn enter(registers: &mut Registers) {
    // SAFETY: the operands name every register that the kernel changes; memory is not declared untouched, because the
    // kernel reads and writes the UTCB. What the call itself does is the caller's duty.
    unsafe {
        asm!("syscall",
            inout("rdi") registers.rdi,
            inout("rsi") registers.rsi,
            inout("rdx") registers.rdx,
            inout("rax") registers.rax,
            inout("r8") registers.r8,
            out("rcx") _,
            out("r11") _,
            options(nostack));
    }
}

/// Delegates the items in the own UTCB; returns the register with the status.
pub(crate) fn delegate(source: Selector, window: Crd, destination: Selector) -> u64 {
    let mut registers = delegation(source, window, destination);
    // SAFETY: a delegation only adds: the kernel skips what is occupied at the destination and takes nothing from the
    // source. No object of the language lives in what appears.
    unsafe { enter(&mut registers) };
    registers.rdi
}
