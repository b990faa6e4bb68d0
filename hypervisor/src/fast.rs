//! The short ways: hypercalls and exceptions that most often are over in a few steps.
//!
//! Purpose: a call, an exception and a reply within a core when nothing else is to be done; ups and downs of semaphores.
//! Invariants: each does exactly what the general way does, or changes nothing that counts and leaves it to that. None but
//! [`try_down`] and [`wait`] blocks, none allocates or takes a lock but a semaphore's. A callee in another domain starts
//! with registers that are 0.
//! Concurrency: as the general way.
//! Source: design plan §6; `docs/src/decisions/0020-short-ways.md`.
use crate::call::{self, Outcome};
use crate::switch::{self, Tables};
use crate::vcpu::{self, Backend, Host};
use crate::{domain, scheduler, semaphore, slots, trap};
use abi::address::USER_END;
use abi::counter::Counter;
use abi::rights::{PortalRights, SemaphoreRights};
use abi::{Mtd, Request, Rights, Selector, Status};
use arch::entry::{self, SLOW};
use capability::word::{Capability, Kind};
use core::num::NonZeroU32;
use core::sync::atomic::Ordering::Relaxed;
use ipc::state;
use objects::frame::Frame;
use objects::{Context, Continuation, Page, Portal, Ref, Semaphore, Store};
use schedule::Tried;

/// First message word in a page.
const FIRST: usize = ipc::message::FIRST;

/// Copies a message without items. False, with nothing copied, if it has some, or more words than there can be.
#[inline]
fn copy(from: &Page, to: &Page) -> bool {
    let header = from[0].load(Relaxed);
    if header > abi::utcb::WORDS as u64 {
        return false;
    }
    to[0].store(header, Relaxed);
    arch::pool::copy_words(from, to, FIRST, header as usize);
    true
}

/// A call without flags through the portal of a capability by the context with this frame.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn try_call(word: u64, _: u64, frame: &Frame) -> ! {
    // SAFETY: in the kernel, interrupts off; the store is local to this function. SYSCALL stores into the frame of the
    // current context.
    let (store, caller) = unsafe { (arch::pool::store(), Context::of_frame(frame)) };
    if let Some(portal) = portal(&store, word, PortalRights::CALL.into())
        && let callee_ref = portal.context
        && let callee = store.get(callee_ref)
        && is_free(callee)
        && copy(caller.identity().message, callee.identity().message)
    {
        serve(portal, (callee_ref, callee), caller, Continuation::AwaitReply);
    }
    // SAFETY: the frame is the current context's.
    unsafe { entry::call_general(frame) }
}

/// The portal of a capability.
#[inline]
fn portal<'s>(store: &'s Store<'_>, word: u64, needed: Rights) -> Option<&'s Portal> {
    let word = Capability::from_word(word).object(Kind::Portal, needed)?;
    // SAFETY: capabilities to portals are made from references to portals only; a capability keeps its object.
    Some(unsafe { store.at(word) })
}

/// Whether a context of this core waits for a call.
#[inline]
fn is_free(callee: &Context) -> bool {
    callee.identity().core == percpu::this().local.id.get() && callee.is(Continuation::AwaitCall)
}

/// Lets a portal's context, which has its message, serve `caller`, the current one.
#[inline(always)]
fn serve(portal: &Portal, (callee_ref, callee): (Ref<Context>, &Context), caller: &Context, awaits: Continuation) -> ! {
    let current = percpu::this().local.current.get();
    match switch::tables(callee) {
        Tables::Loaded => {
            begin(callee_ref, caller, callee, current, awaits);
            switch::to_plain(callee_ref, callee);
            // SAFETY: it is current; a portal's entry point is in the user range.
            unsafe { entry::start(callee.frame(), portal.entry.get(), portal.identity.get()) }
        }
        Tables::Known(root) if switch::to_known(callee_ref, callee, root) => {
            begin(callee_ref, caller, callee, current, awaits);
            // SAFETY: as above.
            unsafe { entry::start_elsewhere(callee.frame(), portal.entry.get(), portal.identity.get()) }
        }
        _ => serve_slowly(portal, caller, awaits),
    }
}

