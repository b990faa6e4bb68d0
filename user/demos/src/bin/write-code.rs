//! Stores into its own code.
//!
//! The kernel reports #PF: code is mapped without the right to write. Concurrency: none.
// UNSAFETY: no safe store goes to code.
#![expect(unsafe_code, reason = "a store into code")]
#![no_std]
#![no_main]

use core::arch::asm;

use rt::{Environment, ExitStatus};

rt::entry!(main);

fn main(_: &Environment) -> ExitStatus {
    demos::announce("write-code", "storing into own code");
    let code = main as fn(&Environment) -> ExitStatus as usize;
    // SAFETY: the store changes no bit of the code, even if it is not stopped: `or` with 0.
    unsafe { asm!("or byte ptr [{}], 0", in(reg) code, options(nostack)) };
    demos::not_stopped("write-code")
}
