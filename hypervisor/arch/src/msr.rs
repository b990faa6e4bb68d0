//! Model-specific registers, also those that may not exist.
//!
//! Purpose: writes are counted. An access that faults is reported instead: the fault handler ends it at a second exit.
//! Invariants: the two instructions below are the only ones of their kind that may fault; Rust
//! code writes none but here.
//! Concurrency: the calling core's registers.
//! Source: AMD64 manual volume 3, RDMSR and WRMSR.
use abi::counter::Counter;
use core::arch::global_asm;

global_asm!(
    ".text",
    ".global msr_read, msr_read_here, msr_write, msr_write_here, msr_absent",
    "msr_read:",
    "mov ecx, edi",
    "msr_read_here:",
    "rdmsr",
    "shl rdx, 32",
    "or rax, rdx",
    "mov [rsi], rax",
    "mov eax, 1",
    "ret",
    "msr_write:",
    "mov ecx, edi",
    "mov rax, rsi",
    "mov rdx, rsi",
    "shr rdx, 32",
    "msr_write_here:",
    "wrmsr",
    "mov eax, 1",
    "ret",
    "msr_absent:",
    "xor eax, eax",
    "ret",
);

// SAFETY: defined above with these signatures; of the labels only addresses are taken.
unsafe extern "C" {
    safe fn msr_read(register: u32, value: &mut u64) -> bool;
    fn msr_write(register: u32, value: u64) -> bool;
    static msr_read_here: u8;
    static msr_write_here: u8;
    static msr_absent: u8;
}

/// The value of a register, if there is one.
pub fn read(register: u32) -> Option<u64> {
    let mut value = 0;
    msr_read(register, &mut value).then_some(value)
}

/// Writes a register that there is.
///
/// # Safety
/// It takes the value, and what it does then is what the kernel relies on.
#[inline]
pub unsafe fn set(register: u32, value: u64) {
    percpu::this().shared.count(Counter::MsrWrites, 1);
    // SAFETY: the caller's promise.
    unsafe { x86::msr::wrmsr(register, value) }
}

/// Writes a register; false if there is none, or it does not take the value.
///
/// # Safety
/// The register controls neither memory nor how the kernel runs.
#[must_use]
pub unsafe fn write(register: u32, value: u64) -> bool {
    percpu::this().shared.count(Counter::MsrWrites, 1);
    // SAFETY: the caller's promise; a fault ends the access.
    unsafe { msr_write(register, value) }
}

/// If the kernel instruction at `rip` is one of the accesses: where it goes on when it has faulted.
pub fn absent_exit(rip: u64) -> Option<u64> {
    let address = |label: *const u8| label.addr() as u64;
    let accesses = [address(&raw const msr_read_here), address(&raw const msr_write_here)];
    accesses.contains(&rip).then(|| address(&raw const msr_absent))
}
