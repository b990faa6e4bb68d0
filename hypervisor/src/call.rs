//! Calls through portals, and replies.
//!
//! Purpose: rendezvous of a caller and a serving context on one core, with the caller's time; faults arrive as calls.
//! Invariants: a context serves one caller; a caller waits until that context replies; nothing is copied that the
//! header or the transfer descriptor does not name.
//! Concurrency: both contexts belong to the calling core.
//! Source: interface §5 ("call", "reply") and §6; lecture E:560-623.
use crate::slots::look_up;
use crate::{domain, switch};
use abi::address::USER_END;
use abi::{Selector, Status};
use capability::word::Kind;
use ipc::{Page, message, state};
use objects::{Context, Continuation, Portal, Ref, Store};

/// What becomes of the context that entered the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on, with a status.
    Return(Status),
    /// Another context is current.
    Switched,
}

/// The portal at `selector` of the current domain.
fn portal<'s>(store: &'s Store<'_>, selector: Selector) -> Option<&'s Portal> {
    let word = look_up(selector).object(Kind::Portal, abi::Rights::NONE)?;
    store.reference(word).map(|portal| store.get(portal))
}

/// The message page of a context. A context without one cannot take part in calls.
fn page(context: &Context) -> Option<&'static Page> {
    arch::pool::words(context.identity().message)
}

/// Calls through the portal at `selector`.
pub fn call(store: &Store<'_>, (caller_ref, caller): (Ref<Context>, &Context), selector: Selector) -> Outcome {
    let Some(portal) = portal(store, selector) else { return Outcome::Return(Status::BadCapability) };
    let callee = store.get(portal.context);
    if callee.identity().core != caller.identity().core {
        return Outcome::Return(Status::BadCpu);
    }
    // So far there is one thread of control on a core: a busy callee is one that waits for this very caller.
    let free = callee.continuation() == Continuation::AwaitCall;
    let (true, Some(from), Some(to)) = (free, page(caller), page(callee)) else {
        return Outcome::Return(Status::Timeout);
    };
    message::copy(from, to);
    caller.set_continuation(Continuation::AwaitReply);
    enter(store, caller_ref, portal);
    Outcome::Switched
}

/// Makes the context of `portal` serve `caller`.
fn enter(store: &Store<'_>, caller: Ref<Context>, portal: &Portal) {
    let callee = store.get(portal.context);
    callee.set_caller(caller.to_word());
    callee.set_continuation(Continuation::Run);
    callee.frame().rip.set(portal.entry.get());
    callee.frame().rdi.set(portal.identity());
    callee.frame().vector.set(objects::frame::SYSCALL);
    switch::to(store, portal.context);
}

/// Replies to the caller of the current context, which waits for the next call then.
pub fn reply(store: &Store<'_>, callee: &Context) -> Outcome {
    if callee.identity().global {
        domain::root_died(format_args!("a context with a scheduling context of its own replied"));
    }
    let Some(caller_ref) = store.reference::<Context>(callee.caller()) else {
        domain::root_died(format_args!("a context replied to nobody"));
    };
    let caller = store.get(caller_ref);
    if let (Some(from), Some(to)) = (page(callee), page(caller)) {
        match caller.continuation() {
            Continuation::AwaitHandler => state::restore(from, caller.frame()),
            _ => {
                message::copy(from, to);
            }
        }
    }
    callee.set_caller(0);
    callee.set_continuation(Continuation::AwaitCall);
    caller.set_continuation(Continuation::Run);
    switch::to(store, caller_ref);
    Outcome::Switched
}

/// Turns a fault of the current context into a call through the portal of `event`, with error code and address. False
/// if there is no portal that could take it.
pub fn deliver(store: &Store<'_>, event: u64, qualification: [u64; 2]) -> bool {
    let Some((faulter_ref, faulter)) = switch::current(store) else { return false };
    let Some(portal) = portal(store, Selector::new(faulter.identity().event_base + event)) else { return false };
    let handler = store.get(portal.context);
    let local = handler.identity().core == faulter.identity().core;
    let (true, Some(page)) = (local && handler.continuation() == Continuation::AwaitCall, page(handler)) else {
        return false;
    };
    faulter.frame().rip.set(faulter.frame().rip.get().min(USER_END));
    state::save(faulter.frame(), portal.transfer, qualification, page);
    faulter.set_continuation(Continuation::AwaitHandler);
    enter(store, faulter_ref, portal);
    true
}
