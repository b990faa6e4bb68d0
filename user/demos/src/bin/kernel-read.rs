//! Reads the kernel's core-local page.
//!
//! The kernel reports #PF: nothing above the user range is for user level. Concurrency: none.
// UNSAFETY: no safe load goes to an address of the kernel.
#![expect(unsafe_code, reason = "a load from the kernel's memory")]
#![no_std]
#![no_main]

use core::arch::asm;

use rt::{Environment, ExitStatus};

rt::entry!(main);

const CORE_LOCAL_PAGE: u64 = 0xFFFF_FFFF_BFFF_F000;

fn main(_: &Environment) -> ExitStatus {
    demos::announce("kernel-read", "reading the kernel's core-local page");
    // SAFETY: loads into a register that is thrown away; no object of the language lies there.
    unsafe { asm!("mov {0}, [{0}]", inout(reg) CORE_LOCAL_PAGE => _, options(nostack, preserves_flags, readonly)) };
    demos::not_stopped("kernel-read")
}
