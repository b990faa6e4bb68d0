//! Intel's virtualisation: the instructions and registers that are not in entry code.
//!
//! Purpose: prepare a core to run virtual CPUs, and reach the fields of a control structure.
//! Invariants: a core that was prepared stays in VMX operation.
//! Concurrency: acts on the calling core; a control structure is used on one core at a time.
//! Source: Intel SDM volume 3, chapters 23, 24, 30 and appendix A.
use crate::features::Features;
use crate::msr;
use abi::{PhysAddr, address::PAGE_SIZE};
use core::arch::asm;
use guest::vmx::{Limits, MSRS, Structure, host};
use memory::layout::{CORE_LOCAL, STACK_TOP};
use percpu::{CoreLocal, SELECTOR_TSS};
use x86::bits64::vmx;
use x86::msr as number;

const CR4_VMXE: u64 = 1 << 13;
const CR0_TS: u64 = 1 << 3;
/// In the register of the firmware: it cannot be changed any more; VMX is allowed.
const LOCKED: u64 = 1 << 0;
const ALLOWED: u64 = 1 << 2;
/// Of nested tables and tags: four levels, write-back, 2 MiB, flushing one table and all tags.
const NEEDED: u64 = 1 << 6 | 1 << 14 | 1 << 16 | 1 << 25 | 1 << 42;
/// In the same register: leaves of 1 GiB.
const GIANT: u64 = 1 << 17;

// SAFETY: defined by `entry.s`; only their addresses are used.
unsafe extern "C" {
    fn vmx_enter();
    fn vmx_exit();
}

/// What the processor allows, if virtual CPUs can run.
pub fn limits(features: &Features) -> Option<Limits> {
    let basic = msr::read(number::IA32_VMX_BASIC).filter(|_| features.vmx)?;
    let control = msr::read(number::IA32_FEATURE_CONTROL)?;
    let exact = u32::from(basic >> 55 & 1 != 0) * (number::IA32_VMX_TRUE_PINBASED_CTLS - number::IA32_VMX_PINBASED_CTLS);
    let read = |register| msr::read(register).unwrap_or(0);
    let limits = Limits {
        pin: read(number::IA32_VMX_PINBASED_CTLS + exact),
        primary: read(number::IA32_VMX_PROCBASED_CTLS + exact),
        secondary: read(number::IA32_VMX_PROCBASED_CTLS2),
        exit: read(number::IA32_VMX_EXIT_CTLS + exact),
        entry: read(number::IA32_VMX_ENTRY_CTLS + exact),
        msrs: MSRS.iter().take_while(|&&register| msr::read(register).is_some()).count() as u64,
        timer_shift: read(number::IA32_VMX_MISC) & 31,
    };
    let tables = read(number::IA32_VMX_EPT_VPID_CAP) & NEEDED == NEEDED;
    let locked_out = control & LOCKED != 0 && control & ALLOWED == 0;
    (limits.suffice() && tables && !locked_out).then_some(limits)
}

/// Whether nested tables have leaves of 1 GiB, if there are any.
pub fn has_giant_pages() -> bool {
    msr::read(number::IA32_VMX_EPT_VPID_CAP).unwrap_or(0) & GIANT != 0
}

/// Makes an empty page one that VMXON or VMCLEAR takes.
pub fn stamp(page: PhysAddr) {
    let revision = msr::read(number::IA32_VMX_BASIC).unwrap_or(0) & 0x7FFF_FFFF;
    if let Some(words) = crate::pool::words(page) {
        words[0].store(revision, core::sync::atomic::Ordering::Relaxed);
    }
}

/// Lets the calling core run virtual CPUs, with a page that the processor uses from now on. Whether it can.
///
/// # Safety
/// [`limits`] found that it can; the page is used for nothing else, for ever.
pub unsafe fn enable(page: PhysAddr) -> bool {
    stamp(page);
    // SAFETY: the caller's promise.
    unsafe {
        if x86::msr::rdmsr(number::IA32_FEATURE_CONTROL) & LOCKED == 0 {
            crate::msr::set(number::IA32_FEATURE_CONTROL, LOCKED | ALLOWED);
        }
        asm!("mov {0}, cr4", "or {0}, {1}", "mov cr4, {0}", out(reg) _, in(reg) CR4_VMXE, options(nostack));
        vmx::vmxon(page.get()).is_ok()
    }
}

/// The current control structure of the core.
#[derive(Clone, Copy, Debug)]
pub struct Current(());

