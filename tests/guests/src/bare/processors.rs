//! Starts another processor, as the specification of multiprocessors says: INIT, then a start-up with a page.
//!
//! Invariants: the page at 0x8000 is not used for anything else; its code goes from real mode to 64-bit mode at once.
//! Concurrency: one other processor.

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::{apic, cpu, interrupts, memory};

/// The page of the start-up code.
const PAGE: u64 = 0x8000;
static MAIN: AtomicU64 = AtomicU64::new(0);
static STARTED: AtomicU64 = AtomicU64::new(0);

global_asm!(
    // A jump over the pointer to the table of segments.
    "trampoline:", ".byte 0xEB, 6", ".word 31", ".long 0x500",
    ".code16",
    "cli",
    "xor ax, ax", "mov ds, ax",
    "lgdt [0x8002]",
    "mov eax, cr4", "or eax, 0x20", "mov cr4, eax",
    "mov eax, 0x9000", "mov cr3, eax",
    "mov ecx, 0xC0000080", "rdmsr", "or eax, 0x100", "wrmsr",
    "mov eax, cr0", "or eax, 0x80000001", "and eax, 0x9FFFFFFF", "mov cr0, eax",
    ".byte 0x66, 0xEA", ".long 0x8000 + trampoline_long - trampoline", ".word 0x10",
    ".code64",
    "trampoline_long:",
    "mov ax, 0x18", "mov ds, ax", "mov es, ax", "mov ss, ax",
    "mov rsp, 0x3F0000",
    "mov rax, offset {start}", "call rax", "ud2",
    "trampoline_end:",
    start = sym start,
);

// SAFETY: defined above; only addresses are used, and bytes between them read.
unsafe extern "C" {
    safe static trampoline: u8;
    safe static trampoline_end: u8;
}

/// Whether another processor has come that far.
pub fn was_started() -> bool {
    STARTED.load(SeqCst) != 0
}

extern "C" fn start() -> ! {
    STARTED.store(1, SeqCst);
    interrupts::attach();
    // SAFETY: `run` alone sets the word, from a function of that type.
    let main = unsafe {
        core::mem::transmute::<*const (), fn()>(core::ptr::with_exposed_provenance(MAIN.load(SeqCst) as usize))
    };
    main();
    loop {
        cpu::halt();
    }
}

/// Has processor `number` execute `main`; the memory below 0x3F_0000 is its stack.
pub fn run(number: u32, main: fn()) {
    MAIN.store((main as *const ()).expose_provenance() as u64, SeqCst);
    let first = (&raw const trampoline).addr();
    for index in 0..(&raw const trampoline_end).addr() - first {
        // SAFETY: between the labels.
        let byte = unsafe { core::ptr::with_exposed_provenance::<u8>(first + index).read_volatile() };
        memory::write8(PAGE + index as u64, byte);
    }
    apic::send(number, 0x4500);
    apic::send(number, 0x4600 | (PAGE >> 12) as u32);
}
