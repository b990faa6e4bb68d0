//! Virtual CPUs on AMD's processors.
//!
//! Purpose: the back end for SVM with nested paging.
//! Invariants: XCR0, TSC_AUX and the breakpoint addresses are the guest's while it runs only. A guest's accesses to debug
//! registers exit until it has its addresses in them, which it then has until the next exit.
//! Concurrency: what is set up at boot does not change; the rest belongs to the core.
//! Source: AMD64 manual volume 2, chapter 15; `docs/src/decisions/0023-virtual-cpus.md`.
use crate::domain::closed_ports;
use crate::pool;
use crate::vcpu::{self, Backend};
use abi::address::PAGE_SIZE;
use abi::{Mtd, PhysAddr, hip};
use arch::entry::GuestEntry;
use arch::features::Features;
use arch::{control, svm};
use core::sync::atomic::Ordering;
use guest::svm::{Entry, Guest, initialise};
use guest::{Exit, extra, load};
use memory::frames::{Order, OutOfMemory};
use objects::{Context, Domain, Page};

/// What boot has found and made.
pub struct Svm {
    tags: u64,
    msr_map: PhysAddr,
    /// Components of vector state.
    components: u64,
    /// The map without ports.
    io_map: PhysAddr,
    has_tsc_aux: bool,
}

/// MSRs that are the guest's own: FS base, GS base, kernel GS base. Each has two bits, from the second half of the second
/// 2 KiB of the map on (C000_0000 to C000_1FFF).
const OWN_MSRS: [u64; 3] = [0x100, 0x101, 0x102];
const MSR_RANGE: u64 = 0x800;

impl Svm {
    /// Finds out whether virtual CPUs can run, on the boot core.
    ///
    /// # Errors
    /// There is no memory.
    pub fn start(features: &Features) -> Result<Option<Self>, OutOfMemory> {
        let Some(tags) = svm::tags(features) else { return Ok(None) };
        let quota = pool::kernel().ok_or(OutOfMemory::Pool)?;
        // As large as that of ports, and as closed.
        let [msr_map, io_map] = [closed_ports(true, quota)?, closed_ports(true, quota)?];
        for register in OWN_MSRS {
            let byte = MSR_RANGE + register / 4;
            if let Some(page) = arch::pool::words(msr_map) {
                page[byte as usize / 8].fetch_and(!(3 << (byte % 8 * 8 + register % 4 * 2)), Ordering::Relaxed);
            }
        }
        Ok(Some(Self {
            tags,
            components: features.vector_state.components,
            msr_map,
            io_map,
            has_tsc_aux: features.tsc_aux,
        }))
    }
}

fn guest(vcpu: &Context) -> Guest<'_> {
    Guest { frame: vcpu.frame(), block: vcpu.identity().message, extra: vcpu::extra(vcpu) }
}

/// Puts the guest's breakpoint addresses into the registers.
fn give_breakpoints(guest: &Guest<'_>) {
    vcpu::load_breakpoints(guest.extra);
    guest.withhold_breakpoints(false);
}

impl Backend for Svm {
    fn feature(&self) -> hip::Features {
        hip::Features::SVM
    }

    fn start_core(&self) -> Result<(), OutOfMemory> {
        let pages = pool::address(pool::zeroed(Order::covering(2 * PAGE_SIZE).unwrap_or(Order::MAX))?);
        // SAFETY: `start` found that virtual CPUs can run; cores are alike. The pages were just handed out to us.
        let state = unsafe { svm::enable(pages) };
        percpu::this().local.host_state.set(state.get());
        Ok(())
    }

    fn initialise(&self, block: PhysAddr, extra: &Page, nested: PhysAddr) {
        if let Some(block) = arch::pool::words(block) {
            initialise(block, extra, self.msr_map, nested);
        }
    }

    fn enter(&self, vcpu: &Context, domain: &Domain) -> GuestEntry {
        let (guest, local) = (guest(vcpu), &percpu::this().local);
        let tag = local.tags.choose(guest.extra, domain.lost.load(Ordering::Acquire), self.tags);
        let ports = domain.ports[1].load(Ordering::Acquire);
        let io_map = if ports == 0 { self.io_map } else { PhysAddr::truncate(ports) };
        guest.prepare(&Entry { tag, io_map });
        if guest.uses_breakpoints() {
            give_breakpoints(&guest);
        }
        vcpu::load_xcr0(guest.extra, self.components);
        let aux = load(guest.extra, extra::TSC_AUX);
        if aux != u64::from(local.id.get()) && self.has_tsc_aux {
            // SAFETY: the register exists; `exited` sets it for ring 3 again.
            unsafe { control::set_tsc_aux(aux as u32) };
        }
        GuestEntry { block: load(guest.extra, extra::BLOCK), code: svm::entry() }
    }

    fn exited(&self, vcpu: &Context) -> (Exit, [u64; 2]) {
        let (guest, page) = (guest(vcpu), percpu::this());
        let id = page.local.id.get();
        vcpu::save_xcr0(guest.extra, self.components);
        if load(guest.extra, extra::TSC_AUX) != u64::from(id) && self.has_tsc_aux {
            // SAFETY: the register exists.
            unsafe { control::set_tsc_aux(id) };
        }
        if !guest.lacks_breakpoints() {
            vcpu::save_breakpoints(guest.extra);
            guest.withhold_breakpoints(true);
        }
        let exit = guest.exit();
        page.shared.count_exit(guest.reason(exit));
        if exit == Exit::Debug {
            give_breakpoints(&guest);
        }
        (exit, guest.information())
    }

    fn save(&self, vcpu: &Context, mtd: Mtd, event: u8, page: &Page) {
        guest(vcpu).save(mtd, event, arch::cpu::time_stamp, page);
    }

    fn restore(&self, vcpu: &Context, page: &Page) -> Mtd {
        guest(vcpu).restore(page, self.components)
    }
}