/// Notes that `caller`, whose word is `current`, is served by `callee`.
#[inline(always)]
fn begin(callee_ref: Ref<Context>, caller: &Context, callee: &Context, current: u64, awaits: Continuation) {
    percpu::this().shared.count(Counter::Calls, 1);
    caller.set_continuation(awaits);
    callee.set_continuation(Continuation::Run);
    caller.partner.set(callee_ref.to_word());
    callee.caller.set(current);
}

/// As [`serve`], if more changes than frame and tables.
#[cold]
fn serve_slowly(portal: &Portal, caller: &Context, awaits: Continuation) -> ! {
    // SAFETY: as in `try_call`.
    let store = unsafe { arch::pool::store() };
    let (callee, current) = (store.get(portal.context), percpu::this().local.current.get());
    if switch::to(&store, portal.context) {
        begin(portal.context, caller, callee, current, awaits);
        // SAFETY: as in `serve`.
        unsafe { entry::start_elsewhere(callee.frame(), portal.entry.get(), portal.identity.get()) }
    }
    if awaits == Continuation::AwaitReply {
        // SAFETY: the frame is the current context's.
        unsafe { entry::call_general(caller.frame()) }
    }
    event_general(caller.frame(), caller.qualification()[1])
}

/// Leaves an exception to the general way.
#[cold]
fn event_general(frame: &Frame, address: u64) -> ! {
    // Looking at capabilities may have faulted too.
    arch::cpu::set_fault_address(address);
    // SAFETY: the frame is the current context's.
    unsafe { entry::event_general(frame) }
}

/// An exception in ring 3 that nothing but the context of its portal resolves. The frame is that of the current context.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn try_event(word: u64, frame: &Frame, address: u64, vector: u64) -> ! {
    event(word, frame, address, vector)
}

/// A page fault in ring 3 at `address`.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn try_fault(word: u64, frame: &Frame, address: u64, vector: u64) -> ! {
    // SAFETY: as in `try_call`.
    let (store, faulter) = unsafe { (arch::pool::store(), Context::of_frame(frame)) };
    let domain = store.get(faulter.identity().domain);
    if domain::lacks(domain, address)
        || trap::rights(frame.error.get()).is_none_or(|rights| !domain::allows(domain, address, rights))
    {
        event(word, frame, address, vector);
    }
    event_general(frame, address)
}

/// Tells the context of the portal of a capability of an exception.
#[inline(always)]
fn event(word: u64, frame: &Frame, address: u64, vector: u64) -> ! {
    // SAFETY: as in `try_call`.
    let (store, faulter) = unsafe { (arch::pool::store(), Context::of_frame(frame)) };
    if let Some(portal) = portal(&store, word, Rights::NONE)
        && let handler_ref = portal.context
        && let handler = store.get(handler_ref)
        && is_free(handler)
        && !portal.transfer.intersects(Mtd::FPU)
        && frame.rip.get() <= USER_END
    {
        state::save(frame, portal.transfer, [frame.error.get(), address], handler.identity().message);
        faulter.note_event(vector, address);
        serve(portal, (handler_ref, handler), faulter, Continuation::AwaitHandler);
    }
    event_general(frame, address)
}

