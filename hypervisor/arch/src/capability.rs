//! The capability space of the current domain.
//!
//! Purpose: a capability is one load at a fixed address, and becomes another with one store. Where nothing is backed the load faults, and the fault handler
//! either brings in the domain's table, and the load is repeated, or ends it with the null capability.
//! Invariants: the two are the only kernel instructions that may fault on the capability space; nothing is mapped or
//! allocated for a selector that has no capability.
//! Concurrency: one word, read and written at once; written under the tree's lock.
//! Source: lecture D:338, D:356; design plan §3 (the sparse array and its exception-table entry).
use core::arch::{asm, global_asm};
use memory::layout::CAPABILITIES;

global_asm!(
    ".text",
    ".global capability_load, capability_load_here, capability_load_null, capability_store, capability_store_here",
    "capability_load:",
    "and edi, 0x3FFFFFF",
    "capability_load_here:",
    "mov rax, [rdi * 8 + {CAPABILITIES}]",
    "ret",
    "capability_load_null:",
    "xor eax, eax",
    "ret",
    "capability_store:",
    "and edi, 0x3FFFFFF",
    "capability_store_here:",
    "mov [rdi * 8 + {CAPABILITIES}], rsi",
    "mov eax, 1",
    "ret",
    CAPABILITIES = const CAPABILITIES as i32,
);

// SAFETY: defined above with this signature; of the labels only addresses are taken.
unsafe extern "C" {
    fn capability_load(selector: u64) -> u64;
    static capability_load_here: u8;
    static capability_load_null: u8;
    fn capability_store(selector: u64, word: u64) -> u64;
    static capability_store_here: u8;
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

/// Makes `word` the one at `selector`, modulo the size of the space. False if there is none.
#[inline]
#[must_use]
pub fn store(selector: u64, word: u64) -> bool {
    let done: u64;
    // SAFETY: the function writes a word that is a slot, or nothing, and changes the two registers only.
    unsafe {
        asm!("call {store}", store = sym capability_store, inout("rdi") selector => _, in("rsi") word, out("rax") done);
    }
    done != 0
}

/// If the kernel instruction at `rip` is one of the two: where it goes on with the null capability, and false.
#[must_use]
pub fn null_exit(rip: u64) -> Option<u64> {
    let address = |label: *const u8| label.addr() as u64;
    let here = [&raw const capability_load_here, &raw const capability_store_here];
    here.map(address).contains(&rip).then(|| address(&raw const capability_load_null))
}
