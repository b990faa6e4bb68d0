//! Jumps to the kernel's first page of code.
//!
//! The kernel reports #PF: nothing above the user range can be executed. Concurrency: none.
// UNSAFETY: no safe call goes to an address of the kernel.
#![expect(unsafe_code, reason = "a jump into the kernel")]
#![no_std]
#![no_main]

use core::arch::asm;

use rt::{Environment, ExitStatus};

rt::entry!(main);

const KERNEL_TEXT: u64 = 0xFFFF_FFFF_8100_1000;

fn main(_: &Environment) -> ExitStatus {
    demos::announce("kernel-entry", "jumping into the kernel");
    // SAFETY: the jump faults at its target.
    unsafe { asm!("call {}", in(reg) KERNEL_TEXT) };
    demos::not_stopped("kernel-entry")
}
