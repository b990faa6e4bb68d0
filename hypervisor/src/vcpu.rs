//! Virtual CPUs.
//!
//! Purpose: contexts in guest mode: entered like threads, by what the processor offers ([`Backend`], chosen at boot); their
//! exits become calls through the portals of their domain.
//! Invariants: a virtual CPU uses no tables of its core but the kernel's, so that its domain's are not loaded for it and its
//! portals are looked up without them. Its vector registers are loaded before it is entered. Nothing of a guest's
//! instructions or devices is known here.
//! Concurrency: the core of the virtual CPU; the host's interrupts end an entry, and are taken where nothing is borrowed.
//! Source: interface §4 and §6; design plan §3; `docs/src/decisions/0023-virtual-cpus.md`.
use crate::log::info;
use crate::mapping::lock;
use crate::stop::give_up;
use crate::svm::Svm;
use crate::vmx::Vmx;
use crate::{call, contexts, domain, fast, pool, switch, trap, vectors};
use abi::address::PAGE_SIZE;
use abi::{Mtd, PhysAddr, hip};
use arch::entry::GuestEntry;
use arch::exchange;
use arch::features::Features;
use core::sync::atomic::{AtomicBool, Ordering};
use guest::tags::Tag;
use guest::{Exit, Fields, Guest, extra};
use memory::format::Attributes;
use memory::frames::{Order, OutOfMemory};
use memory::shootdown::bit;
use memory::table::MapError;
use objects::frame::Frame;
use objects::{Context, Domain, Page};
use sync::Once;

