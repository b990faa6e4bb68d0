//! Creation of kernel objects.
//!
//! Purpose: the create hypercalls: check the capabilities they name, store the object, put its capability into the
//! caller's space.
//! Invariants: selectors and capabilities are checked before anything is made. If kernel memory runs out after that, what
//! was made before stays, unreachable, until objects can be destroyed; only an unmapped message page goes back.
//! Concurrency: the caller's core; slabs are locked.
//! Source: interface §2 (permission bits) and §5.
use crate::domain::{self, map_user};
use crate::mapping::publish;
use crate::slots::look_up;
use crate::{clock, cores, mapping, pool, scheduler};
use abi::address::PAGE_SIZE;
use abi::qpd::Qpd;
use abi::rights::{ContextRights, DomainRights, PortalRights, SchedulingRights, SemaphoreRights};
use abi::{Crd, Mtd, Rights, Selector, Status, USER_LIMIT, VirtAddr};
use capability::tree::{Attributes, Space, Span, Transfer};
use capability::word::{Capability, Kind};
use memory::format;
use objects::frame::Frame;
use objects::{Context, Domain, Identity, Object, Portal, Ref, Scheduling, Semaphore, Store};
use schedule::Budget;

/// The object at `selector` of the current domain, if it is of that kind and the capability has these rights.
///
/// # Errors
/// [`Status::BadCapability`] if not.
pub fn named<T: Object>(
    store: &Store<'_>,
    selector: u64,
    kind: Kind,
    needed: impl Into<Rights>,
) -> Result<Ref<T>, Status> {
    let word = look_up(Selector::new(selector)).object(kind, needed.into()).ok_or(Status::BadCapability)?;
    store.reference(word).ok_or(Status::BadCapability)
}

/// Whether `selector` can take a new capability.
fn vacant(selector: Selector) -> Result<(), Status> {
    if look_up(selector) == Capability::NULL { Ok(()) } else { Err(Status::BadCapability) }
}

/// Creates a protection domain: donor of quota in RSI, range of capabilities to delegate in RDX, limits in RAX.
///
/// # Errors
/// As the interface has them.
pub fn domain(store: &Store<'_>, caller: Ref<Domain>, at: Selector, frame: &Frame) -> Result<(), Status> {
    vacant(at)?;
    let donor = named::<Domain>(store, frame.rsi.get(), Kind::Domain, DomainRights::CREATE_DOMAIN)?;
    let (upper, lower) = (frame.rax.get() >> 32, frame.rax.get() & 0xFFFF_FFFF);
    if lower > upper {
        return Err(Status::BadParameter);
    }
    let rights = look_up(Selector::new(frame.rsi.get())).rights();
    let exhausted = |_| Status::QuotaExhausted;
    let [master, views, objects] = [pool::table(), pool::table(), pool::table()];
    let views = arch::pool::words(views.map_err(exhausted)?).ok_or(Status::QuotaExhausted)?;
    let domain = Domain::new(master.map_err(exhausted)?, views, objects.map_err(exhausted)?);
    let domain = domain::add_domain(store, domain).map_err(exhausted)?;
    publish(store, caller, at, Capability::new(Kind::Domain, rights, domain.to_word()))?;
    let _ = donor; // Its quota pays once quotas are kept.
    let range = Crd::from_word(frame.rdx.get());
    if range.kind() != abi::Kind::Objects {
        return Ok(());
    }
    let transfer = Transfer {
        from: Space { owner: caller.id().get(), kind: abi::Kind::Objects },
        range: Span { base: range.aligned_base(), count: range.count() },
        to: domain.id().get(),
        base: 0,
        rights: range.rights(),
        attributes: Attributes::NONE,
    };
    mapping::delegate(store, &transfer)
}

