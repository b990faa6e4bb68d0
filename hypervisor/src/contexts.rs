//! What other cores ask of a context, and how contexts end.
//!
//! Purpose: a context is changed on its own core only; others leave a request there. Ending one, recalling one.
//! Invariants: a request is handled by the context's core before it chooses what to run. Who is served by a context that
//! ends is told, who serves it finds no caller when it replies.
//! Concurrency: posting from any core; handling on the context's own.
//! Source: interface §5 ("ec_ctrl") and §8; `docs/src/decisions/0019-lifetimes.md`.
use crate::lifetime::Counted;
use crate::log::{debug, warning};
use crate::{accounts, reclaim, remote, scheduler, stop, vcpu, vectors};
use abi::Status;
use core::sync::atomic::{AtomicU64, Ordering};
use objects::{Context, Continuation, Ref, Store};
use percpu::Hazard;

/// Recall it.
pub const RECALL: u32 = 1 << 0;
/// End it.
const END: u32 = 1 << 1;
/// Nobody refers to it any more.
const GONE: u32 = 1 << 2;
/// To a proxy: make a call.
pub const CALL: u32 = 1 << 3;
/// To a proxy: its caller is over.
pub const ABANDON: u32 = 1 << 4;
/// To a caller: its proxy is done.
pub const DONE: u32 = 1 << 5;
/// To a proxy: its caller is gone for good.
const DISMISS: u32 = 1 << 6;

/// Has the context's core do what `request` says, or if that is 0 look again at those that were put aside because of it.
pub fn post(store: &Store<'_>, context: Ref<Context>, request: u32) {
    let target = store.get(context);
    target.requests.add(request);
    if scheduler::is_own(target.identity().core) {
        attend(store, context);
        scheduler::unpark(store);
    } else {
        scheduler::tell(store, target.identity().core, context.id());
    }
}

/// Does what was requested of a context of this core.
pub fn attend(store: &Store<'_>, context: Ref<Context>) {
    let target = store.get(context);
    let requests = target.requests.take();
    let asked = |request| requests & request != 0;
    if asked(RECALL) {
        target.recall();
        percpu::this().shared.raise(Hazard::Schedule);
    }
    if asked(CALL) {
        remote::start(store, context);
    }
    if asked(ABANDON | DISMISS) {
        remote::abandon(store, context);
    }
    if asked(DONE) {
        remote::finish(store, context);
    }
    if asked(END | GONE) && !target.has_moved() {
        kill(store, context);
    }
    if asked(DISMISS) {
        remote::dismiss(store, context);
    }
    if asked(GONE) {
        accounts::add(store, accounts::KILLED_CONTEXTS, target.time.get());
        // Whoever was woken by an up has left its deadline behind.
        scheduler::stop_waiting(store, context, Continuation::Dead);
        vectors::forget(target, false);
        vcpu::forget(target);
        Counted::Context(context).put_aside(store);
    }
}

/// Ends a context. With `gone`, which is said once, nobody refers to it any more.
pub fn end(store: &Store<'_>, context: Ref<Context>, gone: bool) {
    reclaim::note_end(store.get(context).identity().core);
    post(store, context, if gone { END | GONE } else { END });
}

/// Gives up what the context refers to: the portal through which it asks for memory, and its proxies.
pub fn release_parts(store: &Store<'_>, context: Ref<Context>) {
    if let Some(portal) = store.reference(store.get(context).memory_portal.get()) {
        Counted::Portal(portal).release(store);
    }
    if !store.get(context).identity().proxy {
        remote::proxies(store, context).for_each(|proxy| post(store, proxy, DISMISS));
    }
}

static ROOT: AtomicU64 = AtomicU64::new(0);

/// Notes which context is the root program's first: without it nothing is left to run.
pub fn set_root(context: Ref<Context>) {
    ROOT.store(context.to_word(), Ordering::Relaxed);
}

/// Ends a context of this core that cannot go on, and lets another run.
pub fn die(store: &Store<'_>, context: Ref<Context>, why: core::fmt::Arguments<'_>) {
    bury(store, context, why);
    scheduler::reschedule(store, false);
}

/// Ends a context of this core that cannot go on.
pub fn bury(store: &Store<'_>, context: Ref<Context>, why: core::fmt::Arguments<'_>) {
    let who = if context.to_word() == ROOT.load(Ordering::Relaxed) { "root program" } else { "context" };
    if store.get(context).revoked.get() == 0 {
        warning!("{who} killed: {why}");
    } else {
        debug!("{who} ends, which nobody names any more: {why}");
    }
    kill(store, context);
}

/// Ends a context of this core, and tells whom it served: a caller goes on with status "aborted", a context whose fault it
/// handled ends too.
pub fn kill(store: &Store<'_>, context: Ref<Context>) {
    // Nobody depends on a server that waits for a call.
    if store.get(context).is(Continuation::AwaitCall) {
        return store.get(context).set_continuation(Continuation::Dead);
    }
    let mut at = Some(context);
    while let Some(reference) = at {
        if reference.to_word() == ROOT.load(Ordering::Relaxed) {
            stop::machine(stop::BROKEN, format_args!("the root program died"));
        }
        let dead = store.get(reference);
        match dead.continuation() {
            Continuation::Dead => break,
            waits if waits.woken().is_some() => scheduler::stop_waiting(store, reference, Continuation::Dead),
            Continuation::AwaitRemote => {
                scheduler::stop_waiting(store, reference, Continuation::Dead);
                if let Some(proxy) = store.reference(dead.partner.get()) {
                    post(store, proxy, ABANDON);
                }
            }
            served => {
                dead.proceed(Continuation::Dead);
                if served.is_served() {
                    detach(store, reference);
                }
                // It has moved, and its time stayed for its handler.
                if let Some(scheduling) = store.reference(dead.scheduling.take()) {
                    scheduler::end(store, scheduling);
                }
            }
        }
        at = store.reference::<Context>(dead.caller.get());
        dead.caller.set(0);
        at = at.filter(|&served| abort(store, served));
    }
    scheduler::unpark(store);
    percpu::this().shared.raise(Hazard::Schedule);
}

/// Makes whoever serves `context` forget it.
pub fn detach(store: &Store<'_>, context: Ref<Context>) {
    let partner = store.reference::<Context>(store.get(context).partner.get());
    if let Some(partner) = partner.map(|partner| store.get(partner))
        && partner.caller.get() == context.to_word()
    {
        partner.caller.set(0);
    }
}

/// Tells `served` that who served it is over. True if that is its end too.
fn abort(store: &Store<'_>, served: Ref<Context>) -> bool {
    let caller = store.get(served);
    match caller.continuation() {
        Continuation::AwaitReply => {
            caller.frame().rdi.set(u64::from(Status::Aborted.number()));
            caller.proceed(Continuation::Run);
        }
        Continuation::AwaitRelay => remote::complete(store, served, Some(Status::Aborted)),
        waits => return waits == Continuation::AwaitHandler || waits.is_short_of_memory(),
    }
    false
}
