//! Divides by zero.
//!
//! The kernel reports #DE. Concurrency: none.
// UNSAFETY: the language checks its own divisions; the bare instruction does not.
#![expect(unsafe_code, reason = "a bare division")]
#![no_std]
#![no_main]

use core::arch::asm;

use rt::{Environment, ExitStatus};

rt::entry!(main);

fn main(_: &Environment) -> ExitStatus {
    demos::announce("divide", "dividing by zero");
    // SAFETY: works on three registers, all of them named.
    unsafe {
        asm!("div {:e}", in(reg) 0_u32, inout("eax") 1_u32 => _, inout("edx") 0_u32 => _, options(nomem, nostack));
    }
    demos::not_stopped("divide")
}