/// A way of running virtual CPUs.
pub trait Backend: Sync + Sized {
    /// What their registers are in.
    type Fields: Fields;
    /// MSRs that are the guest's own: bits of bytes of the map of those that exit.
    const OWN_MSRS: &'static [(usize, u64)];
    /// Finds out, on the boot core, whether the processors offer it.
    fn find(features: &Features) -> Option<Self>;
    /// Number of tags, the host's included.
    fn tags(&self) -> u64;
    /// Prepares the calling core.
    ///
    /// # Errors
    /// There is no memory.
    fn start_core(&self) -> Result<(), OutOfMemory>;
    /// What the processors allow.
    fn limits(&self) -> &<Self::Fields as Fields>::Limits;
    /// Makes two empty pages, of which the first is at `block`, those of a virtual CPU whose guest sees the memory of the
    /// table `nested`.
    fn initialise(&self, block: PhysAddr, extra: &Page, msr_map: PhysAddr, nested: PhysAddr);
    /// A virtual CPU of this core.
    fn guest<'v>(&self, vcpu: &'v Context) -> Guest<'v, Self::Fields>;
    /// Loads what entry code does not, and says how to enter.
    fn enter(&self, guest: &Guest<'_, Self::Fields>, domain: &Domain, tag: Tag, io_map: PhysAddr) -> GuestEntry;
    /// Takes back what [`Self::enter`] has loaded. Why it came back, and the event, also if nobody is told of it.
    fn exited(&self, guest: &Guest<'_, Self::Fields>) -> (Exit, u8);
    /// On its core, before the virtual CPU goes.
    fn forget(&self, _vcpu: &Context) {}
}

/// A back end with what is the same for all: what boot has found and made.
pub struct Host<B> {
    backend: B,
    /// Components of vector state.
    components: u64,
    msr_map: PhysAddr,
    /// The map without ports.
    io_map: PhysAddr,
}

impl<B: Backend> Host<B> {
    /// `None` in turn if the processors do not offer it.
    ///
    /// # Errors
    /// There is no memory.
    fn start(features: &Features) -> Result<Option<Self>, OutOfMemory> {
        let Some(backend) = B::find(features) else { return Ok(None) };
        let quota = pool::kernel().ok_or(OutOfMemory::Pool)?;
        // As large as that of ports, and as closed.
        let [msr_map, io_map] = [domain::closed_ports(true, quota)?, domain::closed_ports(true, quota)?];
        for (byte, bits) in B::OWN_MSRS {
            if let Some(page) = arch::pool::words(msr_map) {
                page[byte / 8].fetch_and(!(bits << (byte % 8 * 8)), Ordering::Relaxed);
            }
        }
        Ok(Some(Self { backend, components: features.vector_state.components, msr_map, io_map }))
    }

    fn enter(&self, vcpu: &Context, domain: &Domain) -> GuestEntry {
        let guest = self.backend.guest(vcpu);
        let lost = domain.lost.load(Ordering::Acquire);
        let tag = percpu::this().local.tags.choose(guest.extra, lost, self.backend.tags());
        let ports = domain.ports[1].load(Ordering::Acquire);
        let io_map = if ports == 0 { self.io_map } else { PhysAddr::truncate(ports) };
        let entry = self.backend.enter(&guest, domain, tag, io_map);
        if guest.uses_breakpoints() {
            give_breakpoints(&guest);
        }
        load_xcr0(guest.extra, self.components);
        entry
    }

    /// Why a virtual CPU came back, and details of an event.
    fn exited(&self, vcpu: &Context) -> (Exit, [u64; 2]) {
        let guest = self.backend.guest(vcpu);
        save_xcr0(guest.extra, self.components);
        if !guest.lacks_breakpoints() {
            let addresses = exchange::breakpoints();
            (extra::BREAKPOINTS..)
                .zip(addresses)
                .for_each(|(index, address)| guest::store(guest.extra, index, address));
            guest.withhold_breakpoints(true);
        }
        let (exit, event) = self.backend.exited(&guest);
        percpu::this().shared.count_exit(event);
        match exit {
            Exit::Debug => give_breakpoints(&guest),
            Exit::Trap(bits) => arch::vmx::note_trap(bits),
            _ => {}
        }
        (exit, guest.information())
    }

    /// Writes groups of registers into a message page, for a monitor that handles `event`.
    pub fn save(&self, vcpu: &Context, mtd: Mtd, event: u8, page: &Page) {
        self.backend.guest(vcpu).save(mtd, event, arch::cpu::time_stamp, page);
    }
}

/// Puts the guest's breakpoint addresses into the registers.
fn give_breakpoints(guest: &Guest<'_, impl Fields>) {
    exchange::set_breakpoints([0, 1, 2, 3].map(|index| guest::load(guest.extra, extra::BREAKPOINTS + index)));
    guest.withhold_breakpoints(false);
}

/// The one that was chosen.
enum Chosen {
    Svm(Host<Svm>),
    Vmx(Host<Vmx>),
}
static BACKEND: Once<Chosen> = Once::new();
static GIANT: AtomicBool = AtomicBool::new(false);

/// Does something with the back end, or with nothing if there is none; each is a case of its own for the compiler.
macro_rules! chosen {
    ($host:ident => $what:expr, $nothing:expr) => {
        match BACKEND.get() {
            Some(Chosen::Svm($host)) => $what,
            Some(Chosen::Vmx($host)) => $what,
            None => $nothing,
        }
    };
}

/// Finds out, on the boot core, what the processors offer. `None` without memory.
#[must_use]
pub fn start(features: &Features) -> Option<()> {
    let found = match Host::start(features).ok()? {
        Some(svm) => Some((Chosen::Svm(svm), "SVM")),
        None => Host::start(features).ok()?.map(|vmx| (Chosen::Vmx(vmx), "VMX")),
    };
    if let Some((chosen, name)) = found {
        let giant = if matches!(chosen, Chosen::Vmx(_)) { arch::vmx::has_giant_pages() } else { features.giant_pages };
        GIANT.store(giant, Ordering::Relaxed);
        BACKEND.call_once(|| chosen);
        info!("virtual CPUs: {name} with nested paging");
    }
    Some(())
}

/// Prepares the calling core.
pub fn start_core() {
    if chosen!(host => host.backend.start_core().is_err(), false) {
        give_up!("no kernel memory for a core's virtual CPUs; raise kernel-memory=");
    }
}

/// What the information page says of it.
pub fn features() -> hip::Features {
    match BACKEND.get() {
        Some(Chosen::Svm(_)) => hip::Features::SVM,
        Some(Chosen::Vmx(_)) => hip::Features::VMX,
        None => hip::Features::empty(),
    }
}

/// Whether there can be virtual CPUs.
pub fn offered() -> bool {
    BACKEND.get().is_some()
}

/// Whether nested tables have a format of their own.
pub fn uses_ept() -> bool {
    matches!(BACKEND.get(), Some(Chosen::Vmx(_)))
}

/// Whether nested tables have leaves of 1 GiB.
pub fn has_giant_pages() -> bool {
    GIANT.load(Ordering::Relaxed)
}

/// The two pages of a new virtual CPU of `domain` for `core`, one after the other.
///
/// # Errors
/// The domain's quota is exhausted.
pub fn pages(domain: &Domain, core: u32) -> Result<PhysAddr, OutOfMemory> {
    domain.guests.fetch_or(bit(core), Ordering::SeqCst);
    let _region = lock::of(domain, domain);
    // Nothing is mapped, but the table is there.
    if let Err(MapError::NoTable(error)) = domain::map_guest(domain, 0, PhysAddr::truncate(0), 0, Attributes::READ) {
        return Err(error);
    }
    let nested = PhysAddr::truncate(domain.nested.load(Ordering::Acquire));
    let pages = pool::address(pool::charged(Order::covering(2 * PAGE_SIZE).unwrap_or(Order::MAX), &domain.quota)?);
    if let Some(extra) = arch::pool::words(pages.offset(PAGE_SIZE)) {
        guest::store(extra, extra::BLOCK, pages.get());
        chosen!(host => host.backend.initialise(pages, extra, host.msr_map, nested), ());
    }
    Ok(pages)
}

/// The second page of a virtual CPU.
pub fn extra(vcpu: &Context) -> &'static Page {
    // SAFETY: a virtual CPU has the two pages that `pages` makes.
    unsafe { arch::pool::page_after(vcpu.identity().message) }
}

