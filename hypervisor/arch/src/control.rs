//! Control registers, EFER and PAT: the mode that a core runs in.
//!
//! Purpose: write them whole, in an order in which no intermediate state is wrong, on every core alike.
//! Invariants: paging, write protection and no-execute are on before this code runs (boot and trampoline set them);
//! PAT entry 1 is write-combining before any mapping uses it; FSGSBASE stays off; what is not named here is 0.
//! Concurrency: acts on the calling core.
//! Source: AMD64 manual volume 2, §3.1 and §7.8; `docs/src/decisions/0009-control-registers.md`.
use crate::features::Features;
use memory::format::Attributes;
use x86::controlregs::{self, Cr0, Cr4, cr0_write, cr4_write};
use x86::msr;

/// PAT: 0 write-back, 1 write-combining, 2 uncached-, 3 uncached; 4 to 7 write-back, write-through, uncached-, uncached.
pub const PAT: u64 = 0x0007_0406_0007_0106;
// The entry that a mapping's bit for it selects.
const _: () = assert!(PAT >> (8 * (Attributes::WRITE_COMBINING.bits() >> 3)) & 0xFF == 1);
const EFER_SCE: u64 = 1;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
const EFER_NXE: u64 = 1 << 11;
const CR4_UMIP: usize = 1 << 11;

/// CR4 of a core with `features`.
fn cr4(features: &Features) -> Cr4 {
    let mut bits = Cr4::CR4_ENABLE_PAE | Cr4::CR4_ENABLE_MACHINE_CHECK | Cr4::CR4_ENABLE_SSE | Cr4::CR4_UNMASKED_SSE;
    bits.set(Cr4::CR4_ENABLE_GLOBAL_PAGES, features.global_pages);
    bits.set(Cr4::CR4_ENABLE_SMEP, features.smep);
    bits.set(Cr4::CR4_ENABLE_SMAP, features.smap);
    bits.set(Cr4::CR4_ENABLE_OS_XSAVE, features.xsave);
    if features.umip {
        // SAFETY: the `x86` crate has no name for this bit; the processor has it, and it only takes from ring 3.
        bits |= unsafe { Cr4::from_bits_unchecked(CR4_UMIP) };
    }
    bits
}

/// Puts the core into the kernel's mode.
///
/// # Safety
/// The current page tables map the kernel with no-execute bits, and user pages are not accessed by the caller.
pub unsafe fn enable(features: &Features) {
    // SAFETY: PAT entries 0 and 3, the only ones in use so far (present entries of the boot tables have no cache bits),
    // keep their meaning. EFER keeps LME, LMA and NXE as boot set them and adds SYSCALL. CR0 keeps PE, PG, WP and
    // fixes caching on (CD, NW clear) and the x87 bits. CR4 is written after EFER so that SMEP finds NX semantics in
    // force; every bit was reported by CPUID.
    unsafe {
        crate::msr::set(msr::IA32_PAT, PAT);
        crate::msr::set(msr::IA32_EFER, EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE);
        cr0_write(
            Cr0::CR0_ENABLE_PAGING
                | Cr0::CR0_WRITE_PROTECT
                | Cr0::CR0_NUMERIC_ERROR
                | Cr0::CR0_EXTENSION_TYPE
                | Cr0::CR0_MONITOR_COPROCESSOR
                | Cr0::CR0_PROTECTED_MODE,
        );
        cr4_write(cr4(features));
    }
}

/// Has the core tag what it remembers.
///
/// # Safety
/// CPUID announced that; what is loaded has no tag yet.
pub unsafe fn enable_tags() {
    // SAFETY: the caller's promise; all tables that are loaded from here on say which tag.
    unsafe { cr4_write(controlregs::cr4() | Cr4::CR4_ENABLE_PCID) };
}

/// Sets what RDTSCP and RDPID return in ring 3.
///
/// # Safety
/// CPUID announced RDTSCP.
pub unsafe fn set_tsc_aux(value: u32) {
    // SAFETY: the register exists; it holds a number for ring 3 and nothing else.
    unsafe { crate::msr::set(msr::IA32_TSC_AUX, u64::from(value)) }
}
