//! Accesses that may fault, for programs that look whether something is mapped.
//!
//! Purpose: a load that yields [`NOTHING`] where nothing is mapped, if the portal of the thread's page faults is
//! [`fix_entry`]; the same for ports, with that of protection faults.
//! Invariants: none of its own.
//! Concurrency: any number of threads; each handler has its own stack and message page, whose address is its portal's identity.
//! Source: interface §5 (page-fault event).
use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use abi::Mtd;

use crate::raw::word;

/// What a probe finds where nothing is mapped.
pub const NOTHING: u64 = u64::MAX;
/// How many faults there were so far.
pub static FIXED: AtomicU64 = AtomicU64::new(0);

global_asm!(
    "probe_fix:", "call {fix}", "mov edi, 1", "syscall",
    "probe_load:", "mov rax, [rdi]", "ret",
    "probe_poke:", "mov rax, [rdi]", "mov [rdi], rax", "ret",
    "probe_count:", "xor eax, eax", "inc qword ptr [rdi]", "ret",
    "probe_port:", "mov edx, edi", "xor eax, eax", "in al, dx", "ret",
    "probe_failed:", "mov rax, -1", "ret",
    fix = sym fix,
);

// SAFETY: defined above; only their addresses are used.
unsafe extern "C" {
    fn probe_fix();
    fn probe_failed();
}

/// Where the portal of page faults starts.
#[must_use]
pub fn fix_entry() -> u64 {
    (probe_fix as *const ()).addr() as u64
}

/// Makes a probe that faulted fail.
extern "C" fn fix(page: u64) {
    FIXED.fetch_add(1, SeqCst);
    word(page, 4).store(Mtd::RIP_LEN.bits(), SeqCst);
    word(page, 6).store((probe_failed as *const ()).addr() as u64, SeqCst);
}

/// The word at `address`.
#[must_use]
pub fn probe(address: u64) -> u64 {
    let value;
    // SAFETY: a load changes nothing; where it faults, the handler makes it go on.
    unsafe { asm!("call probe_load", in("rdi") address, out("rax") value) };
    value
}

/// As [`probe`], and stores what it found.
#[must_use]
pub fn poke(address: u64) -> u64 {
    let value;
    // SAFETY: as above; what is there is stored again.
    unsafe { asm!("call probe_poke", in("rdi") address, out("rax") value) };
    value
}

/// What can be read from a port.
#[must_use]
pub fn port(port: u16) -> u64 {
    let value;
    // SAFETY: where it faults, the handler makes it go on; the programs read ports that nothing depends on.
    unsafe { asm!("call probe_port", in("edi") u32::from(port), out("rax") value, out("rdx") _) };
    value
}

/// Adds one to what is there; [`NOTHING`] if nothing is.
pub fn count_up(address: u64) -> u64 {
    let value;
    // SAFETY: as above; what is counted there is a number.
    unsafe { asm!("call probe_count", in("rdi") address, out("rax") value) };
    value
}