impl Current {
    /// Makes the control structure in `page` the current one.
    ///
    /// # Safety
    /// The page is a virtual CPU's of this core, was cleared once, and is given up with [`clear`].
    #[inline]
    pub unsafe fn load(page: u64) -> Self {
        let known = &percpu::this().local.host_state;
        if known.get() != page {
            // SAFETY: the caller's promise. It cannot fail then.
            let _ = unsafe { vmx::vmptrld(page) };
            known.set(page);
        }
        Self(())
    }

    /// Writes what of the host never changes, but for MSRs.
    pub fn set_host(&self) {
        let (cr0, cr4): (u64, u64);
        // SAFETY: reads registers.
        unsafe { asm!("mov {}, cr0", "mov {}, cr4", out(reg) cr0, out(reg) cr4, options(nomem, nostack)) };
        let read = |register| msr::read(register).unwrap_or(0);
        let [exit, idt] = [vmx_exit as *const () as u64, crate::descriptors::gates()];
        let words = [
            (host::CS_SELECTOR, 0x08),
            (host::SS_SELECTOR, 0x10),
            (host::TR_SELECTOR, SELECTOR_TSS.into()),
            (host::IA32_PAT_FULL, read(number::IA32_PAT)),
            (host::IA32_EFER_FULL, read(number::IA32_EFER)),
            // Vector registers hold the guest's state after an exit.
            (host::CR0, cr0 | CR0_TS),
            (host::CR4, cr4),
            (host::TR_BASE, CORE_LOCAL + CoreLocal::TASK as u64),
            (host::GDTR_BASE, CORE_LOCAL + CoreLocal::GDT as u64),
            (host::IDTR_BASE, idt),
            (host::RSP, STACK_TOP),
            (host::RIP, exit),
        ];
        words.into_iter().for_each(|(field, value)| self.vmwrite(field, value));
    }
}

impl Structure for Current {
    #[inline]
    fn vmread(self, field: u32) -> u64 {
        let value: u64;
        // SAFETY: there is a current control structure; a field that is none leaves the register as it is.
        unsafe { asm!("vmread {}, {}", inout(reg) 0_u64 => value, in(reg) u64::from(field), options(nostack)) };
        value
    }

    #[inline]
    fn vmwrite(self, field: u32, value: u64) {
        // SAFETY: as above. What is written here has an effect on guests; on the host only by `set_host` and the current
        // tables, which are what they are now.
        unsafe { asm!("vmwrite {}, {}", in(reg) u64::from(field), in(reg) value, options(nostack)) };
    }
}

/// Takes a control structure away from the core, or prepares it for its first use.
///
/// # Safety
/// The page is a virtual CPU's first one, with its stamp.
pub unsafe fn clear(page: u64) {
    // SAFETY: the caller's promise.
    let _ = unsafe { vmx::vmclear(page) };
    let known = &percpu::this().local.host_state;
    if known.get() == page {
        known.set(0);
    }
}

/// Address of the code that enters a virtual CPU.
pub fn entry() -> u64 {
    vmx_enter as *const () as u64
}

/// Forgets what the core has cached of the nested table at `nested`, and with `all` of linear addresses of all guests.
pub fn flush(nested: PhysAddr, all: bool) {
    let [table, everything] = [[nested.get() | 6 | 3 << 3, 0], [0; 2]];
    // SAFETY: forgetting translations has no effect but new walks.
    unsafe {
        asm!("invept {}, [{}]", in(reg) 1_u64, in(reg) &table, options(nostack));
        if all {
            asm!("invvpid {}, [{}]", in(reg) 2_u64, in(reg) &everything, options(nostack));
        }
    }
}

/// Has the handler of `vector`, NMI or machine check, run for what has ended an entry instead; NMIs are let through again.
pub fn take(vector: u8) {
    // SAFETY: the handlers return to where they were called from, and keep all registers.
    unsafe {
        if vector == 2 {
            asm!("int 2");
        } else {
            asm!("int 18");
        }
    }
}

/// Sets bits of DR6.
pub fn note_trap(bits: u64) {
    // SAFETY: the register only tells why a trap came.
    unsafe { asm!("mov {0}, dr6", "or {0}, {1}", "mov dr6, {0}", out(reg) _, in(reg) bits & 0xE00F, options(nostack)) };
}

/// Makes the task register show the whole port bitmap again, whose limit an exit cuts. Whether it was cut.
pub fn mend_task_register() -> bool {
    let whole = percpu::this().local.task_cut.replace(false);
    if whole {
        // SAFETY: the descriptor is the one that boot has made, and not in use by anybody else.
        unsafe {
            percpu::this().mend_task_descriptor();
            x86::task::load_tr(x86::segmentation::SegmentSelector::from_raw(SELECTOR_TSS));
        }
    }
    whole
}

const _: () = assert!(PAGE_SIZE == 4096);
