//! Several hypercalls in a row as one operation.
//!
//! Concurrency: one user.
//! Source: interface §1 (registers).

use core::arch::asm;
use core::mem::{offset_of, size_of};

/// One hypercall.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Step {
    /// First word of the message page: what the message holds.
    pub header: u64,
    /// RDI.
    pub request: u64,
    /// RSI, RDX, RAX and R8.
    pub registers: [u64; 4],
}

/// Makes the hypercalls of `steps` one after the other, `count` times, with the message page at `page`. Which did not
/// succeed, and its status.
pub fn script(page: u64, steps: &[Step], count: u64) -> Result<(), (usize, u8)> {
    let range = steps.as_ptr_range();
    let (first, end) = (range.start, range.end);
    let (mut status, mut left, mut at) = (0_u64, count, first);
    if left > 0 && !steps.is_empty() {
        // SAFETY: creates, uses and destroys objects of this program and writes its message page; the operands name all
        // that the kernel changes.
        unsafe {
            asm!("2:", "mov r12, r9",
                "3:", "mov rcx, [r12]", "mov [r13], rcx", "mov rdi, [r12 + {request}]", "mov rsi, [r12 + {registers}]",
                "mov rdx, [r12 + {registers} + 8]", "mov rax, [r12 + {registers} + 16]",
                "mov r8, [r12 + {registers} + 24]", "syscall", "test dil, dil", "jnz 4f",
                "add r12, {size}", "cmp r12, r15", "jne 3b", "dec r14", "jnz 2b", "4:",
                request = const offset_of!(Step, request), registers = const offset_of!(Step, registers),
                size = const size_of::<Step>(),
                in("r9") first, in("r13") page, in("r15") end, inout("r12") at, inout("r14") left, out("rdi") status,
                out("rsi") _, out("rdx") _, out("rax") _, out("r8") _, out("rcx") _, out("r11") _);
        }
    }
    let step = at.addr().saturating_sub(first.addr()) / size_of::<Step>();
    if left == 0 || steps.is_empty() { Ok(()) } else { Err((step, status as u8)) }
}
