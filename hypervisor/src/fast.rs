//! The short ways: hypercalls that most often are over in a few steps.
//!
//! Purpose: a call and a reply within a core when nothing else is to be done; semaphores that nobody waits for.
//! Invariants: each does exactly what the general way does, or changes nothing that counts and leaves it to that. None of
//! them blocks, allocates or takes a lock but a semaphore's. A callee in another domain starts with registers that are 0.
//! Concurrency: as the general way.
//! Source: design plan §6; `docs/src/decisions/0020-short-ways.md`.
use crate::{call, switch};
use abi::rights::{PortalRights, SemaphoreRights};
use abi::{Rights, Status};
use arch::entry::{SLOW, Start};
use capability::word::{Capability, Kind};
use core::sync::atomic::Ordering::Relaxed;
use objects::frame::Frame;
use objects::{Context, Continuation, Page, Portal, Scheduling, Semaphore};

/// To the general way.
const GENERAL: Start = Start { entry: 0, identity: 0 };
/// First message word in a page.
const FIRST: usize = ipc::message::FIRST;
/// Makes entry code clear the registers that the callee has no use for.
const CLEAR: u64 = 1 << 63;

/// Word of the object of `kind` that the hypercall `word` names, if the capability has these rights.
#[inline]
fn named(word: u64, kind: Kind, needed: Rights) -> Option<u64> {
    Capability::from_word(arch::capability::load(word >> 8)).object(kind, needed)
}

/// Copies a message without items. False, with nothing copied, if it has some, or more words than there can be.
#[inline]
fn copy(from: &Page, to: &Page) -> bool {
    let header = from[0].load(Relaxed);
    let count = header as u32 as usize;
    if count > abi::utcb::WORDS {
        return false;
    }
    to[0].store(header, Relaxed);
    arch::pool::copy_words(from, to, FIRST, count);
    true
}

/// A call without flags by the context with this frame.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn try_call(word: u64, frame: &Frame) -> Start {
    // SAFETY: in the kernel, interrupts off; the store is local to this function.
    let store = unsafe { arch::pool::store() };
    let local = &percpu::this().local;
    let Some(portal) = named(word, Kind::Portal, PortalRights::CALL.into()) else { return GENERAL };
    // SAFETY: capabilities to portals are made from references to portals only; a capability keeps its object.
    let portal = unsafe { store.at::<Portal>(portal) };
    let callee = store.get(portal.context);
    // SAFETY: SYSCALL stores into the frame of the current context, and `current` names that.
    let (caller, current) = unsafe { (Context::of_frame(frame), local.current.get()) };
    if callee.identity().core != local.id.get()
        || !callee.is(Continuation::AwaitCall)
        || !copy(caller.identity().message, callee.identity().message)
    {
        return GENERAL;
    }
    let same = switch::is_plain(callee);
    if !same && !switch::to(&store, portal.context) {
        return GENERAL;
    }
    if same {
        switch::to_plain(portal.context, callee);
    }
    caller.set_continuation(Continuation::AwaitReply);
    callee.set_continuation(Continuation::Run);
    caller.set_partner(portal.context.to_word());
    callee.set_caller(current);
    Start { entry: portal.entry.get() | if same { 0 } else { CLEAR }, identity: portal.identity() }
}

/// A reply without flags and semaphore by the context with this frame, of which nothing but the stack pointer is saved:
/// what a serving context has in its registers is undefined after a reply.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn try_reply(frame: &Frame) -> bool {
    // SAFETY: in the kernel, interrupts off; the store is local to this function.
    let store = unsafe { arch::pool::store() };
    let local = &percpu::this().local;
    // SAFETY: as in `try_call`.
    let callee = unsafe { Context::of_frame(frame) };
    // SAFETY: the words are set from references; what ends is taken out of them.
    let (caller_ref, time) = unsafe {
        let time = store.trusted::<Scheduling>(local.scheduling.get());
        let (Some(caller), Some(time)) = (store.trusted::<Context>(callee.caller()), time) else { return false };
        (caller, store.get(time))
    };
    let caller = store.get(caller_ref);
    if time.context != caller_ref
        || !caller.is(Continuation::AwaitReply)
        || !local.parked.is_empty()
        || !copy(callee.identity().message, caller.identity().message)
    {
        return false;
    }
    if switch::is_plain(caller) {
        switch::to_plain(caller_ref, caller);
    } else if !switch::to(&store, caller_ref) {
        return false;
    }
    callee.set_continuation(Continuation::AwaitCall);
    callee.set_caller(0);
    caller.set_continuation(Continuation::Run);
    true
}

/// The general way of a reply.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn reply() {
    // SAFETY: in the kernel, interrupts off; the store is local to this function.
    let store = unsafe { arch::pool::store() };
    if let Some(callee) = switch::current(&store) {
        call::reply(&store, callee);
    }
}

/// Up or down of a semaphore. A status, or [`SLOW`].
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn try_semaphore(word: u64) -> u64 {
    // SAFETY: in the kernel, interrupts off; the store is local to this function.
    let store = unsafe { arch::pool::store() };
    let down = word & 0x10 != 0;
    let needed = if down { SemaphoreRights::DOWN } else { SemaphoreRights::UP };
    let Some(semaphore) = named(word, Kind::Semaphore, needed.into()) else {
        return Status::BadCapability.number().into();
    };
    // SAFETY: as for portals.
    let semaphore = unsafe { store.at::<Semaphore>(semaphore) };
    if semaphore.try_at_once(down) { 0 } else { SLOW }
}
