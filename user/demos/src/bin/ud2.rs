//! One undefined instruction, without start-up code: the shortest program that fails.
//!
//! The kernel reports #UD. Concurrency: none.
// UNSAFETY: the entry point has no stack and consists of one instruction; only a naked function can be that.
#![expect(unsafe_code, reason = "the entry point is one instruction")]
#![no_std]
#![no_main]

use core::arch::naked_asm;
use core::panic::PanicInfo;

// SAFETY: the linker script looks for the symbol, and nobody else defines it here.
#[unsafe(no_mangle)]
// SAFETY: the body is complete: it neither returns nor uses a stack.
#[unsafe(naked)]
extern "C" fn _start() -> ! {
    naked_asm!("ud2")
}

/// Never reached: nothing here can panic.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}
