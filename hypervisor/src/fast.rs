//! The short ways: hypercalls that most often are over in a few steps.
//!
//! Purpose: a call and a reply within a core when nothing else is to be done; semaphores that nobody waits for.
//! Invariants: each does exactly what the general way does, or changes nothing that counts and leaves it to that. None of
//! them blocks, allocates or takes a lock but a semaphore's. A callee in another domain starts with registers that are 0.
//! Concurrency: as the general way.
//! Source: design plan §6; `docs/src/decisions/0020-short-ways.md`.
use crate::call::{self, Outcome};
use crate::{domain, semaphore, switch, trap};
use abi::address::USER_END;
use abi::event::Exception;
use abi::rights::{PortalRights, SemaphoreRights};
use abi::{Mtd, Request, Rights, Status};
use arch::entry::{SLOW, Start};
use capability::word::{Capability, Kind};
use core::num::NonZeroU32;
use core::sync::atomic::Ordering::Relaxed;
use ipc::state;
use objects::frame::Frame;
use objects::{Context, Continuation, Page, Portal, Ref, Semaphore};

/// To the general way.
const GENERAL: Start = Start { entry: u64::MAX, identity: 0 };
/// First message word in a page.
const FIRST: usize = ipc::message::FIRST;
/// Makes entry code clear the registers that the callee has no use for.
const CLEAR: u64 = 1 << 63;

const PAGE_FAULT: u64 = Exception::PAGE_FAULT.vector() as u64;
/// Exceptions that the kernel never resolves itself: #DE, #BP, #OF, #BR, #UD, #AC, #XM, #MF.
const PLAIN: u64 = 1 << 0 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 16 | 1 << 17 | 1 << 19;

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
    begin(callee_ref, caller, callee, percpu::this().local.current.get(), Continuation::AwaitReply);
    switch::to_plain(callee_ref, callee);
    Start { entry: portal.entry.get(), identity: portal.identity.get() }
}

/// Notes that `caller`, whose word is `current`, is served by `callee`.
#[inline]
fn begin(callee_ref: Ref<Context>, caller: &Context, callee: &Context, current: u64, awaits: Continuation) {
    caller.set_continuation(awaits);
    callee.set_continuation(Continuation::Run);
    caller.partner.set(callee_ref.to_word());
    callee.caller.set(current);
}

/// The rest of [`try_call`] if more changes than the frame.
#[inline(never)]
fn call_elsewhere(portal: &Portal, caller: &Context, callee: &Context) -> Start {
    // SAFETY: as in `try_call`.
    let store = unsafe { arch::pool::store() };
    let current = percpu::this().local.current.get();
    if !switch::to(&store, portal.context) {
        return GENERAL;
    }
    begin(portal.context, caller, callee, current, Continuation::AwaitReply);
    Start { entry: portal.entry.get() | CLEAR, identity: portal.identity.get() }
}

/// An exception in ring 3 that nothing but its portal's context resolves, and that is free to do so. The frame is that of
/// the current context.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn try_event(frame: &Frame) -> Start {
    // SAFETY: as in `try_call`.
    let (store, faulter) = unsafe { (arch::pool::trusting_store(), Context::of_frame(frame)) };
    let (event, error) = (frame.vector.get(), frame.error.get());
    let address = if event == PAGE_FAULT { arch::cpu::fault_address() } else { 0 };
    let general = || {
        // Looking at capabilities may have faulted too.
        if event == PAGE_FAULT {
            arch::cpu::set_fault_address(address);
        }
        GENERAL
    };
    let plain = match event {
        PAGE_FAULT => {
            let domain = store.get(faulter.identity().domain);
            trap::rights(error).is_none_or(|rights| !domain::allows(domain, address, rights))
        }
        _ => PLAIN >> event & 1 != 0,
    };
    let Some(portal) = named((faulter.identity().event_base + event) << 8, Kind::Portal, Rights::NONE) else {
        return general();
    };
    // SAFETY: as in `try_call`.
    let portal = unsafe { store.at::<Portal>(portal) };
    let handler_ref = portal.context;
    let handler = store.get(handler_ref);
    if !plain
        || handler.identity().core != percpu::this().local.id.get()
        || !handler.is(Continuation::AwaitCall)
        || !faulter.is(Continuation::Run)
        || portal.transfer.intersects(Mtd::FPU)
    {
        return general();
    }
    if !switch::is_plain(handler) {
        return event_elsewhere(portal, faulter, handler, [event, error, address]);
    }
    notify(portal, faulter, handler, [event, error, address], percpu::this().local.current.get());
    switch::to_plain(handler_ref, handler);
    Start { entry: portal.entry.get(), identity: portal.identity.get() }
}

/// Tells `handler` of the event, with error code and address, of the context whose word is `current`.
#[inline]
fn notify(portal: &Portal, faulter: &Context, handler: &Context, [event, error, address]: [u64; 3], current: u64) {
    let frame = faulter.frame();
    frame.rip.set(frame.rip.get().min(USER_END));
    state::save(frame, portal.transfer, [error, address], handler.identity().message);
    faulter.set_event(event, [error, address]);
    begin(portal.context, faulter, handler, current, Continuation::AwaitHandler);
}

