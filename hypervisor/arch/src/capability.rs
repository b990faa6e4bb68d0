//! Reading the capability space of the current domain.
//!
//! Purpose: a capability is one load at a fixed address. Where nothing is backed the load faults, and the fault handler
//! either brings in the domain's table, and the load is repeated, or ends it with the null capability.
//! Invariants: the load is the only kernel instruction that may fault on the capability space; nothing is mapped or
//! allocated for a selector that has no capability.
//! Concurrency: one word, read at once.
//! Source: lecture D:338, D:356; design plan §3 (the sparse array and its exception-table entry).
use core::arch::{asm, global_asm};
use memory::layout::CAPABILITIES;

global_asm!(
    ".text",
    ".global capability_load, capability_load_here, capability_load_null",
    "capability_load:",
    "and edi, 0x3FFFFFF",
    "capability_load_here:",
    "mov rax, [rdi * 8 + {CAPABILITIES}]",
    "ret",
    "capability_load_null:",
    "xor eax, eax",
    "ret",
    CAPABILITIES = const CAPABILITIES as i32,
);

// SAFETY: defined above with this signature; of the labels only addresses are taken.
unsafe extern "C" {
    fn capability_load(selector: u64) -> u64;
    static capability_load_here: u8;
    static capability_load_null: u8;
}

/// The word at `selector`, modulo the size of the space; 0 where there is none.
#[inline]
#[must_use]
pub fn load(selector: u64) -> u64 {
    let word;
    // SAFETY: the function reads, and changes the two registers only.
    unsafe {
        asm!("call {load}", load = sym capability_load, inout("rdi") selector => _, out("rax") word, options(readonly));
    }
    word
}

/// If the kernel instruction at `rip` is the load: where it goes on with the null capability.
#[must_use]
pub fn null_exit(rip: u64) -> Option<u64> {
    let address = |label: *const u8| label.addr() as u64;
    (rip == address(&raw const capability_load_here)).then(|| address(&raw const capability_load_null))
}