/// Creates an execution context: domain in RSI, core and message page in RDX, stack in RAX, event base in R8.
///
/// # Errors
/// As the interface has them.
pub fn context(
    store: &Store<'_>,
    caller: Ref<Domain>,
    at: Selector,
    global: bool,
    frame: &Frame,
) -> Result<(), Status> {
    vacant(at)?;
    let domain = named::<Domain>(store, frame.rsi.get(), Kind::Domain, DomainRights::CREATE_CONTEXT)?;
    let (core, message) = (frame.rdx.get() & 0xFFF, frame.rdx.get() & !0xFFF);
    if core >= cores::running().len() as u64 {
        return Err(Status::BadCpu);
    }
    if message == 0 {
        return Err(Status::BadFeature); // Virtual CPUs come later.
    }
    if message >= USER_LIMIT {
        return Err(Status::BadParameter);
    }
    let page = pool::table().map_err(|_| Status::QuotaExhausted)?;
    let master = store.get(domain).master();
    let rights = format::Attributes::READ | format::Attributes::WRITE;
    map_user(&master, message, page, PAGE_SIZE, rights).map_err(|error| {
        // SAFETY: the page was not mapped, and nobody else knows it.
        unsafe { pool::release(page) };
        match error {
            memory::table::MapError::NoTable(_) => Status::QuotaExhausted,
            _ => Status::BadParameter,
        }
    })?;
    let event_base = frame.r8.get() & 0xFFFF_FFFF;
    let identity = Identity {
        domain,
        message: arch::pool::words(page).ok_or(Status::BadParameter)?,
        core: core as u32,
        event_base,
        global,
    };
    let context = domain::add_context(store, Context::new(identity, frame.rax.get()));
    let context = context.map_err(|_| Status::QuotaExhausted)?;
    publish(store, caller, at, Capability::new(Kind::Context, ContextRights::all().into(), context.to_word()))
}

/// Creates a portal: domain in RSI, serving context in RDX, transfer descriptor in RAX, entry point in R8.
///
/// # Errors
/// As the interface has them.
pub fn portal(store: &Store<'_>, caller: Ref<Domain>, at: Selector, frame: &Frame) -> Result<(), Status> {
    vacant(at)?;
    named::<Domain>(store, frame.rsi.get(), Kind::Domain, DomainRights::CREATE_PORTAL)?;
    let context = named::<Context>(store, frame.rdx.get(), Kind::Context, ContextRights::BIND_PORTAL)?;
    if store.get(context).identity().global {
        return Err(Status::BadCapability);
    }
    let entry = VirtAddr::new(frame.r8.get());
    let portal = Portal::new(context, entry, Mtd::from_bits_retain(frame.rax.get()));
    let portal = portal.filter(|_| entry.get() < USER_LIMIT).ok_or(Status::BadParameter)?;
    let portal = domain::add_portal(store, portal).map_err(|_| Status::QuotaExhausted)?;
    publish(store, caller, at, Capability::new(Kind::Portal, PortalRights::all().into(), portal.to_word()))
}

/// Creates a scheduling context: domain in RSI, context in RDX, priority and quantum in RAX. The context starts.
///
/// # Errors
/// As the interface has them.
pub fn scheduling(store: &Store<'_>, caller: Ref<Domain>, at: Selector, frame: &Frame) -> Result<(), Status> {
    vacant(at)?;
    named::<Domain>(store, frame.rsi.get(), Kind::Domain, DomainRights::CREATE_SCHEDULING)?;
    let context = named::<Context>(store, frame.rdx.get(), Kind::Context, ContextRights::BIND_SCHEDULING)?;
    let identity = store.get(context).identity();
    if !identity.global {
        return Err(Status::BadCapability);
    }
    let parameters = Qpd::from_word(frame.rax.get()).ok_or(Status::BadParameter)?;
    let budget = Budget::new(parameters.quantum(), clock::khz());
    let scheduling = Scheduling::new(context, identity.core, parameters.priority(), budget);
    let scheduling = domain::add_scheduling(store, scheduling).map_err(|_| Status::QuotaExhausted)?;
    let rights = SchedulingRights::all().into();
    publish(store, caller, at, Capability::new(Kind::Scheduling, rights, scheduling.to_word()))?;
    scheduler::wake(store, scheduling);
    Ok(())
}

/// Creates a semaphore: domain in RSI, count in RDX.
///
/// # Errors
/// As the interface has them.
pub fn semaphore(store: &Store<'_>, caller: Ref<Domain>, at: Selector, frame: &Frame) -> Result<(), Status> {
    vacant(at)?;
    named::<Domain>(store, frame.rsi.get(), Kind::Domain, DomainRights::CREATE_SEMAPHORE)?;
    if frame.rax.get() != 0 {
        return Err(Status::BadFeature); // Signals come later.
    }
    let semaphore = domain::add_semaphore(store, Semaphore::new(frame.rdx.get()));
    let semaphore = semaphore.map_err(|_| Status::QuotaExhausted)?;
    publish(store, caller, at, Capability::new(Kind::Semaphore, SemaphoreRights::all().into(), semaphore.to_word()))
}

/// Sets the identity of the portal at `selector`.
///
/// # Errors
/// It is no portal, or the capability does not allow it.
pub fn set_identity(store: &Store<'_>, selector: Selector, identity: u64) -> Result<(), Status> {
    let portal = named::<Portal>(store, selector.number(), Kind::Portal, PortalRights::CONTROL)?;
    store.get(portal).set_identity(identity);
    Ok(())
}
