//! The capability space of the current domain.
//!
//! Purpose: a capability is one load at a fixed address, and becomes another with one store. Where nothing is backed these
//! fault, and the fault handler either brings in the domain's table, and they are repeated, or ends a load with the null
//! capability.
//! Invariants: these, and the loads of entry code, are the only kernel instructions that may fault on the capability space,
//! and are listed in a section of the image; they are as long, and what they say is in RDI. Nothing is mapped or allocated
//! for a selector that has no capability.
//! Concurrency: one word, read and written at once; written with the domain's region held.
//! Source: lecture D:338, D:356; design plan §3 (the sparse array and its exception-table entry).
use core::arch::asm;
use memory::layout::CAPABILITIES;
use objects::frame::Frame;

// SAFETY: defined by the linker script; only their addresses are taken.
unsafe extern "C" {
    static accesses_start: u64;
    static accesses_end: u64;
}

/// Accesses the word at the selector in RDI, which is cut to the size of the space, and puts the address of the instruction
/// on the list.
macro_rules! access {
    ($($line:literal),*; $($operands:tt)*) => {
        asm!("and edi, 0x3FFFFFF", $($line,)* ".pushsection .accesses, \"a\"", ".quad 2b", ".popsection",
            at = const CAPABILITIES as i32, $($operands)*)
    };
}

/// The word at `selector`, modulo the size of the space; 0 where there is none.
#[inline]
pub fn load(selector: u64) -> u64 {
    let word;
    // SAFETY: it reads, and changes the one register only.
    unsafe { access!("2: mov rdi, [rdi * 8 + {at}]"; inout("rdi") selector => word, options(readonly, nostack)) };
    word
}

/// Makes `word` the one at `selector`, modulo the size of the space. False if there is none.
#[inline]
#[must_use]
pub fn store(selector: u64, word: u64) -> bool {
    let done: u64;
    // The bit makes the selector another than 0, and its address no other.
    // SAFETY: it writes a word that is a slot, or nothing, and changes the one register only.
    unsafe {
        access!("bts rdi, 61", "2: mov [rdi * 8 + {at}], rsi"; inout("rdi") selector => done, in("rsi") word,
            options(nostack));
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
pub fn is_access(rip: u64) -> bool {
    let (mut access, end) = (&raw const accesses_start, &raw const accesses_end);
    while access < end {
        // SAFETY: between the two lies the list, of words.
        if unsafe { access.read() } == rip {
            return true;
        }
        access = access.wrapping_add(1);
    }
    false
}
