//! What cores remember of tables: the machine below `memory::shootdown`.
//!
//! Purpose: interrupts, flushes, and which protocol runs.
//! Invariants: what was mapped is taken from the tables of a domain by [`restrict`] only, tables without anything in them by
//! `tidy`, and what views have of them by `cache` and `views`.
//! Concurrency: the calling core; requests to others as the protocol has them. [`Shootdown::finish`] is called with no spin lock
//! held: who waits for one has interrupts off and serves nobody. Who waits for a region serves requests.
//! Source: `docs/src/shootdown.md`.
use crate::cores::{self, RunningCore};
use crate::domain::Tables;
use crate::log::{info, warning};
use crate::mapping::lock;
use crate::tables::HARDWARE;
use abi::address::PAGE_BITS;
use abi::counter::Counter;
use abi::operation::Noted;
use abi::{PhysAddr, VirtAddr};
use arch::window::View;
use arch::{apic, cpu};
use core::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed},
};
use memory::format::{Attributes, Format, Host};
use memory::mmu::{Mmu, Noting};
use memory::shootdown::{Acknowledged, Core, Costs, Machine, Pages, Shootdown};
use memory::space::Space;
use objects::Domain;
use percpu::Hazard;

/// log2 of the bytes of a large leaf.
const LARGE_BITS: u32 = PAGE_BITS + 9;
static NAIVE: AtomicBool = AtomicBool::new(false);
static TAGS: AtomicBool = AtomicBool::new(false);
/// Pages that are forgotten one by one; of more than these, everything is.
static SINGLE: AtomicU64 = AtomicU64::new(Costs::USUAL);

/// Whether what cores remember is tagged with the domain.
pub fn has_tags() -> bool {
    TAGS.load(Relaxed)
}

/// Uses tags from now on, which all cores have.
pub fn use_tags() {
    TAGS.store(true, Relaxed);
}

/// Uses the protocol to compare with.
pub fn be_naive() {
    NAIVE.store(true, Relaxed);
}

/// Decides, on the boot core, up to how many pages are forgotten one by one: `wanted`, or what costs less by a measurement
/// with the memory at `memory`, of a few pages more than [`Costs::PAGES`].
pub fn decide(wanted: Option<u64>, memory: PhysAddr) {
    let costs = measure(memory).unwrap_or_default();
    let threshold = wanted.unwrap_or(costs.threshold());
    SINGLE.store(threshold, Relaxed);
    info!("flushes: up to {threshold} pages one by one{}; {costs}", if wanted.is_some() { ", as told" } else { "" });
}

fn measure(memory: PhysAddr) -> Option<Costs> {
    const PAGES: usize = Costs::PAGES as usize;
    let view = View::new(memory, (PAGES + 1) << PAGE_BITS, Attributes::READ)?;
    let start = view.start().addr().get() as u64;
    // Everything before a flush is done when that is; of a page that is not used otherwise.
    let ticks = |work: &dyn Fn()| {
        let before = cpu::time_stamp();
        work();
        cpu::flush_page(start + (Costs::PAGES << PAGE_BITS));
        cpu::time_stamp() - before
    };
    let single = || (0..Costs::PAGES).for_each(|page| cpu::flush_page(start + (page << PAGE_BITS)));
    // SAFETY: reads memory. In different lines of the caches.
    let read = || (0..PAGES).for_each(|page| _ = unsafe { view.register(page * ((1 << PAGE_BITS) + 64)) });
    // SAFETY: the root and tag that are loaded already.
    let all = || unsafe { cpu::load_root(cpu::tagged_root()) };
    let mut least = [u64::MAX; 5];
    for _ in 0..16 {
        let works: [&dyn Fn(); 5] = [&|| {}, &all, &single, &read, &read];
        least.iter_mut().zip(works).for_each(|(least, work)| *least = ticks(work).min(*least));
    }
    let [nothing, all, single, cold, warm] = least;
    Some(Costs { single: single.saturating_sub(nothing), all: all.saturating_sub(nothing), cold, warm })
}