/// An exit of a virtual CPU, the current context, with details of it. Returns if it is left to the general way.
#[inline(always)]
pub fn exit(host: &Host<impl Backend>, vcpu: &Context, event: u8, details: [u64; 2]) {
    // SAFETY: as in `try_call`.
    let store = unsafe { arch::pool::store() };
    let identity = vcpu.identity();
    let word =
        slots::look_up_in(store.get(identity.domain), Selector::new(identity.event_base + u64::from(event))).word();
    let Some(portal) = portal(&store, word, Rights::NONE) else { return };
    let (handler_ref, handler) = (portal.context, store.get(portal.context));
    if !is_free(handler) || !vcpu.is(Continuation::Run) || portal.transfer.intersects(Mtd::FPU) {
        return;
    }
    let (current, tables) = (percpu::this().local.current.get(), switch::tables(handler));
    match tables {
        Tables::Loaded => switch::to_plain(handler_ref, handler),
        Tables::Unknown => return,
        // It has tables.
        Tables::Known(_) => _ = switch::to(&store, handler_ref),
    }
    host.save(vcpu, portal.transfer, event, handler.identity().message);
    vcpu.set_event(event.into(), details);
    begin(handler_ref, vcpu, handler, current, Continuation::AwaitHandler);
    // SAFETY: it is current; a portal's entry point is in the user range.
    unsafe { entry::start_elsewhere(handler.frame(), portal.entry.get(), portal.identity.get()) }
}

/// A reply without flags and semaphore by the context with this frame, of which nothing but the stack pointer is saved:
/// what a serving context has in its registers is undefined after a reply.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn try_reply(_: u64, _: u64, frame: &Frame) -> ! {
    // SAFETY: as in `try_call`.
    let (store, callee) = unsafe { (arch::pool::store(), Context::of_frame(frame)) };
    let word = callee.caller.get();
    if word != percpu::this().local.payer.get() {
        reply()
    }
    let (caller_ref, caller) = caller_named(&store, word);
    if !caller.is(Continuation::AwaitReply) {
        handled(callee)
    }
    if !copy(callee.identity().message, caller.identity().message) {
        reply()
    }
    if !switch::to_simply(caller_ref, caller) {
        finish_slowly(callee);
    }
    finish(caller, callee);
    // SAFETY: it is current.
    unsafe { entry::return_to_caller(caller.frame()) }
}

/// The caller that pays, by the word that says so.
#[inline(always)]
fn caller_named<'s>(store: &'s Store<'_>, word: u64) -> (Ref<Context>, &'s Context) {
    // SAFETY: what pays is a context that exists, or all ones, which no caller is; it is never 0 while a context runs.
    let caller = unsafe { store.named(NonZeroU32::new_unchecked(word as u32)) };
    (caller, store.get(caller))
}

/// As [`try_reply`], to a context that has faulted: it goes on with the registers in the message.
#[inline(never)]
fn handled(callee: &Context) -> ! {
    // SAFETY: as in `try_call`.
    let store = unsafe { arch::pool::store() };
    let ((caller_ref, caller), from) = (caller_named(&store, callee.caller.get()), callee.identity().message);
    let simple = from[0].load(Relaxed) >> 16 == 0 && !state::descriptor(from).intersects(Mtd::FPU);
    if !simple || !caller.is(Continuation::AwaitHandler) || !caller.owns_page() {
        reply()
    }
    // Done again by the general way, if it comes to that.
    if caller.identity().guest {
        vcpu::restore(caller, from);
        switch::to_plain(caller_ref, caller);
        finish(caller, callee);
        // SAFETY: it is current, and its frame says that it is a virtual CPU's.
        unsafe { entry::leave(caller.frame()) }
    }
    state::restore(from, caller.frame());
    if !switch::to_simply(caller_ref, caller) {
        finish_slowly(callee);
    }
    finish(caller, callee);
    // SAFETY: it is current.
    unsafe { entry::return_from_event(caller.frame()) }
}

/// Notes that `callee` has served `caller`, which goes on.
#[inline(always)]
fn finish(caller: &Context, callee: &Context) {
    callee.set_continuation(Continuation::AwaitCall);
    callee.caller.set(0);
    caller.set_continuation(Continuation::Run);
}

/// The end of a reply if more changes than frame and tables.
#[cold]
fn finish_slowly(callee: &Context) -> ! {
    // SAFETY: as in `try_call`.
    let store = unsafe { arch::pool::store() };
    let (caller_ref, caller) = caller_named(&store, callee.caller.get());
    if !switch::to(&store, caller_ref) {
        reply()
    }
    finish(caller, callee);
    // SAFETY: it is current, and its frame says how it came into the kernel.
    unsafe { entry::leave(caller.frame()) }
}

