//! Calls to contexts of other cores.
//!
//! Purpose: a proxy on the callee's core calls in place of the caller, on a scheduling context with the caller's priority
//! and time, which waits meanwhile. A caller keeps a proxy for each core that it has called.
//! Invariants: a proxy that is not idle has its caller, which it keeps from being given back, and the portal too. It has no
//! registers: its frame holds the call (see [`Call`]). Its first reference is its scheduling context's, which goes when the
//! caller does.
//! Concurrency: the caller's core writes the call while the proxy is idle, and then sends a request; the rest is done by
//! the proxy's core, which sends another when it is idle again. A proxy is idle for good only then: whoever finds it busy
//! has not been told yet.
//! Source: interface §5 ("call") and §8.
use crate::call::{self, Delivery};
use crate::contexts::{self, CALL, DONE};
use crate::lifetime::{self, Counted};
use crate::{accounts, scheduler};
use abi::Status;
use objects::frame::{Frame, Register};
use objects::{Context, Continuation, Identity, Place, Portal, Ref, Scheduling, Store};

/// What a proxy tells a caller that is to make its call again: no call ends with this.
const AGAIN: Status = Status::BadHypercall;

/// The frame of a proxy.
struct Call<'f> {
    /// Word of the portal, 0 once it has been called.
    portal: &'f Register,
    /// 0 if a busy callee is a time-out.
    blocking: &'f Register,
    /// Status of the call, as a caller's own frame has it.
    status: &'f Register,
    /// Word of the scheduling context.
    scheduling: &'f Register,
}

fn call_of(frame: &Frame) -> Call<'_> {
    Call { portal: &frame.rsi, blocking: &frame.rdx, status: &frame.rdi, scheduling: &frame.rax }
}

/// The proxies of a context.
pub fn proxies<'s>(store: &'s Store<'_>, context: Ref<Context>) -> impl Iterator<Item = Ref<Context>> + use<'s> {
    let next = |context: Ref<Context>| store.reference::<Context>(store.get(context).proxy.get());
    core::iter::successors(next(context), move |&proxy| next(proxy))
}

/// Calls through a portal to a context of another core. The caller waits then.
///
/// # Errors
/// [`Status::Timeout`] if its proxy there is busy, [`Status::BadParameter`] without memory for one.
#[cold]
pub fn call(
    store: &Store<'_>,
    caller_ref: Ref<Context>,
    portal_ref: Ref<Portal>,
    blocking: bool,
) -> Result<(), Status> {
    let (caller, portal) = (store.get(caller_ref), store.get(portal_ref));
    let core = store.get(portal.context).identity().core;
    let known = proxies(store, caller_ref).find(|&proxy| store.get(proxy).identity().core == core);
    let proxy_ref = match known {
        Some(proxy) => proxy,
        None => create(store, caller, core).ok_or(Status::BadParameter)?,
    };
    let (proxy, call) = (store.get(proxy_ref), call_of(store.get(proxy_ref).frame()));
    if !proxy.is(Continuation::Idle) {
        return Err(Status::Timeout);
    }
    let time = store.reference::<Scheduling>(percpu::this().local.scheduling.get());
    if let Some((own, time)) = store.reference::<Scheduling>(call.scheduling.get()).zip(time) {
        store.get(own).imitate(store.get(time));
    }
    if !caller.count.acquire() {
        return Err(Status::Aborted); // It is about to end.
    }
    if !portal.count.acquire() {
        Counted::Context(caller_ref).release(store);
        return Err(Status::BadCapability);
    }
    call.portal.set(portal_ref.to_word());
    call.blocking.set(blocking.into());
    call.status.set(0);
    proxy.caller.set(caller_ref.to_word());
    scheduler::leave_with(store, caller_ref);
    caller.partner.set(proxy_ref.to_word());
    caller.set_continuation(Continuation::AwaitRemote);
    contexts::post(store, proxy_ref, CALL);
    scheduler::reschedule(store, false);
    Ok(())
}

/// A proxy of `caller` on `core`, which the caller's domain pays for.
fn create(store: &Store<'_>, caller: &Context, core: u32) -> Option<Ref<Context>> {
    let domain = caller.identity().domain;
    let identity = Identity { core, message_at: 0, global: true, proxy: true, guest: false, ..*caller.identity() };
    let proxy = Context::new(identity, 0);
    proxy.set_continuation(Continuation::Idle);
    let proxy = lifetime::add(store, domain, || proxy).ok()?;
    let scheduling = Scheduling::new(proxy, core, 1, scheduler::default_budget());
    scheduling.set_place(Place::Nowhere);
    let Ok(scheduling) = lifetime::add(store, domain, || scheduling) else {
        // SAFETY: nobody has learnt of it.
        unsafe { lifetime::remove(store, proxy, None) };
        return None;
    };
    let _ = store.get(domain).uses.acquire(); // The caller uses it.
    call_of(store.get(proxy).frame()).scheduling.set(scheduling.to_word());
    store.get(proxy).proxy.set(caller.proxy.get());
    caller.proxy.set(proxy.to_word());
    Some(proxy)
}