/// A shootdown with nothing in it so far.
pub fn shootdown() -> Shootdown {
    Shootdown::new(NAIVE.load(Relaxed))
}

/// The acknowledgement of all that was taken before, by whatever core.
#[inline]
pub fn earlier() -> Acknowledged {
    Acknowledged::of_earlier(&Cores)
}

/// The acknowledgement of what this core has taken without waiting, if it is there.
pub fn landed() -> Option<Acknowledged> {
    Acknowledged::of_landed(&Cores)
}

/// The acknowledgement of a domain that nobody uses any more: no core has its tables loaded.
pub fn ended(domain: &Domain) -> Option<Acknowledged> {
    Acknowledged::of_ended(&Cores, &|id| view(domain, id))
}

/// Cores whose revocations others may not have noticed yet.
static FLIGHTS: AtomicU64 = AtomicU64::new(0);

/// The cores that run, seen from the calling one.
pub struct Cores;

impl Machine for Cores {
    #[inline]
    fn cores(&self) -> u32 {
        cores::running().len() as u32
    }

    #[inline]
    fn own(&self) -> u32 {
        percpu::this().local.id.get()
    }

    #[inline]
    fn core(&self, id: u32) -> &Core {
        &cores::running().get(id as usize).map_or(&percpu::this().shared, RunningCore::shared).core
    }

    #[inline]
    fn interrupt(&self, ids: impl Iterator<Item = u32>, count: u32) {
        percpu::this().shared.count(Counter::InterruptsSent, count.into());
        if count > 1 && count + 1 == self.cores() {
            return apic::send_request_to_others();
        }
        ids.filter_map(|id| cores::running().get(id as usize)).for_each(|core| apic::send_request(core.apic_id()));
    }

    fn flush(&self, pages: Pages) {
        #[cfg(feature = "selftest")]
        if crate::provoke::NO_FLUSH.load(Relaxed) {
            return;
        }
        #[cfg(feature = "shadow")]
        crate::shadow::note(|shadow, own| shadow.forgets(own, pages));
        let shared = &percpu::this().shared;
        let Some((start, count)) = pages.range() else {
            shared.count(Counter::FullFlushes, 1);
            shared.count(Counter::RootLoads, 1);
            // SAFETY: the root and tag that are loaded already; translations of user memory are not global.
            return unsafe { cpu::load_root(cpu::tagged_root()) };
        };
        shared.count(Counter::PageFlushes, count);
        (0..count).for_each(|page| cpu::flush_page(start + (page << abi::address::PAGE_BITS)));
    }

    #[inline]
    fn threshold(&self) -> u64 {
        SINGLE.load(Relaxed)
    }

    fn landed(&self, id: u32) {
        let Some((shared, apic_id)) = cores::remote(id) else { return };
        shared.raise(Hazard::Landed);
        percpu::this().shared.count(Counter::InterruptsSent, 1);
        apic::send_request(apic_id);
    }

    fn flights(&self) -> &AtomicU64 {
        &FLIGHTS
    }

    #[cfg(feature = "shadow")]
    fn is_watched(&self) -> bool {
        true
    }

    #[cfg(feature = "shadow")]
    fn lost(&self, id: u32, root: PhysAddr, pages: Pages, led: impl FnOnce() -> bool) {
        crate::shadow::tell(|shadow, own| if led() { shadow.lost(own, id, root.get(), pages) } else { Ok(()) });
    }

    #[cfg(feature = "shadow")]
    fn returns(&self) {
        crate::shadow::tell(memory::shadow::Shadow::returns);
    }
}

/// Makes this core forget what it was asked to; whether it was asked to.
#[inline]
pub fn serve() -> bool {
    percpu::this().shared.core.serve(&Cores)
}

