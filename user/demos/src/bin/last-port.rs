//! Owns all ports and reads beyond the last one: a byte at 0xFFFF is allowed, a word is not (trap T8).
//!
//! The kernel reports #GP: the processor consults the byte behind the bitmap, which is all ones. Concurrency: none.
// UNSAFETY: the runtime has no port that is wider than what is left.
#![expect(unsafe_code, reason = "a port instruction beyond the last port")]
#![no_std]
#![no_main]

use core::arch::asm;

use rt::{Environment, ExitStatus};

rt::entry!(main);

fn main(_: &Environment) -> ExitStatus {
    demos::announce("last-port", "reading a byte at port 0xffff, then a word");
    // SAFETY: no device is there, and no memory is involved.
    unsafe { asm!("in al, dx", in("dx") 0xFFFF_u16, out("al") _, options(nomem, nostack, preserves_flags)) };
    demos::announce("last-port", "the byte was allowed");
    // SAFETY: as above.
    unsafe { asm!("in ax, dx", in("dx") 0xFFFF_u16, out("ax") _, options(nomem, nostack, preserves_flags)) };
    demos::not_stopped("last-port")
}
