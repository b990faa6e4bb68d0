//! Virtual CPUs on Intel's processors.
//!
//! Purpose: the back end for VMX with nested paging.
//! Invariants: a control structure is current on the core of its virtual CPU only, and given up before its page is; who makes
//! one gives it up at once. The rest is as for SVM.
//! Concurrency: what is set up at boot does not change; the rest belongs to the core.
//! Source: Intel SDM volume 3, chapters 23 to 28; `docs/src/decisions/0023-virtual-cpus.md`.
use crate::stop::give_up;
use crate::vcpu::{self, Backend};
use crate::{clock, pool};
use abi::PhysAddr;
use abi::address::PAGE_SIZE;
use arch::entry::GuestEntry;
use arch::features::Features;
use arch::vmx::Current;
use arch::{cpu, msr, vmx};
use core::sync::atomic::Ordering;
use guest::tags::Tag;
use guest::vmx::{Limits, MSRS, Structure, TSC_AUX, host, initialise, set_host_msr};
use guest::{Exit, Guest, extra, load, store};
use memory::frames::OutOfMemory;
use objects::{Context, Domain, Page};

/// What boot has found.
pub struct Vmx {
    limits: Limits,
}

/// Milliseconds that an entry lasts at most, on processors that forget interrupts.
const LONGEST: u64 = 10;

impl Backend for Vmx {
    type Fields = Current;
    /// Speculation control and prediction command; FS base, GS base, kernel GS base. Quarters of the map are for reads of 0 to
    /// 1FFF and of C000_0000 to C000_1FFF, and for writes.
    const OWN_MSRS: &'static [(usize, u64)] =
        &[(0x48 / 8, 3), (0x800 + 0x48 / 8, 3), (0x400 + 0x100 / 8, 7), (0xC00 + 0x100 / 8, 7)];

    fn find(features: &Features) -> Option<Self> {
        vmx::limits(features).map(|limits| Self { limits })
    }

    fn tags(&self) -> u64 {
        1 << 16
    }

    fn start_core(&self) -> Result<(), OutOfMemory> {
        // SAFETY: `find` found that virtual CPUs can run; cores are alike. The page was just handed out to us.
        if !unsafe { vmx::enable(pool::table()?) } {
            give_up!("a core does not enter VMX operation");
        }
        Ok(())
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn initialise(&self, block: PhysAddr, extra: &Page, msr_map: PhysAddr, nested: PhysAddr) {
        vmx::stamp(block);
        // SAFETY: a new page, with its stamp, which is given up at the end.
        let fields = unsafe {
            vmx::clear(block.get());
            Current::load(block.get())
        };
        fields.set_host();
        let longest = u64::from(clock::khz()) * LONGEST;
        initialise(fields, extra, &self.limits, longest, [block.offset(PAGE_SIZE), msr_map, nested]);
        for (index, register) in MSRS.into_iter().enumerate() {
            set_host_msr(extra, index, msr::read(register).unwrap_or(0));
        }
        // SAFETY: as above.
        unsafe { vmx::clear(block.get()) };
    }

    /// Its control structure becomes the current one.
    #[inline(always)]
    fn guest<'v>(&self, vcpu: &'v Context) -> Guest<'v, Self::Fields> {
        let extra = vcpu::extra(vcpu);
        // SAFETY: callers are on its core; `forget` gives it up.
        Guest { frame: vcpu.frame(), extra, fields: unsafe { Current::load(load(extra, extra::BLOCK)) } }
    }

    fn enter(&self, guest: &Guest<'_, Self::Fields>, domain: &Domain, tag: Tag, io_map: PhysAddr) -> GuestEntry {
        if tag.fresh {
            vmx::flush(PhysAddr::truncate(domain.nested.load(Ordering::Relaxed)), tag.flush);
        }
        guest.prepare(tag, io_map);
        guest.fields.vmwrite(host::CR3, cpu::tagged_root());
        cpu::set_fault_address(load(guest.extra, extra::CR2));
        let launched = load(guest.extra, extra::LAUNCHED);
        if launched == 0 {
            set_host_msr(guest.extra, TSC_AUX, percpu::this().local.id.get().into());
        }
        GuestEntry { block: 1 + launched, code: vmx::entry() }
    }

    fn exited(&self, guest: &Guest<'_, Self::Fields>) -> (Exit, u8) {
        let (address, failed) = (cpu::fault_address(), guest.frame.error.get() != 0);
        let exit = guest.exit(failed);
        if !failed {
            percpu::this().local.task_cut.set(true);
            store(guest.extra, extra::CR2, address);
            if !guest.entry_failed() {
                store(guest.extra, extra::LAUNCHED, 1);
            }
        }
        exit
    }

    fn forget(&self, vcpu: &Context) {
        // SAFETY: it has run on this core only, and does not run any more.
        unsafe { vmx::clear(load(vcpu::extra(vcpu), extra::BLOCK)) };
    }
}