/// What is noted of `count` pages, at most 64, from `virt` on: which were accessed and which are dirty, the first in bit 0. With
/// `clear` that is noted anew from now on.
pub fn evidence(domain: &Domain, virt: u64, count: u64, clear: bool) -> [u64; 2] {
    let (view, mut shootdown) = (|id| view(domain, id), shootdown());
    let space = Space { master: &domain.master(), view: &view };
    let (mut found, mut large) = ([0, 0], None);
    let region = lock::of(domain, domain);
    for page in 0..count {
        let at = VirtAddr::new(virt + (page << PAGE_BITS));
        // The pages of a large leaf have the same; it is asked once.
        let known = large.filter(|&(start, _)| start == at.get() >> LARGE_BITS);
        let noted = known.map(|(_, noted)| noted).or_else(|| {
            let (noted, level) = space.evidence((&HARDWARE, &Cores), at, clear, &mut shootdown)?;
            large = (level > 1).then_some((at.get() >> LARGE_BITS, noted));
            Some(noted)
        });
        for (word, bit) in found.iter_mut().zip([Host::ACCESSED, Host::EVIDENCE & !Host::ACCESSED]) {
            *word |= u64::from(noted.unwrap_or(0) & bit != 0) << page;
        }
    }
    drop(region);
    shootdown.finish(&Cores);
    found
}

/// The root of the domain's view on core `id`, if it has one.
#[inline]
pub fn view(domain: &Domain, id: u32) -> Option<PhysAddr> {
    let view = domain.views.get(id as usize)?.load(Acquire);
    (view != 0).then(|| PhysAddr::truncate(view))
}

/// Leaves of `size` bytes at `virt` only the rights in `left`, or nothing, in the domain's master and in what its cores have
/// copied of it; its region is held. What the processors remember is left to `shootdown`.
pub fn restrict(domain: &Domain, range: (u64, u64), left: Attributes, shootdown: &mut Shootdown) {
    restrict_by(&HARDWARE, domain, range, left, shootdown);
}

/// As [`restrict`]; what was noted of it.
pub fn restrict_noting(domain: &Domain, range: (u64, u64), left: Attributes, shootdown: &mut Shootdown) -> Noted {
    let noting = Noting::<_, Host>::new(&HARDWARE);
    restrict_by(&noting, domain, range, left, shootdown);
    noting.noted()
}

#[inline(always)]
fn restrict_by(mmu: &impl Mmu, domain: &Domain, (virt, size): (u64, u64), left: Attributes, shootdown: &mut Shootdown) {
    let view = |id| view(domain, id);
    let (space, range) = (Space { master: &domain.master(), view: &view }, (VirtAddr::new(virt), size));
    if space.restrict((mmu, &Cores), range, left, &mut Tables(domain), shootdown).is_err() {
        warning!("no kernel memory to divide a large page at {virt:#x}");
    }
}

/// As [`restrict`], where all of the range lies in the table `leaves`.
#[inline(always)]
pub fn restrict_leaves(
    domain: &Domain,
    leaves: PhysAddr,
    (virt, size): (u64, u64),
    left: Attributes,
    shootdown: &mut Shootdown,
) {
    let view = |id| view(domain, id);
    let (space, range) = (Space { master: &domain.master(), view: &view }, (VirtAddr::new(virt), size));
    space.restrict_leaves((&HARDWARE, &Cores), leaves, range, left, shootdown);
}

/// Takes large leaves of a domain, [`Space::take_large`]; its region is held.
#[inline(always)]
pub fn take_large(domain: &Domain, directory: PhysAddr, (virt, size): (u64, u64), shootdown: &mut Shootdown) -> bool {
    let view = |id| view(domain, id);
    let (space, range) = (Space { master: &domain.master(), view: &view }, (VirtAddr::new(virt), size));
    space.take_large((&HARDWARE, &Cores), directory, range, shootdown)
}
