//! What the guests execute: a page of code, each piece from its own label on, and where it lies in their memory.
//!
//! Concurrency: read-only.
use core::arch::global_asm;

/// Guest-physical page of the code.
pub const CODE: u64 = 0x1000;

macro_rules! pieces {
    ($($(#[$about:meta])* $name:ident: $($line:literal),+;)+) => {
        global_asm!(
            ".section .rodata.guests, \"a\"",
            ".global guest_code, guest_code_end",
            "guest_code:",
            $(concat!("guest_", stringify!($name), ":"), $($line,)+)+
            "guest_code_end:",
            ".text",
        );

        /// Where each piece starts in the guests' memory.
        pub mod at {
            $($(#[$about])*
            pub fn $name() -> u64 {
                // SAFETY: a label; only its address is used.
                unsafe extern "C" {
                    #[link_name = concat!("guest_", stringify!($name))]
                    safe static LABEL: u8;
                }
                (&raw const LABEL).addr() as u64 - super::start() + super::CODE
            })+
        }
    };
}

pieces! {
    /// CPUID, and what it says on to the halt.
    cpuid: "mov eax, 0x1234", "cpuid", "hlt";
    /// CPUID, ten times.
    often: "mov r15d, 10", "guest_often_again:", "cpuid", "dec r15", "jnz guest_often_again", "hlt";
    /// A byte out, a word in.
    ports: "mov eax, 0xAB", "out 0x80, al", "mov dx, 0x3F8", "in ax, dx", "hlt";
    /// Reads a register that exits, and writes one that is the guest's own.
    msr: "mov ecx, 0x10", "rdmsr", "mov ecx, 0xC0000100", "mov eax, 0x5678", "xor edx, edx", "wrmsr", "xor eax, eax",
        "rdmsr", "hlt";
    /// Loads from, and stores to, the page that is missing.
    memory: "mov rbx, 0x20000", "mov rax, [rbx + 8]", "mov [rbx + 16], rax", "hlt", "mov rax, [rbx + 8]", "hlt";
    /// Asks the monitor.
    vmmcall: "vmmcall", "hlt";
    /// Three faults at once.
    shutdown: "push 0", "push 0", "lidt [rsp]", "ud2";
    /// Halts, and counts the interrupts that wake it.
    interrupt: "xor r15, r15", "sti", "hlt", "hlt";
    /// Where interrupt 0x40 goes.
    handler: "inc r15", "iretq";
    /// Lets interrupts in after it has asked.
    window: "xor r15, r15", "cli", "vmmcall", "mov ebx, 1", "sti", "mov ebx, 2", "mov ebx, 3", "hlt";
    /// Halts with a stack that is missing, and once more.
    stackless: "xor r15, r15", "mov rsp, 0x20F00", "sti", "hlt", "hlt";
    /// Exchanges its two GS bases, and halts each time.
    swapgs: "xor edx, edx", "mov ecx, 0xC0000101", "mov eax, 0x11", "wrmsr", "inc ecx", "mov eax, 0x22", "wrmsr",
        "swapgs", "hlt", "swapgs", "hlt";
    /// Goes round and round.
    spin: "inc rbx", "jmp guest_spin";
    /// Loads from a page that others take away, and counts at 0x7000.
    reader: "mov rbx, 0x20000", "guest_reader_again:", "mov rax, [rbx + 8]", "inc qword ptr [0x7000]",
        "jmp guest_reader_again";
    /// Has a value in a vector register, before and after a halt.
    vector: "mov rax, 0x1122334455667788", "movq xmm0, rax", "hlt", "movq rbx, xmm0", "hlt";
    /// The same in the upper half of a wider one, and which states are enabled.
    wide: "mov rax, cr4", "or eax, 0x40000", "mov cr4, rax", "mov rax, 0x1122334455667788", "movq xmm0, rax",
        "vinsertf128 ymm0, ymm0, xmm0, 1", "hlt", "vextractf128 xmm1, ymm0, 1", "movq rbx, xmm1", "xor ecx, ecx", "xgetbv",
        "hlt";
    /// Enables wide registers.
    enable: "mov rax, cr4", "or eax, 0x40000", "mov cr4, rax", "xor ecx, ecx", "xgetbv", "hlt";
    /// Breakpoint registers, and a trap of its own.
    debug: "mov rax, 0x4711", "mov dr0, rax", "hlt", "mov rbx, dr0", "hlt";
    /// The time.
    tsc: "rdtsc", "shl rdx, 32", "or rax, rdx", "hlt";
    /// Single-steps once; interrupt 1 goes to the handler.
    step: "xor r15, r15", "pushfq", "or qword ptr [rsp], 0x100", "popfq", "nop", "pushfq", "and qword ptr [rsp], -0x101", "popfq", "hlt";
    /// In 16-bit mode.
    real: ".code16", "mov ax, 0x700", "mov ds, ax", "mov word ptr ds:[0], 0x1234", "hlt", ".code64";
}

// SAFETY: labels; only their addresses are used.
unsafe extern "C" {
    safe static guest_code: u8;
    safe static guest_code_end: u8;
}

/// Address of the code in this program.
pub fn start() -> u64 {
    (&raw const guest_code).addr() as u64
}

/// Its length in bytes.
pub fn length() -> u64 {
    (&raw const guest_code_end).addr() as u64 - start()
}
