//! The capability space of the current domain.
//!
//! Purpose: a capability is one load at a fixed address, and becomes another with one store. Where nothing is backed these
//! fault, and the fault handler either brings in the domain's table, and they are repeated, or ends a load with the null
//! capability.
//! Invariants: the two, and the loads of entry code, are the only kernel instructions that may fault on the capability
//! space; they are as long, and what they say is in RDI. Nothing is mapped or allocated for a selector that has no
//! capability.
//! Concurrency: one word, read and written at once; written under the tree's lock.
//! Source: lecture D:338, D:356; design plan §3 (the sparse array and its exception-table entry).
use core::arch::{asm, global_asm};
use memory::layout::CAPABILITIES;
use objects::frame::Frame;

global_asm!(
    ".text",
    ".global capability_load, capability_load_here, capability_store, capability_store_here",
    "capability_load:",
    "and edi, 0x3FFFFFF",
    "capability_load_here:",
    "mov rdi, [rdi * 8 + {CAPABILITIES}]",
    "ret",
    "capability_store:",
    "and edi, 0x3FFFFFF",
    "bts rdi, 61", // not 0, for the same address
    "capability_store_here:",
    "mov [rdi * 8 + {CAPABILITIES}], rsi",
    "ret",
    CAPABILITIES = const CAPABILITIES as i32,
);

// SAFETY: defined above with this signature; of the labels only addresses are taken.
unsafe extern "C" {
    fn capability_load(selector: u64) -> u64;
    static capability_load_here: u8;
    fn capability_store(selector: u64, word: u64) -> u64;
    static capability_store_here: u8;
    static call_load: u8;
    static event_load: u8;
    static fault_load: u8;
}

/// The word at `selector`, modulo the size of the space; 0 where there is none.
#[inline]
#[must_use]
pub fn load(selector: u64) -> u64 {
    let word;
    // SAFETY: the function reads, and changes the one register only.
    unsafe {
        asm!("call {load}", load = sym capability_load, inout("rdi") selector => word, options(readonly));
    }
    word
}

/// Makes `word` the one at `selector`, modulo the size of the space. False if there is none.
#[inline]
#[must_use]
pub fn store(selector: u64, word: u64) -> bool {
    let done: u64;
    // SAFETY: the function writes a word that is a slot, or nothing, and changes the one register only.
    unsafe {
        asm!("call {store}", store = sym capability_store, inout("rdi") selector => done, in("rsi") word);
    }
    done != 0
}

/// Bytes of each access.
const LENGTH: u64 = 8;

/// Lets an access that has faulted, in which the kernel was interrupted, go on with the null capability, or false.
pub fn end_with_null(frame: &Frame) {
    frame.rip.set(frame.rip.get() + LENGTH);
    frame.rdi.set(0);
}

/// Whether the kernel instruction at `rip` is one of the accesses.
#[must_use]
pub fn is_access(rip: u64) -> bool {
    let loads = [&raw const capability_load_here, &raw const call_load, &raw const event_load, &raw const fault_load];
    loads.into_iter().chain([&raw const capability_store_here]).any(|access| access.addr() as u64 == rip)
}
