//! Writes to the information page.
//!
//! The kernel reports #PF: the page is mapped for reading only. Concurrency: none.
// UNSAFETY: no safe store goes to the information page.
#![expect(unsafe_code, reason = "a store into the information page")]
#![no_std]
#![no_main]

use core::arch::asm;

use rt::{Environment, ExitStatus};

rt::entry!(main);

fn main(environment: &Environment) -> ExitStatus {
    demos::announce("hip-write", "writing to the information page");
    // SAFETY: the store changes no bit of the page, even if it is not stopped: `or` with 0.
    unsafe { asm!("or byte ptr [{}], 0", in(reg) environment.hip_address(), options(nostack)) };
    demos::not_stopped("hip-write")
}
