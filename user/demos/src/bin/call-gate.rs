//! Calls through a gate of the local descriptor table, which the processor would take from address 0 after a reset.
//!
//! The kernel reports #GP with the selector: there is no local descriptor table. Concurrency: none.
// UNSAFETY: a far call is no part of the language.
#![expect(unsafe_code, reason = "a far call")]
#![no_std]
#![no_main]

use core::arch::asm;

use rt::{Environment, ExitStatus};

rt::entry!(main);

/// Offset and selector of the call: entry 1 of the local table, privilege 3.
#[repr(C, packed)]
struct Target(u32, u16);

fn main(_: &Environment) -> ExitStatus {
    demos::announce("call-gate", "calling through the local descriptor table");
    let target = Target(0, 0x0F);
    // SAFETY: the call faults; if it did not, what it reaches would be the kernel's defect to show.
    unsafe { asm!("call fword ptr [{}]", in(reg) &raw const target) };
    demos::not_stopped("call-gate")
}
