//! Enters the kernel with every flag that ring 3 can set, and with a stack pointer that is no address.
//!
//! The kernel answers as always: the hypercall has a wrong sub-operation, status 5. Ends with success. Concurrency: none.
// UNSAFETY: the runtime's hypercalls come with sane flags and a sane stack.
#![expect(unsafe_code, reason = "a hypercall with odd registers")]
#![no_std]
#![no_main]

use core::arch::asm;

use rt::{Environment, ExitStatus, println};

rt::entry!(main);

/// Trap, direction, nested task, alignment check.
const FLAGS: [u64; 5] = [0x100, 0x400, 0x4000, 0x4_0000, 0x4_4400];
/// `misc` with sub-operation 15.
const REQUEST: u64 = 0xF8;

fn main(_: &Environment) -> ExitStatus {
    demos::announce("odd-flags", "hypercalls with odd flags and stacks");
    let mut answers = [0_u64; FLAGS.len()];
    for (flags, answer) in FLAGS.into_iter().zip(&mut answers) {
        // The trap flag traps after the instruction that follows POPFQ, so SYSCALL is that instruction.
        // SAFETY: the stack pointer is restored, flags are the language's again after SYSCALL, which clears them.
        unsafe {
            asm!(
                "mov r9, rsp", "push r8", "mov rax, 0x8000000000000000", "popfq", "syscall", "mov rsp, r9",
                inout("rdi") REQUEST => *answer, in("r8") flags | 0x202,
                out("rax") _, out("rcx") _, out("r9") _, out("r11") _, lateout("rsi") _, lateout("rdx") _,
            );
        }
    }
    println!("odd-flags: answered {answers:?}");
    if answers.iter().all(|answer| answer & 0xFF == 5) { ExitStatus::SUCCESS } else { ExitStatus::new(3) }
}
