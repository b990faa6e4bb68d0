//! AMD's virtualisation: the instructions and registers that are not in entry code.
//!
//! Purpose: prepare a core to run virtual CPUs.
//! Invariants: EFER.SVME stays set on a core that was prepared.
//! Concurrency: acts on the calling core.
//! Source: AMD64 manual volume 2, §15.4 and §15.30.
use crate::features::Features;
use crate::msr;
use abi::{PhysAddr, address::PAGE_SIZE};
use core::arch::asm;
use raw_cpuid::CpuId;

const VM_CR: u32 = 0xC001_0114;
const VM_HSAVE_PA: u32 = 0xC001_0117;
/// In VM_CR: the firmware has switched it off.
const DISABLED: u64 = 1 << 4;
const EFER_SVME: u64 = 1 << 12;

// SAFETY: defined by `entry.s`; only its address is taken.
unsafe extern "C" {
    fn svm_enter();
}

/// Number of tags, the host's included, if virtual CPUs can run: at least 2.
pub fn tags(features: &Features) -> Option<u64> {
    let allowed = features.svm && msr::read(VM_CR).is_none_or(|value| value & DISABLED == 0);
    let info = CpuId::new().get_svm_info().filter(|_| allowed)?;
    Some(u64::from(info.supported_asids())).filter(|&tags| tags >= 2)
}

/// Lets the calling core run virtual CPUs. `pages` are two pages for the host's state while one runs; the address of the
/// second, which software loads, comes back.
///
/// # Safety
/// [`tags`] found that it can; the pages are used for nothing else, for ever.
#[must_use]
pub unsafe fn enable(pages: PhysAddr) -> PhysAddr {
    let state = pages.offset(PAGE_SIZE);
    // SAFETY: the caller's promise; nothing that is saved changes afterwards, but for selectors that ring 3 may choose.
    unsafe {
        let efer = x86::msr::rdmsr(x86::msr::IA32_EFER);
        crate::msr::set(x86::msr::IA32_EFER, efer | EFER_SVME);
        crate::msr::set(VM_HSAVE_PA, pages.get());
        asm!("vmsave rax", in("rax") state.get(), options(nostack, preserves_flags));
    }
    state
}

/// Address of the code that enters a virtual CPU.
pub fn entry() -> u64 {
    let entry: unsafe extern "C" fn() = svm_enter;
    entry as usize as u64
}
