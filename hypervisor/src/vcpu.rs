//! Virtual CPUs.
//!
//! Purpose: contexts in guest mode: entered like threads, by what the processor offers ([`Backend`], chosen at boot); their
//! exits become calls through the portals of their domain.
//! Invariants: a virtual CPU uses no tables of its core but the kernel's, so that its domain's are not loaded for it and its
//! portals are looked up without them. Its vector registers are loaded before it is entered. Nothing of a guest's
//! instructions or devices is known here.
//! Concurrency: the core of the virtual CPU; the host's interrupts end an entry, and are taken where nothing is borrowed.
//! Source: interface §4 and §6; design plan §3; `docs/src/decisions/0023-virtual-cpus.md`.
use crate::call::{self, Delivery};
use crate::log::info;
use crate::stop::give_up;
use crate::svm::Svm;
use crate::{contexts, domain, fast, pool, scheduler, switch, trap, vectors};
use abi::address::PAGE_SIZE;
use abi::{Mtd, PhysAddr, hip};
use arch::entry::GuestEntry;
use arch::features::Features;
use core::sync::atomic::Ordering;
use guest::Exit;
use memory::format::Attributes;
use memory::frames::{Order, OutOfMemory};
use memory::table::MapError;
use objects::frame::Frame;
use objects::{Context, Continuation, Domain, Page};
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
    /// Makes two empty pages those of a virtual CPU whose guest sees the memory of the table `nested`.
    fn initialise(&self, block: &Page, extra: &Page, nested: PhysAddr);
    /// Loads what entry code does not, and says how to enter.
    fn enter(&self, vcpu: &Context, domain: &Domain) -> GuestEntry;
    /// Takes back what [`Self::enter`] has loaded. Why it came back, and details of an event.
    fn exited(&self, vcpu: &Context) -> (Exit, [u64; 2]);
    /// Writes groups of registers into a message page, for a monitor that handles `event`.
    fn save(&self, vcpu: &Context, mtd: Mtd, event: u8, page: &Page);
    /// Changes the registers whose groups a message page names. Returns its descriptor.
    fn restore(&self, vcpu: &Context, page: &Page) -> Mtd;
}

static BACKEND: Once<Svm> = Once::new();

fn backend() -> Option<&'static dyn Backend> {
    BACKEND.get().map(|backend| backend as &dyn Backend)
}

/// Finds out, on the boot core, what the processors offer. `None` without memory.
#[must_use]
pub fn start(features: &Features) -> Option<()> {
    if let Some(svm) = Svm::start(features).ok()? {
        BACKEND.call_once(|| svm);
        info!("virtual CPUs: SVM with nested paging");
    }
    Some(())
}

/// Prepares the calling core.
pub fn start_core() {
    if backend().is_some_and(|backend| backend.start_core().is_err()) {
        give_up!("no kernel memory for a core's virtual CPUs; raise kernel-memory=");
    }
}

/// What the information page says of it.
pub fn features() -> hip::Features {
    backend().map_or(hip::Features::empty(), |backend| backend.feature())
}

/// Whether there can be virtual CPUs.
pub fn offered() -> bool {
    backend().is_some()
}

/// The two pages of a new virtual CPU of `domain`, one after the other.
///
/// # Errors
/// The domain's quota is exhausted.
pub fn pages(domain: &Domain) -> Result<PhysAddr, OutOfMemory> {
    // Nothing is mapped, but the table is there.
    if let Err(MapError::NoTable(error)) = domain::map_guest(domain, 0, PhysAddr::truncate(0), 0, Attributes::READ) {
        return Err(error);
    }
    let nested = PhysAddr::truncate(domain.nested.load(Ordering::Acquire));
    let pages = pool::address(pool::charged(Order::covering(2 * PAGE_SIZE).unwrap_or(Order::MAX), &domain.quota)?);
    if let (Some(backend), Some(block), Some(extra)) =
        (backend(), arch::pool::words(pages), arch::pool::words(pages.offset(PAGE_SIZE)))
    {
        guest::store(extra, guest::extra::BLOCK, pages.get());
        backend.initialise(block, extra, nested);
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
    if let Some(backend) = backend() {
        backend.save(vcpu, mtd, event as u8, page);
    }
}

/// Changes the registers of a virtual CPU whose groups a message page names. Returns its descriptor.
pub fn restore(vcpu: &Context, page: &Page) -> Mtd {
    backend().map_or(Mtd::empty(), |backend| backend.restore(vcpu, page))
}

/// Before the kernel is left to a virtual CPU, the current context, whose frame this is.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn guest_enter(frame: &Frame) -> GuestEntry {
    // SAFETY: in the kernel, interrupts off; the store is local to this function. The frame is the current context's.
    let (store, vcpu) = unsafe { (arch::pool::store(), Context::of_frame(frame)) };
    match backend() {
        Some(backend) if vectors::load(&store, vcpu) => backend.enter(vcpu, store.get(vcpu.identity().domain)),
        _ => {
            // SAFETY: as above.
            let store = unsafe { arch::pool::store() };
            if let Some((current, _)) = switch::current(&store) {
                contexts::die(&store, current, vectors::NO_MEMORY);
            }
            GuestEntry { block: 0, code: 0 }
        }
    }
}

/// After a virtual CPU has run, the current context, whose frame this is. Returns the frame of the context to run.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn guest_exited(frame: &Frame) -> *const Frame {
    // SAFETY: as in `guest_enter`.
    let vcpu = unsafe { Context::of_frame(frame) };
    match backend().map(|backend| backend.exited(vcpu)) {
        // From here on nothing is borrowed.
        Some((Exit::Interrupt, _)) => arch::cpu::breathe(),
        Some((Exit::Event(event), details)) => {
            fast::exit(vcpu, event, details);
            tell(event, details);
        }
        _ => return frame,
    }
    trap::current_frame(frame)
}

/// Has the current context, a virtual CPU, handled by the portal of `event`.
#[cold]
fn tell(event: u8, details: [u64; 2]) {
    // SAFETY: in the kernel, interrupts off; the store is local to this function.
    let store = &unsafe { arch::pool::store() };
    let Some((vcpu_ref, vcpu)) = switch::current(store) else { return };
    match call::deliver(store, vcpu_ref, event.into(), details) {
        Delivery::Done(handler) => scheduler::help(store, handler),
        Delivery::Busy(handler) => {
            vcpu.set_event(event.into(), details);
            vcpu.proceed(Continuation::Event);
            scheduler::help(store, handler);
        }
        Delivery::Refused => {
            contexts::die(store, vcpu_ref, format_args!("a virtual CPU without a portal for event {event:#x}"));
        }
    }
}
