//! Out-of-memory portals.
//!
//! Purpose: a context whose domain's quota is exhausted asks for more through a portal that it was created with; what it
//! was about to do is done again after the reply.
//! Invariants: who asks waits as if it had called; no message is made: the handler gets three registers. A context without
//! such a portal gets a status. A retry finds what was done before in place, and passes over it.
//! Concurrency: the core of the context that waits, which must be the handler's.
//! Source: interface §9.
use crate::call::{self, Delivery, Outcome};
use crate::scheduler;
use abi::Status;
use objects::{Context, Continuation, Portal, Ref, Store};

/// Reasons, in the handler's third register: the receiver of a call,
pub const CALL: u64 = 1;
/// of a reply,
const REPLY: u64 = 2;
/// or the caller of a hypercall.
pub const OWN: u64 = 4;

/// The portal through which `party` asks for memory.
fn portal_of<'s>(store: &'s Store<'_>, party: &Context) -> Option<&'s Portal> {
    // SAFETY: the context has a reference to the portal.
    unsafe { store.trusted::<Portal>(party.memory_portal.get()) }.map(|portal| store.get(portal))
}

/// Lets `waiter` wait for the handler of `party`, which lacks memory for what `sender` passes it.
fn ask(
    store: &Store<'_>,
    (waiter_ref, waiter): (Ref<Context>, &Context),
    (party, sender): (&Context, &Context),
    reason: u64,
    awaits: Continuation,
) -> Delivery {
    let Some(portal) = portal_of(store, party) else { return Delivery::Refused };
    let handler = store.get(portal.context);
    if handler.identity().core != waiter.identity().core {
        return Delivery::Refused;
    }
    match handler.continuation() {
        Continuation::AwaitCall => {}
        Continuation::Dead => return Delivery::Refused,
        _ => return Delivery::Busy(portal.context),
    }
    let source = match portal_of(store, sender) {
        None => u64::MAX,
        Some(other) => {
            let same = store.get(other.context).identity().domain == handler.identity().domain;
            if same { other.identity.get() } else { 0 }
        }
    };
    waiter.proceed(awaits);
    call::serve(store, (waiter_ref, waiter), portal);
    handler.frame().rsi.set(source);
    handler.frame().rdx.set(reason);
    Delivery::Done(portal.context)
}

/// `party` lacks memory for the hypercall of `caller`, which is made again when there is some, or ends with `status`.
pub fn calling(
    store: &Store<'_>,
    caller: (Ref<Context>, &Context),
    party: &Context,
    (reason, status): (u64, Status),
) -> Outcome {
    match ask(store, caller, (party, caller.1), reason, Continuation::AwaitMemory) {
        Delivery::Done(next) | Delivery::Busy(next) => {
            call::again(caller.1.frame());
            scheduler::help(store, next);
            Outcome::Switched
        }
        Delivery::Refused => Outcome::Return(status),
    }
}

/// `caller` lacks memory for the items of the reply of `callee`, which is to be made again.
pub fn replying(store: &Store<'_>, callee: (Ref<Context>, &Context), caller: &Context) -> Delivery {
    ask(store, callee, (caller, callee.1), REPLY, Continuation::AwaitMemoryForReply)
}