/// The general way of a reply.
#[cold]
fn reply() -> ! {
    // SAFETY: in the kernel, interrupts off; the store is local to this function.
    let store = unsafe { arch::pool::store() };
    if let Some(callee) = switch::current(&store) {
        call::reply(&store, callee, None);
    }
    match switch::current(&store) {
        // SAFETY: it is current.
        Some((_, next)) => unsafe { entry::leave(next.frame()) },
        None => arch::cpu::halt(),
    }
}

/// Word of the semaphore that the hypercall `word` names, if the capability has these rights.
#[inline]
fn named(word: u64, needed: SemaphoreRights) -> Option<u64> {
    Capability::from_word(arch::capability::load(word >> 8)).object(Kind::Semaphore, needed.into())
}

const BAD_CAPABILITY: u64 = Status::BadCapability as u64;

/// Bit of a word that says that it is a semaphore's; no word has it.
const WHOLE: u64 = 1;

/// Up of a semaphore. A status, or what is left to [`finish_up`].
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn up(word: u64) -> u64 {
    let Some(word) = named(word, SemaphoreRights::UP) else { return BAD_CAPABILITY };
    // SAFETY: in the kernel, interrupts off; the store is local to this function. For the word see `portal`.
    let store = unsafe { arch::pool::store() };
    // SAFETY: as above.
    match unsafe { store.at::<Semaphore>(word) }.try_up(&store) {
        Some(None) => 0,
        Some(Some(waiter)) => waiter.to_word(),
        None => word | WHOLE,
    }
}

/// Lets the context `word` go on, which has got a semaphore; or ups one that is not plain, or that others are at.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn finish_up(word: u64) {
    // SAFETY: as in `up`.
    let store = unsafe { arch::pool::store() };
    match word & WHOLE {
        // SAFETY: it is that of a context that was waiting just now: it exists for a grace period at least.
        0 => scheduler::resume(&store, unsafe { store.certain(word) }, Status::Success),
        // SAFETY: it is that of the semaphore that `up` has found.
        _ => semaphore::up(&store, unsafe { store.certain(word & !WHOLE) }),
    }
}

/// The current context waits already, and has to leave the core.
const WAITS: u64 = SLOW + 1;

/// Down of a semaphore, by one. A status, [`WAITS`], or [`SLOW`].
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn try_down(word: u64) -> u64 {
    let Some(word) = named(word, SemaphoreRights::DOWN) else { return BAD_CAPABILITY };
    // SAFETY: as in `up`.
    let store = unsafe { arch::pool::store() };
    // SAFETY: the word is that of a context; it is not 0 while one runs.
    let current = unsafe { store.named(NonZeroU32::new_unchecked(percpu::this().local.current.get() as u32)) };
    // SAFETY: as in `up`.
    match unsafe { store.at::<Semaphore>(word) }.try_down() {
        Tried::Taken => 0,
        Tried::Empty(empty) if scheduler::leave(&store, current, word) => {
            Semaphore::wait(empty, &store, current);
            WAITS
        }
        _ => SLOW,
    }
}

/// After a down that was not simply done; all registers are in the frame. It waits, or most probably will.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn wait(frame: &Frame, why: u64) {
    if why == WAITS {
        // SAFETY: in the kernel, interrupts off; the store is local to this function.
        return scheduler::depart(&unsafe { arch::pool::store() });
    }
    wait_generally(frame);
}

#[inline(never)]
fn wait_generally(frame: &Frame) {
    // SAFETY: as above.
    let store = unsafe { arch::pool::store() };
    if let Some(current) = switch::current(&store)
        && let Outcome::Return(status) = semaphore::control(&store, current, Request::from_word(frame.rdi.get()), frame)
    {
        frame.rdi.set(status.number().into());
    }
}
