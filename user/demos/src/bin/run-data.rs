//! Executes an instruction in its data.
//!
//! The kernel reports #PF: data are mapped without the right to execute. Concurrency: none.
// UNSAFETY: no safe call goes to data.
#![expect(unsafe_code, reason = "a call into data")]
#![no_std]
#![no_main]

use core::arch::asm;
use core::sync::atomic::AtomicU8;

use rt::{Environment, ExitStatus};

rt::entry!(main);

/// A return instruction, in memory that may be written.
static RETURN: AtomicU8 = AtomicU8::new(0xC3);

fn main(_: &Environment) -> ExitStatus {
    demos::announce("run-data", "calling into own data");
    // SAFETY: if the call is not stopped it comes back at once, having changed nothing but the word below the stack
    // pointer, which `asm!` without `nostack` may use.
    unsafe { asm!("call {}", in(reg) RETURN.as_ptr()) };
    demos::not_stopped("run-data")
}
