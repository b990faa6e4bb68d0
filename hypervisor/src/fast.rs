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
use core::num::NonZeroU32;
use core::sync::atomic::Ordering::Relaxed;
use objects::frame::Frame;
use objects::{Context, Continuation, Page, Portal, Ref, Semaphore};

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
    let store = unsafe { arch::pool::trusting_store() };
    let Some(portal) = named(word, Kind::Portal, PortalRights::CALL.into()) else { return GENERAL };
    // SAFETY: capabilities to portals are made from references to portals only; a capability keeps its object.
    let portal = unsafe { store.at::<Portal>(portal) };
    let callee_ref = portal.context;
    let callee = store.get(callee_ref);
    // SAFETY: SYSCALL stores into the frame of the current context.
    let caller = unsafe { Context::of_frame(frame) };
    if callee.identity().core != percpu::this().local.id.get()
        || !callee.is(Continuation::AwaitCall)
        || !copy(caller.identity().message, callee.identity().message)
    {
        return GENERAL;
    }
    if !switch::is_plain(callee) {
        return call_elsewhere(portal, caller, callee);
    }
    begin(callee_ref, caller, callee, percpu::this().local.current.get());
    switch::to_plain(callee_ref, callee);
    Start { entry: portal.entry.get(), identity: portal.identity() }
}

/// Notes that `caller`, whose word is `current`, is served by `callee`.
#[inline]
fn begin(callee_ref: Ref<Context>, caller: &Context, callee: &Context, current: u64) {
    caller.set_continuation(Continuation::AwaitReply);
    callee.set_continuation(Continuation::Run);
    caller.set_partner(callee_ref.to_word());
    callee.set_caller(current);
}

/// The rest of [`try_call`] if more changes than the frame.
#[inline(never)]
extern "C" fn call_elsewhere(portal: &Portal, caller: &Context, callee: &Context) -> Start {
    // SAFETY: as in `try_call`.
    let store = unsafe { arch::pool::store() };
    let current = percpu::this().local.current.get();
    if !switch::to(&store, portal.context) {
        return GENERAL;
    }
    begin(portal.context, caller, callee, current);
    Start { entry: portal.entry.get() | CLEAR, identity: portal.identity() }
}

/// A reply without flags and semaphore by the context with this frame, of which nothing but the stack pointer is saved:
/// what a serving context has in its registers is undefined after a reply. The frame of the caller, or null.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn try_reply(frame: &Frame) -> *const Frame {
    // SAFETY: in the kernel, interrupts off; the store is local to this function.
    let store = unsafe { arch::pool::trusting_store() };
    // SAFETY: as in `try_call`.
    let callee = unsafe { Context::of_frame(frame) };
    let caller_word = callee.caller();
    let Some(caller_id) = NonZeroU32::new(caller_word as u32) else { return core::ptr::null() };
    if caller_word != percpu::this().local.payer.get() {
        return core::ptr::null();
    }
    // SAFETY: what pays is a context that exists.
    let caller_ref: Ref<Context> = unsafe { store.named(caller_id) };
    let caller = store.get(caller_ref);
    if !caller.is(Continuation::AwaitReply) || !copy(callee.identity().message, caller.identity().message) {
        return core::ptr::null();
    }
    if !switch::is_plain(caller) {
        return reply_elsewhere(caller_word, caller, callee);
    }
    end(caller, callee);
    switch::to_plain(caller_ref, caller);
    caller.frame()
}

/// Notes that `callee` has served `caller`.
#[inline]
fn end(caller: &Context, callee: &Context) {
    callee.set_continuation(Continuation::AwaitCall);
    callee.set_caller(0);
    caller.set_continuation(Continuation::Run);
}

/// The rest of [`try_reply`] if more changes than the frame.
#[inline(never)]
extern "C" fn reply_elsewhere(caller_ref: u64, caller: &Context, callee: &Context) -> *const Frame {
    // SAFETY: as in `try_call`; the word is that of `caller`.
    let store = unsafe { arch::pool::store() };
    // SAFETY: as above.
    let switched = unsafe { store.trusted(caller_ref) }.is_some_and(|caller_ref| switch::to(&store, caller_ref));
    if !switched {
        return core::ptr::null();
    }
    end(caller, callee);
    caller.frame()
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
    let store = unsafe { arch::pool::trusting_store() };
    let down = word & 0x10 != 0;
    let needed = if down { SemaphoreRights::DOWN } else { SemaphoreRights::UP };
    let Some(semaphore) = named(word, Kind::Semaphore, needed.into()) else {
        return Status::BadCapability.number().into();
    };
    // SAFETY: as for portals.
    let semaphore = unsafe { store.at::<Semaphore>(semaphore) };
    if semaphore.try_at_once(down) { 0 } else { SLOW }
}