/// The rest of [`try_event`] if more changes than the frame.
#[inline(never)]
fn event_elsewhere(portal: &Portal, faulter: &Context, handler: &Context, event: [u64; 3]) -> Start {
    // SAFETY: as in `try_call`.
    let store = unsafe { arch::pool::store() };
    let current = percpu::this().local.current.get();
    if !switch::to(&store, portal.context) {
        arch::cpu::set_fault_address(event[2]);
        return GENERAL;
    }
    notify(portal, faulter, handler, event, current);
    Start { entry: portal.entry.get() | CLEAR, identity: portal.identity.get() }
}

/// A reply without flags and semaphore by the context with this frame, of which nothing but the stack pointer is saved:
/// what a serving context has in its registers is undefined after a reply. Address of the caller's frame; 0 if nothing was
/// done, 1 if the caller is one that has faulted.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn try_reply(frame: &Frame) -> u64 {
    // SAFETY: in the kernel, interrupts off; the store is local to this function.
    let store = unsafe { arch::pool::trusting_store() };
    // SAFETY: as in `try_call`.
    let callee = unsafe { Context::of_frame(frame) };
    let caller_word = callee.caller.get();
    if caller_word != percpu::this().local.payer.get() {
        return 0;
    }
    // SAFETY: what pays is a context that exists, or all ones, which no caller is; it is never 0 while a context runs.
    let caller_ref: Ref<Context> = unsafe { store.named(NonZeroU32::new_unchecked(caller_word as u32)) };
    let caller = store.get(caller_ref);
    if !caller.is(Continuation::AwaitReply) {
        return handled(caller_ref, caller, callee);
    }
    if !copy(callee.identity().message, caller.identity().message) {
        return 0;
    }
    if !switch::is_plain(caller) {
        return reply_elsewhere(caller_ref, caller, callee);
    }
    end(caller, callee);
    switch::to_plain(caller_ref, caller);
    core::ptr::from_ref(caller).addr() as u64
}

/// As [`try_reply`], to a context that has faulted: it goes on with the registers in the message.
#[inline(never)]
fn handled(caller_ref: Ref<Context>, caller: &Context, callee: &Context) -> u64 {
    let from = callee.identity().message;
    let simple = from[0].load(Relaxed) as u32 >> 16 == 0 && !state::descriptor(from).intersects(Mtd::FPU);
    if !caller.is(Continuation::AwaitHandler) || caller.has_moved() || !simple {
        return 0;
    }
    // SAFETY: as in `try_call`.
    let store = unsafe { arch::pool::store() };
    if switch::is_plain(caller) {
        switch::to_plain(caller_ref, caller);
    } else if !switch::to(&store, caller_ref) {
        return 0;
    }
    state::restore(from, caller.frame());
    end(caller, callee);
    1
}

/// Notes that `callee` has served `caller`.
#[inline]
fn end(caller: &Context, callee: &Context) {
    callee.set_continuation(Continuation::AwaitCall);
    callee.caller.set(0);
    caller.set_continuation(Continuation::Run);
}

/// The rest of [`try_reply`] if more changes than the frame.
#[inline(never)]
fn reply_elsewhere(caller_ref: Ref<Context>, caller: &Context, callee: &Context) -> u64 {
    // SAFETY: as in `try_call`.
    let store = unsafe { arch::pool::store() };
    if !switch::to(&store, caller_ref) {
        return 0;
    }
    end(caller, callee);
    core::ptr::from_ref(caller).addr() as u64
}

/// The general way of a reply.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn reply() {
    // SAFETY: in the kernel, interrupts off; the store is local to this function.
    let store = unsafe { arch::pool::store() };
    if let Some(callee) = switch::current(&store) {
        call::reply(&store, callee, None);
    }
}

const BAD_CAPABILITY: u64 = Status::BadCapability as u64;

/// Up of a semaphore. A status.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn up(word: u64) -> u64 {
    let Some(word) = named(word, Kind::Semaphore, SemaphoreRights::UP.into()) else { return BAD_CAPABILITY };
    // SAFETY: in the kernel, interrupts off; the store is local to this function. For the word see `try_call`.
    let store = unsafe { arch::pool::trusting_store() };
    // SAFETY: as above.
    if !unsafe { store.at::<Semaphore>(word) }.try_up() {
        wake(word);
    }
    0
}

/// Ups a semaphore for which somebody waits, or which is no plain one.
#[inline(never)]
fn wake(word: u64) {
    // SAFETY: as in `up`.
    let store = unsafe { arch::pool::store() };
    // SAFETY: likewise.
    if let Some(reference) = unsafe { store.trusted(word) } {
        semaphore::up(&store, reference);
    }
}

/// Down of a semaphore, by one. A status, or [`SLOW`].
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn try_down(word: u64) -> u64 {
    let Some(word) = named(word, Kind::Semaphore, SemaphoreRights::DOWN.into()) else { return BAD_CAPABILITY };
    // SAFETY: as in `up`.
    let taken = unsafe { arch::pool::trusting_store().at::<Semaphore>(word).try_down() };
    if taken { 0 } else { SLOW }
}

/// A down that most probably waits; all registers are in the frame.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn wait(frame: &Frame) {
    // SAFETY: in the kernel, interrupts off; the store is local to this function.
    let store = unsafe { arch::pool::store() };
    if let Some(current) = switch::current(&store)
        && let Outcome::Return(status) = semaphore::control(&store, current, Request::from_word(frame.rdi.get()), frame)
    {
        frame.rdi.set(status.number().into());
    }
}