/// Writes groups of registers of a virtual CPU into a message page, for a monitor that handles `event`.
pub fn save(vcpu: &Context, mtd: Mtd, event: u64, page: &Page) {
    chosen!(host => host.save(vcpu, mtd, event as u8, page), ());
}

/// Changes the registers of a virtual CPU whose groups a message page names. Returns its descriptor.
pub fn restore(vcpu: &Context, page: &Page) -> Mtd {
    chosen!(
        host => host.backend.guest(vcpu).restore(page, host.components, host.backend.limits()),
        Mtd::empty()
    )
}

/// Before a virtual CPU of this core goes.
pub fn forget(vcpu: &Context) {
    if vcpu.identity().guest {
        chosen!(host => host.backend.forget(vcpu), ());
    }
}

/// Makes XCR0 the guest's, before an entry; the host manages `components`.
#[inline]
fn load_xcr0(extra: &Page, components: u64) {
    let xcr0 = guest::load(extra, extra::XCR0);
    if xcr0 != components && components != 0 {
        // SAFETY: there is XSAVE; the value is one that `sane_xcr0` made or the guest had; nothing is saved before
        // `save_xcr0`.
        unsafe { exchange::set_xcr0(xcr0) };
    }
}

/// Takes it back.
#[inline]
fn save_xcr0(extra: &Page, components: u64) {
    if components != 0 {
        // SAFETY: there is XSAVE.
        let xcr0 = unsafe { exchange::xcr0() };
        guest::store(extra, extra::XCR0, xcr0);
        if xcr0 != components {
            // SAFETY: the value that the core had before.
            unsafe { exchange::set_xcr0(components) };
        }
    }
}

const NOT_ENTERED: GuestEntry = GuestEntry { block: 0, code: 0 };

/// Before the kernel is left to a virtual CPU, the current context, whose frame this is.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn guest_enter(frame: &Frame) -> GuestEntry {
    // SAFETY: in the kernel, interrupts off; the store is local to this function. The frame is the current context's.
    let (store, vcpu) = unsafe { (arch::pool::store(), Context::of_frame(frame)) };
    if vectors::load(&store, vcpu) {
        let domain = store.get(vcpu.identity().domain);
        return chosen!(host => host.enter(vcpu, domain), NOT_ENTERED);
    }
    if let Some((current, _)) = switch::current(&store) {
        contexts::die(&store, current, vectors::NO_MEMORY);
    }
    NOT_ENTERED
}

/// After a virtual CPU has run, the current context, whose frame this is. Returns the frame of the context to run.
#[inline(always)]
fn exited(host: &Host<impl Backend>, frame: &Frame) -> *const Frame {
    // SAFETY: as in `guest_enter`.
    let vcpu = unsafe { Context::of_frame(frame) };
    match host.exited(vcpu) {
        (Exit::Host(vector), _) => arch::vmx::take(vector),
        (Exit::Event(event), details) => {
            fast::exit(host, vcpu, event, details);
            tell(event, details);
        }
        // From here on nothing is borrowed. Whatever the kernel has done itself: what it injects could exit again before the
        // guest lets interrupts in, and so on for ever.
        _ => arch::cpu::breathe(),
    }
    trap::current_frame(frame)
}

/// On SVM.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn svm_exited(frame: &Frame) -> *const Frame {
    if let Some(Chosen::Svm(host)) = BACKEND.get() { exited(host, frame) } else { frame }
}

/// On VMX.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn vmx_exited(frame: &Frame) -> *const Frame {
    if let Some(Chosen::Vmx(host)) = BACKEND.get() { exited(host, frame) } else { frame }
}

/// Has the current context, a virtual CPU, handled by the portal of `event`.
#[cold]
fn tell(event: u8, details: [u64; 2]) {
    // SAFETY: in the kernel, interrupts off; the store is local to this function.
    let store = &unsafe { arch::pool::store() };
    let Some((vcpu, _)) = switch::current(store) else { return };
    if !call::tell(store, vcpu, event.into(), details) {
        contexts::die(store, vcpu, format_args!("a virtual CPU without a portal for event {event:#x}"));
    }
}
