//! Virtual CPUs on AMD's processors.
//!
//! Purpose: the back end for SVM with nested paging.
//! Invariants: XCR0, TSC_AUX and the breakpoint addresses are the guest's while it runs only. A guest's accesses to debug
//! registers exit until it has its addresses in them, which it then has until the next exit.
//! Concurrency: what is set up at boot does not change; the rest belongs to the core.
//! Source: AMD64 manual volume 2, chapter 15; `docs/src/decisions/0023-virtual-cpus.md`.
use crate::pool;
use crate::vcpu::{self, Backend};
use abi::PhysAddr;
use abi::address::PAGE_SIZE;
use arch::entry::GuestEntry;
use arch::features::Features;
use arch::{control, svm};
use guest::svm::{Block, initialise};
use guest::tags::Tag;
use guest::{Exit, Guest, extra, load};
use memory::frames::{Order, OutOfMemory};
use objects::{Context, Domain, Page};

/// What boot has found.
pub struct Svm {
    tags: u64,
    has_tsc_aux: bool,
}

impl Backend for Svm {
    type Fields = Block<'static>;
    /// FS base, GS base, kernel GS base. Each MSR has two bits, from the second half of the second 2 KiB of the map on
    /// (C000_0000 to C000_1FFF).
    const OWN_MSRS: &'static [(usize, u64)] = &[(0x800 + 0x100 / 4, 0x3F)];

    fn find(features: &Features) -> Option<Self> {
        svm::tags(features).map(|tags| Self { tags, has_tsc_aux: features.tsc_aux })
    }

    fn tags(&self) -> u64 {
        self.tags
    }

    fn start_core(&self) -> Result<(), OutOfMemory> {
        let pages = pool::address(pool::zeroed(Order::covering(2 * PAGE_SIZE).unwrap_or(Order::MAX))?);
        // SAFETY: `find` found that virtual CPUs can run; cores are alike. The pages were just handed out to us.
        let state = unsafe { svm::enable(pages) };
        percpu::this().local.host_state.set(state.get());
        Ok(())
    }

    fn limits(&self) -> &() {
        &()
    }

    fn initialise(&self, block: PhysAddr, extra: &Page, msr_map: PhysAddr, nested: PhysAddr) {
        if let Some(block) = arch::pool::words(block) {
            initialise(Block(block), extra, msr_map, nested);
        }
    }

    fn guest<'v>(&self, vcpu: &'v Context) -> Guest<'v, Self::Fields> {
        Guest { frame: vcpu.frame(), extra: vcpu::extra(vcpu), fields: Block(vcpu.identity().message) }
    }

    fn enter(&self, guest: &Guest<'_, Self::Fields>, _: &Domain, tag: Tag, io_map: PhysAddr) -> GuestEntry {
        guest.prepare(tag, io_map);
        let aux = load(guest.extra, extra::TSC_AUX);
        if aux != u64::from(percpu::this().local.id.get()) && self.has_tsc_aux {
            // SAFETY: the register exists; `exited` sets it for ring 3 again.
            unsafe { control::set_tsc_aux(aux as u32) };
        }
        GuestEntry { block: load(guest.extra, extra::BLOCK), code: svm::entry() }
    }

    fn exited(&self, guest: &Guest<'_, Self::Fields>) -> (Exit, u8) {
        let id = percpu::this().local.id.get();
        if load(guest.extra, extra::TSC_AUX) != u64::from(id) && self.has_tsc_aux {
            // SAFETY: the register exists.
            unsafe { control::set_tsc_aux(id) };
        }
        let exit = guest.exit();
        (exit, guest.reason(exit))
    }
}
