//! The first instructions of a program.
//!
//! The kernel starts it with rsp = address of the information page, rdi = core number, interrupts on, and no stack.
//! Invariants: the stack lies first in the writable segment, with an unmapped page below (linker script), so that an
//! overflow faults instead of writing over data.
//! Concurrency: runs once.
//! Source: classic interface, "Root start registers"; System V ABI for AMD64, §3.2.2 (stack alignment).

use core::arch::global_asm;

use crate::arch::utcb::adopt;
use crate::{Environment, Program, power};

/// Size of the stack in bytes, a multiple of the page size.
const STACK_SIZE: usize = 64 * 1024;

global_asm!(
    ".pushsection .stack, \"aw\", @nobits",
    ".balign 4096",
    ".skip {size}",
    "rt_stack_top:",
    ".popsection",
    ".pushsection .text._start, \"ax\", @progbits",
    ".globl _start",
    ".type _start, @function",
    "_start:",
    "mov rsi, rdi",                  // core number: second argument
    "mov rdi, rsp",                  // information page: first argument
    "lea rsp, [rip + rt_stack_top]", // a multiple of 16 before the call
    "xor ebp, ebp",                  // where a walk over frames ends
    "call {start}",
    "ud2",
    ".size _start, . - _start",
    ".popsection",
    size = const STACK_SIZE,
    start = sym start,
);

// SAFETY: `entry!` defines the symbol, with this type and never written.
unsafe extern "Rust" {
    safe static RT_PROGRAM: Program;
}

/// The program that is running.
pub(crate) fn program() -> &'static Program {
    &RT_PROGRAM
}

extern "C" fn start(hip: usize, cpu: u64) -> ! {
    // SAFETY: the kernel passed the address; by the interface the information page is mapped there for as long as the
    // program lives, read-only, and the page before it is the UTCB of this thread.
    let area = unsafe { adopt(hip) };
    let status = match Environment::new(area, hip as u64, cpu as u32) {
        Ok(environment) => (program().main)(&environment),
        Err(error) => panic!("{error}"),
    };
    power::end(status)
}
