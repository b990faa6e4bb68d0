//! Creation of kernel objects.
//!
//! Purpose: the create hypercalls: check the capabilities they name, store the object, put its capability into the
//! caller's space.
//! Invariants: selectors and capabilities are checked before anything is made (that the selector for the new capability is
//! free, by whoever calls this); if something fails after that, what was made before is given back.
//! Concurrency: the caller's core; slabs are locked.
//! Source: interface §2 (permission bits) and §5.
use crate::domain::{self, map_user};
use crate::lifetime::{self, Counted};
use crate::mapping::{lock, publish};
use crate::slots::{find, look_up, named};
use crate::translations::{self, Cores};
use crate::{clock, cores, mapping, pool, scheduler, vcpu, views};
use abi::address::PAGE_SIZE;
use abi::item::ItemFlags;
use abi::operation::RevokeFlags;
use abi::qpd::Qpd;
use abi::rights::{ContextRights, DomainRights, PortalRights, SchedulingRights, SemaphoreRights};
use abi::{Crd, Mtd, Rights, Selector, Status, USER_LIMIT, VirtAddr};
use arch::entry::SLOW;
use capability::tree::Span;
use capability::word::Capability;
use memory::format;
use memory::frames::{OutOfMemory, Unshown};
use memory::quota::Quota;
use objects::frame::Frame;
use objects::{Charged, Context, Domain, Identity, Object, Portal, Ref, Scheduling, Semaphore, Store};
use schedule::Budget;

/// Hypercalls that make objects: who makes what.
macro_rules! hypercalls {
    ($($name:ident by $make:ident),+) => { $(
        /// A hypercall that makes an object. A status, or [`SLOW`] if that is that memory is lacking.
        // SAFETY: the name is used once, by the assembly that calls it with this signature.
        #[unsafe(no_mangle)]
        extern "C" fn $name(word: u64, frame: &Frame) -> u64 {
            // SAFETY: in the kernel, interrupts off; the store is local to this function. SYSCALL stores into the frame of the
            // current context.
            let (store, context) = unsafe { (&arch::pool::store(), Context::of_frame(frame)) };
            let (caller, at) = (context.identity().domain, Selector::new(word >> 8));
            if arch::capability::load(at.number()) != Capability::NULL.word() {
                return Status::BadCapability.number().into();
            }
            match $make(store, caller, at, frame) {
                Ok(()) => 0,
                Err(Status::QuotaExhausted) => SLOW,
                Err(status) => status.number().into(),
            }
        }
    )+ };
}
hypercalls!(
    create_domain by domain, create_context by context, create_scheduling by scheduling, create_portal by portal,
    create_semaphore by semaphore
);

/// What a hypercall that makes an object answers if a capability does not do,
const BAD: Result<(), Status> = Err(Status::BadCapability);
/// or if the domain that is to pay has too few pages left.
const FULL: Result<(), Status> = Err(Status::QuotaExhausted);

/// Stores a new object, which gets a reference to what it `holds`, for `payer`.
///
/// # Errors
/// [`Status::BadCapability`] if that is about to end, [`Status::QuotaExhausted`].
#[inline(always)]
pub fn store_new<T: Charged>(
    store: &Store<'_>,
    payer: Ref<Domain>,
    holds: Counted,
    make: impl FnOnce() -> T,
) -> Result<Ref<T>, Status> {
    if !holds.count(store).acquire() {
        return Err(Status::BadCapability);
    }
    Ok(lifetime::add(store, payer, make).inspect_err(|_| holds.release(store))?)
}

/// Puts the capability to a new object into the caller's space; without it the object ends.
///
/// # Errors
/// As [`publish`].
#[inline(always)]
pub fn publish_new<T: Object>(
    store: &Store<'_>,
    caller: Ref<Domain>,
    at: Selector,
    rights: Rights,
    object: Ref<T>,
) -> Result<(), Status> {
    let capability = object.capability(rights);
    publish(store, caller, at, capability).inspect_err(|_| undo(store, capability))
}

/// Ends a new object, which nobody else knows.
#[cold]
pub fn undo(store: &Store<'_>, capability: Capability) {
    lifetime::unnamed_alone(store, capability.origin());
}

