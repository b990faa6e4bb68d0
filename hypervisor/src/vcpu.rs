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
use guest::{Exit, extra};
use memory::format::Attributes;
use memory::frames::{Order, OutOfMemory};
use memory::table::MapError;
use objects::frame::Frame;
use objects::{Context, Domain, Page};
use sync::Once;

/// A way of running virtual CPUs.
pub trait Backend: Sync {
    /// What announces it.
    fn feature(&self) -> hip::Features;
    /// Prepares the calling core.
    ///
    /// # Errors
    /// There is no memory.
    fn start_core(&self) -> Result<(), OutOfMemory>;
    /// Makes two empty pages, of which the first is at `block`, those of a virtual CPU whose guest sees the memory of the
    /// table `nested`.
    fn initialise(&self, block: PhysAddr, extra: &Page, nested: PhysAddr);
    /// Loads what entry code does not, and says how to enter.
    fn enter(&self, vcpu: &Context, domain: &Domain) -> GuestEntry;
    /// Takes back what [`Self::enter`] has loaded. Why it came back, and details of an event.
    fn exited(&self, vcpu: &Context) -> (Exit, [u64; 2]);
    /// Writes groups of registers into a message page, for a monitor that handles `event`.
    fn save(&self, vcpu: &Context, mtd: Mtd, event: u8, page: &Page);
    /// Changes the registers whose groups a message page names. Returns its descriptor.
    fn restore(&self, vcpu: &Context, page: &Page) -> Mtd;
    /// On its core, before the virtual CPU goes.
    fn forget(&self, _vcpu: &Context) {}
}

/// The one that was chosen.
enum Chosen {
    Svm(Svm),
    Vmx(Vmx),
}
static BACKEND: Once<Chosen> = Once::new();
static GIANT: AtomicBool = AtomicBool::new(false);

/// Does something with the back end, or with nothing if there is none; each is a case of its own for the compiler.
macro_rules! chosen {
    ($backend:ident => $what:expr, $nothing:expr) => {
        match BACKEND.get() {
            Some(Chosen::Svm($backend)) => $what,
            Some(Chosen::Vmx($backend)) => $what,
            None => $nothing,
        }
    };
}

/// Finds out, on the boot core, what the processors offer. `None` without memory.
#[must_use]
pub fn start(features: &Features) -> Option<()> {
    let found = match Svm::start(features).ok()? {
        Some(svm) => Some((Chosen::Svm(svm), "SVM")),
        None => Vmx::start(features).ok()?.map(|vmx| (Chosen::Vmx(vmx), "VMX")),
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
    if chosen!(backend => backend.start_core().is_err(), false) {
        give_up!("no kernel memory for a core's virtual CPUs; raise kernel-memory=");
    }
}

/// What the information page says of it.
pub fn features() -> hip::Features {
    chosen!(backend => backend.feature(), hip::Features::empty())
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

/// The two pages of a new virtual CPU of `domain`, one after the other.
///
/// # Errors
/// The domain's quota is exhausted.
pub fn pages(domain: &Domain) -> Result<PhysAddr, OutOfMemory> {
    let _region = lock::of(domain, domain);
    // Nothing is mapped, but the table is there.
    if let Err(MapError::NoTable(error)) = domain::map_guest(domain, 0, PhysAddr::truncate(0), 0, Attributes::READ) {
        return Err(error);
    }
    let nested = PhysAddr::truncate(domain.nested.load(Ordering::Acquire));
    let pages = pool::address(pool::charged(Order::covering(2 * PAGE_SIZE).unwrap_or(Order::MAX), &domain.quota)?);
    if let Some(extra) = arch::pool::words(pages.offset(PAGE_SIZE)) {
        guest::store(extra, extra::BLOCK, pages.get());
        chosen!(backend => backend.initialise(pages, extra, nested), ());
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
    chosen!(backend => backend.save(vcpu, mtd, event as u8, page), ());
}

/// Changes the registers of a virtual CPU whose groups a message page names. Returns its descriptor.
pub fn restore(vcpu: &Context, page: &Page) -> Mtd {
    chosen!(backend => backend.restore(vcpu, page), Mtd::empty())
}

/// Before a virtual CPU of this core goes.
pub fn forget(vcpu: &Context) {
    if vcpu.identity().guest {
        chosen!(backend => backend.forget(vcpu), ());
    }
}

/// Makes XCR0 the guest's, before an entry; the host manages `components`.
#[inline]
pub fn load_xcr0(extra: &Page, components: u64) {
    let xcr0 = guest::load(extra, extra::XCR0);
    if xcr0 != components && components != 0 {
        // SAFETY: there is XSAVE; the value is one that `sane_xcr0` made or the guest had; nothing is saved before
        // `save_xcr0`.
        unsafe { exchange::set_xcr0(xcr0) };
    }
}

/// Takes it back.
#[inline]
pub fn save_xcr0(extra: &Page, components: u64) {
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

/// Puts the guest's breakpoint addresses into the registers.
pub fn load_breakpoints(extra: &Page) {
    exchange::set_breakpoints([0, 1, 2, 3].map(|index| guest::load(extra, extra::BREAKPOINTS + index)));
}

/// Takes them from there.
pub fn save_breakpoints(extra: &Page) {
    let addresses = exchange::breakpoints();
    (extra::BREAKPOINTS..).zip(addresses).for_each(|(index, address)| guest::store(extra, index, address));
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
        return chosen!(backend => backend.enter(vcpu, domain), NOT_ENTERED);
    }
    if let Some((current, _)) = switch::current(&store) {
        contexts::die(&store, current, vectors::NO_MEMORY);
    }
    NOT_ENTERED
}

/// After a virtual CPU has run, the current context, whose frame this is. Returns the frame of the context to run.
#[inline(always)]
fn exited(backend: &impl Backend, frame: &Frame) -> *const Frame {
    // SAFETY: as in `guest_enter`.
    let vcpu = unsafe { Context::of_frame(frame) };
    match backend.exited(vcpu) {
        (Exit::Host(vector), _) => arch::vmx::take(vector),
        (Exit::Event(event), details) => {
            fast::exit(backend, vcpu, event, details);
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
    if let Some(Chosen::Svm(backend)) = BACKEND.get() { exited(backend, frame) } else { frame }
}

/// On VMX.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn vmx_exited(frame: &Frame) -> *const Frame {
    if let Some(Chosen::Vmx(backend)) = BACKEND.get() { exited(backend, frame) } else { frame }
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
