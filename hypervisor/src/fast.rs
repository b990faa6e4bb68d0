//! The short ways: hypercalls that most often are over in a few steps.
//!
//! Purpose: a call and a reply within a core when nothing else is to be done, semaphores that nobody waits for.
//! Invariants: each gives exactly what the general way gives, or changes nothing and leaves it to that. None of them
//! blocks, allocates or takes the tree's lock.
//! Concurrency: as the general way.
//! Source: design plan §6; `docs/src/decisions/0020-short-ways.md`.
use crate::{call as general, switch};
use abi::rights::PortalRights;
use abi::Status;
use arch::entry::{Attempts, SLOW};
use capability::word::{Capability, Kind};
use ipc::message;
use objects::{Context, Continuation, Portal, Scheduling, Store};

/// By number of the hypercall.
// SAFETY: the name is used once, by the assembly that calls these with this signature.
#[unsafe(no_mangle)]
static attempts: Attempts = {
    let mut table: Attempts = [none; 16];
    table[abi::Hypercall::Misc.number() as usize] = misc;
    table
};

extern "C" fn none(_: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    SLOW
}

extern "C" fn misc(word: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    if word >> 4 & 15 > 2 { Status::BadParameter.number().into() } else { SLOW }
}

/// A call without flags. True if it is left to the general way.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn call(word: u64) -> bool {
    // SAFETY: in the kernel, interrupts off; the store is local to this function.
    let store = unsafe { arch::pool::store() };
    try_call(&store, word).is_none()
}

fn try_call(store: &Store<'_>, word: u64) -> Option<()> {
    let local = &percpu::this().local;
    let capability = Capability::from_word(arch::capability::load(word >> 8));
    let portal = capability.object(Kind::Portal, PortalRights::CALL.into()).filter(|_| word & 0xF0 == 0)?;
    // SAFETY: capabilities to portals are made from references to portals only; a capability keeps its object.
    let portal = store.get(unsafe { store.trusted::<Portal>(portal) }?);
    let (caller_ref, caller) = switch::current(store)?;
    let callee = store.get(portal.context);
    if callee.identity().core != local.id.get() || !callee.is(Continuation::AwaitCall) {
        return None;
    }
    if !message::copy_words(caller.identity().message, callee.identity().message) || !switch::to(store, portal.context) {
        return None;
    }
    caller.set_continuation(Continuation::AwaitReply);
    callee.set_continuation(Continuation::Run);
    general::link(store, (caller_ref, caller), portal);
    Some(())
}

/// A reply without flags and semaphore, entered with nothing but the stack pointer saved: what a serving context has in
/// its registers is undefined after a reply.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn reply() {
    // SAFETY: in the kernel, interrupts off; the store is local to this function.
    let store = unsafe { arch::pool::store() };
    if let Some(callee) = switch::current(&store)
        && try_reply(&store, callee.1).is_none()
    {
        general::reply(&store, callee);
    }
}

fn try_reply(store: &Store<'_>, callee: &Context) -> Option<()> {
    let local = &percpu::this().local;
    // SAFETY: `link` sets the word, from a reference; a context that ends clears it.
    let caller_ref = unsafe { store.trusted::<Context>(callee.caller()) }?;
    let caller = store.get(caller_ref);
    // SAFETY: the scheduler sets the word, from a reference; a scheduling context that ends is taken out of it.
    let time = unsafe { store.trusted::<Scheduling>(local.scheduling.get()) }?;
    if !caller.is(Continuation::AwaitReply) || store.get(time).context != caller_ref || !local.parked.is_empty() {
        return None;
    }
    if !message::copy_words(callee.identity().message, caller.identity().message) || !switch::to(store, caller_ref) {
        return None;
    }
    callee.set_continuation(Continuation::AwaitCall);
    callee.set_caller(0);
    caller.set_continuation(Continuation::Run);
    Some(())
}