/// Creates a protection domain: donor of quota in RSI, range of capabilities to delegate in RDX, limits in RAX.
///
/// # Errors
/// As the interface has them.
#[inline(always)]
fn domain(store: &Store<'_>, caller: Ref<Domain>, at: Selector, frame: &Frame) -> Result<(), Status> {
    let Some(donor) = find::<Domain>(store, frame.rsi.get(), DomainRights::CREATE_DOMAIN) else { return BAD };
    if !store.get(donor).quota.has(1) {
        return FULL;
    }
    let rights = look_up(Selector::new(frame.rsi.get())).rights();
    let (lower, upper) = (frame.rax.get() as u32, (frame.rax.get() >> 32) as u32);
    if lower > upper {
        return Err(Status::BadParameter);
    }
    let domain = new_domain(store, donor, lower, upper)?;
    publish_new(store, caller, at, rights, domain)?;
    let range = Crd::from_word(frame.rdx.get());
    if range.kind() != abi::Kind::Objects {
        return Ok(());
    }
    let span = Span { base: range.aligned_base(), count: range.count() };
    let given = mapping::delegate(
        store,
        (caller, range.kind()),
        span,
        (domain, 0),
        (range.rights(), ItemFlags::empty(), 0),
        &mut None,
    );
    // What cannot be had with all that was asked for is not there at all.
    given.inspect_err(|_| {
        let (mut span, all) = (Span { base: u64::from(at.slot()), count: 1 }, Rights::ALL);
        while mapping::revoke(store, caller, (abi::Kind::Objects, all), &mut span, RevokeFlags::SELF).is_none() {}
    })
}

/// A domain with nothing but `upper` pages of quota from `donor`, which pays for its two pages and its record too.
///
/// # Errors
/// The donor cannot pay, or not enough of its quota is transferable.
pub fn new_domain(store: &Store<'_>, donor: Ref<Domain>, lower: u32, upper: u32) -> Result<Ref<Domain>, Status> {
    let quota = &store.get(donor).quota;
    let pages = domain::pages(quota)?;
    // SAFETY: nobody else knows them.
    let undo = || unsafe { pages.into_iter().for_each(|page| pool::release(page, quota, Unshown)) };
    let own = Quota::funded_by(quota, lower, upper).inspect_err(|_| undo()).or(Err(Status::QuotaExhausted))?;
    let views = arch::pool::words(pages[1]).ok_or(OutOfMemory::Pool)?;
    let make = || Domain::new(pages[0], views, own, Some(donor));
    store_new(store, donor, Counted::Record(donor), make).inspect_err(|_| {
        // The account went with the domain that could not be stored; its pages came from there.
        let _ = quota.endow(upper);
        undo();
    })
}

/// Creates an execution context: domain in RSI, core and message page in RDX, stack in RAX, event base in R8.
///
/// # Errors
/// As the interface has them.
#[inline(always)]
fn context(store: &Store<'_>, caller: Ref<Domain>, at: Selector, frame: &Frame) -> Result<(), Status> {
    let global = frame.rdi.get() & 1 << 4 != 0;
    let (core, message) = (frame.rdx.get() & 0xFFF, frame.rdx.get() & !0xFFF);
    if core >= cores::running().len() as u64 {
        return Err(Status::BadCpu);
    }
    let guest = message == 0;
    if guest && !vcpu::offered() {
        return Err(Status::BadFeature);
    }
    let Some(domain) = find::<Domain>(store, frame.rsi.get(), DomainRights::CREATE_CONTEXT) else { return BAD };
    if !store.get(domain).quota.has(7) {
        return FULL;
    }
    let owner = store.get(domain);
    if message >= USER_LIMIT {
        return Err(Status::BadParameter);
    }
    if !guest {
        views::of_core(owner, core as u32).or(Err(Status::QuotaExhausted))?;
    }
    let page = if guest { vcpu::pages(owner, core as u32)? } else { pool::page(&owner.quota)? };
    // SAFETY: nobody else knows it.
    let undo = || unsafe { pool::release(page, &owner.quota, Unshown) };
    let rights = format::Attributes::READ | format::Attributes::WRITE;
    if !guest {
        let region = lock::of(owner, owner);
        let mapped = map_user(owner, message, page, PAGE_SIZE, rights);
        drop(region);
        mapped.map_err(|error| {
            undo();
            match error {
                memory::table::MapError::NoTable(_) => Status::QuotaExhausted,
                _ => Status::BadParameter,
            }
        })?;
    }
    let identity = Identity {
        domain,
        message: arch::pool::words(page).ok_or(Status::BadParameter)?,
        message_at: message,
        core: core as u32,
        event_base: frame.r8.get() & 0xFFFF_FFFF,
        global,
        proxy: false,
        guest,
    };
    let make = || Context::new(identity, frame.rax.get());
    let context = store_new(store, domain, Counted::Domain(domain), make).inspect_err(|_| {
        if guest {
            return undo();
        }
        let mut shootdown = translations::shootdown();
        let region = lock::of(owner, owner);
        translations::restrict(owner, (message, PAGE_SIZE), format::Attributes::empty(), &mut shootdown);
        drop(region);
        let acknowledged = shootdown.finish(&Cores);
        // SAFETY: as in `undo`.
        unsafe { pool::release(page, &owner.quota, &acknowledged) };
    })?;
    let portal = named::<Portal>(store, at.number() + 1, Rights::NONE);
    give_memory_portal(store, store.get(context), portal.ok());
    publish_new(store, caller, at, ContextRights::all().into(), context)
}

