//! Vector registers, x87 included: saving, loading, and withholding them from ring 3.
//!
//! Purpose: the only instructions of ring 0 that touch them.
//! Invariants: [`save`] and [`load`] are functions of their own, so that a look at the kernel's code finds the instructions
//! here only. The registers are available (CR0.TS clear) when they are saved or loaded; none of the instructions waits for x87
//! exceptions, so state that has one pending does not fault here.
//! Concurrency: acts on the calling core.
//! Source: AMD64 manual volume 2, §11.5, and volume 5 (XSAVE, XRSTOR); Intel SDM volume 1, chapter 13;
//! `docs/src/decisions/0018-vector-state.md`.
use crate::exchange;
use crate::features::VectorState;
use core::arch::asm;
use objects::Page;

/// Lets ring 3 use the vector registers, or makes their use trap (#NM).
pub fn set_available(available: bool) {
    // SAFETY: CR0.TS has an effect on vector instructions only.
    unsafe {
        if available {
            asm!("clts", options(nostack, preserves_flags));
        } else {
            asm!("mov {0}, cr0", "or {0}, 8", "mov cr0, {0}", out(reg) _, options(nostack));
        }
    }
}

/// Allows the components of `state` in XCR0, and makes the registers available.
///
/// # Safety
/// CPUID has announced these components, and CR4 allows XSAVE if there are any.
pub unsafe fn enable(state: &VectorState) {
    set_available(true);
    if state.components != 0 {
        // SAFETY: the caller's promise; the kernel has nothing in these registers.
        unsafe { exchange::set_xcr0(state.components) };
    }
}

/// Saves the registers.
///
/// # Safety
/// They are available; `area` is aligned to a page and as large as `state` says. With XSAVEOPT, it has what it had when the
/// registers were loaded from it, if they were loaded from there last.
#[inline(never)]
pub unsafe fn save(state: &VectorState, area: &Page) {
    let (area, all) = (area.as_ptr(), u32::MAX);
    // SAFETY: the caller's promise; a mask of all ones means what XCR0 allows.
    unsafe {
        match (state.components, state.optimised) {
            (0, _) => asm!("fxsave64 [{}]", in(reg) area, options(nostack, preserves_flags)),
            (_, false) => asm!("xsave64 [{}]", in(reg) area, in("eax") all, in("edx") all, options(nostack)),
            (_, true) => asm!("xsaveopt64 [{}]", in(reg) area, in("eax") all, in("edx") all, options(nostack)),
        }
    }
}

/// Loads the registers.
///
/// # Safety
/// They are available; `area` is aligned to a page and holds an image that the processor takes: reserved bits of MXCSR and
/// of the header are 0, and so are the header's bits of components that XCR0 does not allow.
#[inline(never)]
pub unsafe fn load(state: &VectorState, area: &Page) {
    let (area, all) = (area.as_ptr(), u32::MAX);
    // SAFETY: the caller's promise. After FNCLEX and EMMS no exception is pending and the x87 stack is empty, so that FILD
    // has no effect but on the error pointers, which are not those of another context then.
    unsafe {
        if state.keeps_pointers {
            asm!("fnclex", "emms", "fild dword ptr [{}]", in(reg) area, options(nostack, preserves_flags));
        }
        if state.components == 0 {
            asm!("fxrstor64 [{}]", in(reg) area, options(nostack, preserves_flags));
        } else {
            asm!("xrstor64 [{}]", in(reg) area, in("eax") all, in("edx") all, options(nostack, preserves_flags));
        }
    }
}