/// A proxy of this core has got a call to make: its scheduling context is ready from now on.
pub fn start(store: &Store<'_>, proxy: Ref<Context>) {
    let scheduling = store.reference::<Scheduling>(call_of(store.get(proxy).frame()).scheduling.get());
    if let Some(scheduling) = scheduling {
        store.get(proxy).proceed(Continuation::CallPortal);
        // One that is away comes by itself: it was left with a context that another core has woken.
        if store.get(scheduling).place() == Place::Nowhere {
            store.get(scheduling).set_place(Place::Away);
            scheduler::wake(store, scheduling);
        }
    }
}

/// Makes the call of a proxy of this core.
pub fn perform(store: &Store<'_>, proxy_ref: Ref<Context>) -> Delivery {
    let (proxy, call) = (store.get(proxy_ref), call_of(store.get(proxy_ref).frame()));
    let Some(portal) = store.reference::<Portal>(call.portal.get()).map(|portal| store.get(portal)) else {
        complete(store, proxy_ref, Some(AGAIN));
        return Delivery::Busy(proxy_ref);
    };
    let callee = store.get(portal.context);
    let failed = match callee.continuation() {
        Continuation::AwaitCall => match call::send_at_once(store, proxy, callee) {
            Ok(()) => {
                let handler = portal.context;
                proxy.proceed(Continuation::AwaitRelay);
                call::serve(store, (proxy_ref, proxy), portal);
                release_portal(store, proxy);
                return Delivery::Done(handler);
            }
            Err(status) => status,
        },
        Continuation::Dead => Status::Timeout,
        _ if call.blocking.get() == 0 => Status::Timeout,
        _ if portal.revoked.get() != 0 => Status::BadCapability,
        _ => return Delivery::Busy(portal.context),
    };
    complete(store, proxy_ref, Some(failed));
    Delivery::Busy(proxy_ref)
}

/// The call of a proxy of this core is over; its caller is told, with a status unless it succeeded.
pub fn complete(store: &Store<'_>, proxy: Ref<Context>, failed: Option<Status>) {
    call_of(store.get(proxy).frame()).status.set(failed.map_or(0, |status| status.number().into()));
    if let Some(caller) = rest(store, proxy) {
        contexts::post(store, caller, DONE);
        Counted::Context(caller).release(store);
    }
}

/// Makes a proxy of this core idle. Returns the caller that it had, whose reference goes over to the caller of this.
fn rest(store: &Store<'_>, proxy_ref: Ref<Context>) -> Option<Ref<Context>> {
    let proxy = store.get(proxy_ref);
    let caller = store.reference(proxy.caller.get());
    if let Some(scheduling) = store.reference(call_of(proxy.frame()).scheduling.get()) {
        scheduler::retire(store, scheduling);
        let time = &store.get(scheduling).times[0];
        accounts::add(store, accounts::CROSS, time.get());
        time.set(0);
    }
    release_portal(store, proxy);
    proxy.caller.set(0);
    proxy.proceed(Continuation::Idle);
    caller
}

/// The portal has been called, or will not be: it does not have to stay because of the proxy.
fn release_portal(store: &Store<'_>, proxy: &Context) {
    let word = call_of(proxy.frame()).portal;
    if let Some(portal) = store.reference(word.get()) {
        word.set(0);
        Counted::Portal(portal).release(store);
    }
}

/// The caller of a proxy of this core is over: whatever the proxy does, it stops.
pub fn abandon(store: &Store<'_>, proxy: Ref<Context>) {
    match store.get(proxy).continuation() {
        Continuation::AwaitRelay => contexts::detach(store, proxy),
        Continuation::AwaitRetry => scheduler::stop_waiting(store, proxy, Continuation::Idle),
        _ => {}
    }
    if let Some(caller) = rest(store, proxy) {
        Counted::Context(caller).release(store);
    }
}

/// The caller of a proxy of this core is gone: the proxy's scheduling context goes, and then the proxy.
pub fn dismiss(store: &Store<'_>, proxy: Ref<Context>) {
    if let Some(scheduling) = store.reference(call_of(store.get(proxy).frame()).scheduling.get()) {
        scheduler::end(store, scheduling);
    }
}

/// The proxy of a caller of this core is done.
pub fn finish(store: &Store<'_>, caller_ref: Ref<Context>) {
    let caller = store.get(caller_ref);
    let Some(proxy) = store.reference::<Context>(caller.partner.get()) else { return };
    if caller.continuation() == Continuation::AwaitRemote {
        match call_of(store.get(proxy).frame()).status.get() {
            0 => {}
            status if status == u64::from(AGAIN.number()) => drop(call::again(caller.frame())),
            status => caller.frame().rdi.set(status),
        }
        scheduler::stop_waiting(store, caller_ref, Continuation::Run);
    }
}
