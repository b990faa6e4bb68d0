//! AMD's virtualisation: the instructions and registers that are not in entry code.
//!
//! Purpose: prepare a core to run virtual CPUs, and move between host and guest what the processor leaves to software.
//! Invariants: EFER.SVME stays set on a core that was prepared. Guest values of XCR0 and the breakpoint addresses are in the
//! registers only while nothing depends on them: the host's DR7 enables nothing.
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
#[must_use]
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
        x86::msr::wrmsr(x86::msr::IA32_EFER, efer | EFER_SVME);
        x86::msr::wrmsr(VM_HSAVE_PA, pages.get());
        asm!("vmsave rax", in("rax") state.get(), options(nostack, preserves_flags));
    }
    state
}

/// Address of the code that enters a virtual CPU.
#[must_use]
pub fn entry() -> u64 {
    let entry: unsafe extern "C" fn() = svm_enter;
    entry as usize as u64
}

/// XCR0.
///
/// # Safety
/// CR4 allows XSAVE.
#[must_use]
pub unsafe fn xcr0() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the caller's promise; reads a register.
    unsafe { asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags)) };
    u64::from(high) << 32 | u64::from(low)
}

/// Sets XCR0.
///
/// # Safety
/// CR4 allows XSAVE, the processor takes the value, and vector registers are neither saved nor loaded until it is the
/// host's again.
pub unsafe fn set_xcr0(value: u64) {
    let (low, high) = (value as u32, (value >> 32) as u32);
    // SAFETY: the caller's promise.
    unsafe { asm!("xsetbv", in("ecx") 0, in("eax") low, in("edx") high, options(nomem, nostack, preserves_flags)) };
}

/// The four breakpoint addresses.
#[must_use]
pub fn breakpoints() -> [u64; 4] {
    let [a, b, c, d]: [u64; 4];
    // SAFETY: reads registers.
    unsafe {
        asm!("mov {}, dr0", "mov {}, dr1", "mov {}, dr2", "mov {}, dr3",
            out(reg) a, out(reg) b, out(reg) c, out(reg) d, options(nomem, nostack, preserves_flags));
    }
    [a, b, c, d]
}

/// Sets them. DR7 enables none of them in the host.
pub fn set_breakpoints([a, b, c, d]: [u64; 4]) {
    // SAFETY: without DR7 the registers have no effect.
    unsafe {
        asm!("mov dr0, {}", "mov dr1, {}", "mov dr2, {}", "mov dr3, {}",
            in(reg) a, in(reg) b, in(reg) c, in(reg) d, options(nomem, nostack, preserves_flags));
    }
}
