//! Reads an I/O port without having taken the ports.
//!
//! The kernel reports #GP. Concurrency: none.
// UNSAFETY: the runtime gives ports only to those who have the capability; this program goes past it.
#![expect(unsafe_code, reason = "a port instruction without the capability")]
#![no_std]
#![no_main]

use core::arch::asm;

use rt::{Environment, ExitStatus};

rt::entry!(main);

fn main(_: &Environment) -> ExitStatus {
    // SAFETY: reads the line status of the serial port into a register; no memory is involved.
    unsafe { asm!("in al, dx", in("dx") 0x3FD_u16, out("al") _, options(nomem, nostack, preserves_flags)) };
    demos::not_stopped("no-ports")
}
