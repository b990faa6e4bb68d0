//! Virtual CPUs on Intel's processors.
//!
//! Purpose: the back end for VMX with nested paging.
//! Invariants: a control structure is current on the core of its virtual CPU only, and given up before its page is; who makes
//! one gives it up at once. The rest is as for SVM.
//! Concurrency: what is set up at boot does not change; the rest belongs to the core.
//! Source: Intel SDM volume 3, chapters 23 to 28; `docs/src/decisions/0023-virtual-cpus.md`.
use crate::domain::closed_ports;
use crate::stop::give_up;
use crate::vcpu::{self, Backend};
use crate::{clock, pool};
use abi::address::PAGE_SIZE;
use abi::{Mtd, PhysAddr, hip};
use arch::entry::GuestEntry;
use arch::features::Features;
use arch::vmx::Current;
use arch::{cpu, msr, vmx};
use core::sync::atomic::Ordering;
use guest::vmx::{Fields, Guest, Limits, MSRS, TSC_AUX, host, initialise, set_host_msr};
use guest::{Exit, extra, load, store};
use memory::frames::OutOfMemory;
use objects::{Context, Domain, Page};

/// What boot has found and made.
pub struct Vmx {
    limits: Limits,
    msr_map: PhysAddr,
    /// The map without ports.
    io_map: PhysAddr,
}

/// MSRs that are the guest's own, in bytes of the map, whose quarters are for reads of 0 to 1FFF and of C000_0000 to
/// C000_1FFF, and for writes: speculation control and prediction command; FS base, GS base, kernel GS base.
const OWN_MSRS: [(usize, u64); 4] =
    [(0x48 / 8, 3), (0x800 + 0x48 / 8, 3), (0x400 + 0x100 / 8, 7), (0xC00 + 0x100 / 8, 7)];
/// Milliseconds that an entry lasts at most, on processors that forget interrupts.
const LONGEST: u64 = 10;
/// Tags that there are.
const TAGS: u64 = 1 << 16;

impl Vmx {
    /// Finds out whether virtual CPUs can run, on the boot core.
    ///
    /// # Errors
    /// There is no memory.
    pub fn start(features: &Features) -> Result<Option<Self>, OutOfMemory> {
        let Some(limits) = vmx::limits(features) else { return Ok(None) };
        let quota = pool::kernel().ok_or(OutOfMemory::Pool)?;
        let [msr_map, io_map] = [closed_ports(true, quota)?, closed_ports(true, quota)?];
        for (byte, bits) in OWN_MSRS {
            if let Some(page) = arch::pool::words(msr_map) {
                page[byte / 8].fetch_and(!(bits << (byte % 8 * 8)), Ordering::Relaxed);
            }
        }
        Ok(Some(Self { limits, msr_map, io_map }))
    }
}

/// Its control structure becomes the current one.
fn guest(vcpu: &Context) -> Guest<'_, Current> {
    let extra = vcpu::extra(vcpu);
    // SAFETY: callers are on its core; `forget` gives it up.
    Guest { frame: vcpu.frame(), extra, fields: unsafe { Current::load(load(extra, extra::BLOCK)) } }
}

fn give_breakpoints(guest: &Guest<'_, Current>) {
    vcpu::load_breakpoints(guest.extra);
    guest.withhold_breakpoints(false);
}

impl Backend for Vmx {
    fn feature(&self) -> hip::Features {
        hip::Features::VMX
    }

    fn start_core(&self) -> Result<(), OutOfMemory> {
        // SAFETY: `start` found that virtual CPUs can run; cores are alike. The page was just handed out to us.
        if !unsafe { vmx::enable(pool::table()?) } {
            give_up!("a core does not enter VMX operation");
        }
        Ok(())
    }

    fn initialise(&self, block: PhysAddr, extra: &Page, nested: PhysAddr) {
        vmx::stamp(block);
        // SAFETY: a new page, with its stamp, which is given up at the end.
        let fields = unsafe {
            vmx::clear(block.get());
            Current::load(block.get())
        };
        fields.set_host();
        let longest = u64::from(clock::khz()) * LONGEST;
        initialise(&fields, extra, &self.limits, longest, [block.offset(PAGE_SIZE), self.msr_map, nested]);
        for (index, register) in MSRS.into_iter().enumerate() {
            set_host_msr(extra, index, msr::read(register).unwrap_or(0));
        }
        // SAFETY: as above.
        unsafe { vmx::clear(block.get()) };
    }

    fn enter(&self, vcpu: &Context, domain: &Domain) -> GuestEntry {
        let (guest, local) = (guest(vcpu), &percpu::this().local);
        let tag = local.tags.choose(guest.extra, domain.lost.load(Ordering::Acquire), TAGS);
        if tag.fresh {
            vmx::flush(PhysAddr::truncate(domain.nested.load(Ordering::Relaxed)), tag.flush);
        }
        let ports = domain.ports[1].load(Ordering::Acquire);
        guest.prepare(tag.number, if ports == 0 { self.io_map } else { PhysAddr::truncate(ports) });
        guest.fields.write(host::CR3, cpu::tagged_root());
        if guest.uses_breakpoints() {
            give_breakpoints(&guest);
        }
        vcpu::load_xcr0(guest.extra, self.limits.components);
        cpu::set_fault_address(load(guest.extra, extra::CR2));
        let launched = load(guest.extra, extra::LAUNCHED);
        if launched == 0 {
            set_host_msr(guest.extra, TSC_AUX, local.id.get().into());
        }
        GuestEntry { block: 1 + launched, code: vmx::entry() }
    }

    fn exited(&self, vcpu: &Context) -> (Exit, [u64; 2]) {
        let (address, guest) = (cpu::fault_address(), guest(vcpu));
        let failed = vcpu.frame().error.get() != 0;
        vcpu::save_xcr0(guest.extra, self.limits.components);
        if !guest.lacks_breakpoints() {
            vcpu::save_breakpoints(guest.extra);
            guest.withhold_breakpoints(true);
        }
        let (exit, event) = guest.exit(failed);
        percpu::this().shared.count_exit(event);
        if !failed {
            percpu::this().local.task_cut.set(true);
            store(guest.extra, extra::CR2, address);
            if !guest.entry_failed() {
                store(guest.extra, extra::LAUNCHED, 1);
            }
        }
        match exit {
            Exit::Debug => give_breakpoints(&guest),
            Exit::Trap(bits) => vmx::note_trap(bits),
            _ => {}
        }
        (exit, guest.information())
    }

    fn save(&self, vcpu: &Context, mtd: Mtd, event: u8, page: &Page) {
        guest(vcpu).save(mtd, event, cpu::time_stamp, page);
    }

    fn restore(&self, vcpu: &Context, page: &Page) -> Mtd {
        guest(vcpu).restore(page, &self.limits)
    }

    fn forget(&self, vcpu: &Context) {
        // SAFETY: it has run on this core only, and does not run any more.
        unsafe { vmx::clear(load(vcpu::extra(vcpu), extra::BLOCK)) };
    }
}