/// Makes `portal` the one through which a new context asks for kernel memory.
pub fn give_memory_portal(store: &Store<'_>, context: &Context, portal: Option<Ref<Portal>>) {
    if let Some(portal) = portal.filter(|&portal| store.get(portal).count.acquire()) {
        context.memory_portal.set(portal.to_word());
    }
}

/// Creates a portal: domain in RSI, serving context in RDX, transfer descriptor in RAX, entry point in R8.
///
/// # Errors
/// As the interface has them.
#[inline(always)]
fn portal(store: &Store<'_>, caller: Ref<Domain>, at: Selector, frame: &Frame) -> Result<(), Status> {
    let Some(payer) = find::<Domain>(store, frame.rsi.get(), DomainRights::CREATE_PORTAL) else { return BAD };
    if !store.get(payer).quota.has(2) {
        return FULL;
    }
    let Some(context) = find::<Context>(store, frame.rdx.get(), ContextRights::BIND_PORTAL) else { return BAD };
    let identity = store.get(context).identity();
    if identity.global || identity.guest {
        return BAD;
    }
    let entry = VirtAddr::new(frame.r8.get());
    let portal = Portal::new(context, entry, Mtd::from_bits_retain(frame.rax.get()));
    let Some(portal) = portal.filter(|_| entry.get() < USER_LIMIT) else { return Err(Status::BadParameter) };
    let portal = store_new(store, payer, Counted::Context(context), || portal)?;
    publish_new(store, caller, at, PortalRights::all().into(), portal)
}

/// Creates a scheduling context: domain in RSI, context in RDX, priority and quantum in RAX. The context starts.
///
/// # Errors
/// As the interface has them.
#[inline(always)]
fn scheduling(store: &Store<'_>, caller: Ref<Domain>, at: Selector, frame: &Frame) -> Result<(), Status> {
    let Some(payer) = find::<Domain>(store, frame.rsi.get(), DomainRights::CREATE_SCHEDULING) else { return BAD };
    if !store.get(payer).quota.has(2) {
        return FULL;
    }
    let Some(context) = find::<Context>(store, frame.rdx.get(), ContextRights::BIND_SCHEDULING) else { return BAD };
    let identity = store.get(context).identity();
    if !identity.global {
        return BAD;
    }
    let Some(parameters) = Qpd::from_word(frame.rax.get()) else { return Err(Status::BadParameter) };
    let budget = Budget::new(parameters.quantum(), clock::khz());
    let make = || Scheduling::new(context, identity.core, parameters.priority(), budget);
    let scheduling = store_new(store, payer, Counted::Context(context), make)?;
    publish_new(store, caller, at, SchedulingRights::all().into(), scheduling)
        .inspect_err(|_| scheduler::discard(store, scheduling))?;
    scheduler::wake(store, scheduling);
    Ok(())
}

/// Creates a semaphore: domain in RSI, count in RDX. With a plain one in RAX a signal, chained to that, whose value is in
/// RDX.
///
/// # Errors
/// As the interface has them.
#[inline(always)]
fn semaphore(store: &Store<'_>, caller: Ref<Domain>, at: Selector, frame: &Frame) -> Result<(), Status> {
    let Some(payer) = find::<Domain>(store, frame.rsi.get(), DomainRights::CREATE_SEMAPHORE) else { return BAD };
    if !store.get(payer).quota.has(1) {
        return FULL;
    }
    if frame.rax.get() != 0 {
        return signal(store, (caller, payer), at, frame);
    }
    let new = Semaphore::new(frame.rdx.get());
    let semaphore = lifetime::add(store, payer, || new)?;
    publish_new(store, caller, at, SemaphoreRights::all().into(), semaphore)
}

/// As [`semaphore`], with a signal; `payer` pays.
fn signal(
    store: &Store<'_>,
    (caller, payer): (Ref<Domain>, Ref<Domain>),
    at: Selector,
    frame: &Frame,
) -> Result<(), Status> {
    let chained = named::<Semaphore>(store, frame.rax.get(), Rights::NONE)?;
    if !store.get(chained).is_plain() {
        return BAD;
    }
    let make = || Semaphore::signal(frame.rdx.get(), chained);
    let signal = store_new(store, payer, Counted::Semaphore(chained), make)?;
    publish_new(store, caller, at, SemaphoreRights::all().into(), signal)
}

/// Sets the identity of the portal at `selector`.
///
/// # Errors
/// It is no portal, or the capability does not allow it.
pub fn set_identity(store: &Store<'_>, selector: Selector, identity: u64) -> Result<(), Status> {
    let portal = named::<Portal>(store, selector.number(), PortalRights::CONTROL)?;
    store.get(portal).identity.set(identity);
    Ok(())
}
