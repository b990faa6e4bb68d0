//! Calls through portals, and replies.
//!
//! Purpose: rendezvous of a caller and a serving context on one core, with the caller's time; faults arrive as calls.
//! Invariants: a context serves one caller; a caller waits until that context replies; nothing is copied that the
//! header or the transfer descriptor does not name; who finds the serving context busy lends it his time and tries
//! again.
//! Concurrency: both contexts belong to the calling core; calls to other cores are made there, by a proxy ([`remote`]).
//! Source: interface §5 ("call", "reply") and §6; lecture E:560-623.
use crate::items::{self, Windows};
use crate::slots::look_up;
use crate::{contexts, exhausted, remote, scheduler, slots, switch, tidy, vcpu, vectors};
use abi::address::{PAGE_BITS, USER_END};
use abi::counter::Counter;
use abi::crd::MAX_ORDER;
use abi::rights::{MemoryRights, PortalRights};
use abi::{Crd, Mtd, Rights, Selector, Status};
use core::sync::atomic::Ordering::Relaxed;
use ipc::{message, state};
use objects::frame::{Frame, SYSCALL, USER_FLAGS};
use objects::{Context, Continuation, Portal, Ref, Scheduling, Semaphore, Store};

/// What becomes of the context that entered the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on, with a status.
    Return(Status),
    /// It does not, or its registers are as they should be.
    Switched,
}

/// Bytes of the SYSCALL instruction.
const SYSCALL_LENGTH: u64 = 2;

/// Calls through the portal at `selector`; without `blocking` a busy portal is a time-out.
pub fn call(
    store: &Store<'_>,
    (caller_ref, caller): (Ref<Context>, &Context),
    selector: Selector,
    blocking: bool,
) -> Outcome {
    let capability = look_up(selector);
    let Some(portal_ref) = slots::object::<Portal>(store, capability, PortalRights::CALL) else {
        return Outcome::Return(Status::BadCapability);
    };
    let portal = store.get(portal_ref);
    let callee = store.get(portal.context);
    if callee.identity().core != caller.identity().core {
        let allowed = capability.rights().contains(PortalRights::CALL_CROSS_CPU.into());
        let called = if allowed { remote::call(store, caller_ref, portal_ref, blocking) } else { Err(Status::BadCpu) };
        return called.map_or_else(Outcome::Return, |()| Outcome::Switched);
    }
    match callee.continuation() {
        Continuation::AwaitCall => {}
        waits if !blocking || waits == Continuation::Dead => return Outcome::Return(Status::Timeout),
        _ => {
            again(caller.frame());
            scheduler::help(store, portal.context);
            return Outcome::Switched;
        }
    }
    if let Err(status) = send(store, caller, callee) {
        if tidy::helps(store, &caller.frame().rdi, [store.get(callee.identity().domain)]) {
            return again(caller.frame());
        }
        return exhausted::calling(store, (caller_ref, caller), callee, (exhausted::CALL, status));
    }
    caller.set_continuation(Continuation::AwaitReply);
    serve(store, (caller_ref, caller), portal);
    if !callee.is(Continuation::Run) || !switch::to(store, portal.context) {
        // It has something to do first, or ends there and tells its caller.
        scheduler::help(store, portal.context);
    }
    Outcome::Switched
}

/// Makes a context's hypercall happen again, with the same registers, when it goes on.
pub fn again(frame: &Frame) -> Outcome {
    frame.rip.set(frame.rip.get().wrapping_sub(SYSCALL_LENGTH));
    Outcome::Switched
}

/// Passes a message: words, then items, into the receiver's windows.
///
/// # Errors
/// [`Status::QuotaExhausted`]
pub fn send(store: &Store<'_>, from: &Context, to: &Context) -> Result<(), Status> {
    let page = to.identity().message;
    if message::copy(from.identity().message, page).items() == 0 {
        return Ok(());
    }
    let window = |index: usize| Crd::from_word(page[index].load(Relaxed));
    let windows = Windows { translate: window(1), delegate: window(2) };
    items::exchange(store, from.identity(), to.identity(), windows)
}

/// As [`send`], where nothing is made again: if `to` lacks memory, with its empty tables' too.
///
/// # Errors
/// As for [`send`].
pub fn send_at_once(store: &Store<'_>, from: &Context, to: &Context) -> Result<(), Status> {
    let helps = || tidy::helps_at_once(store, store.get(to.identity().domain));
    send(store, from, to).or_else(|status| if helps() { send(store, from, to) } else { Err(status) })
}

/// Makes the context of `portal` serve `caller`, as soon as it runs, and has taken what it has to take before.
pub fn serve(store: &Store<'_>, (caller_ref, caller): (Ref<Context>, &Context), portal: &Portal) {
    let callee = store.get(portal.context);
    percpu::this().shared.count(Counter::Calls, 1);
    caller.partner.set(portal.context.to_word());
    callee.caller.set(caller_ref.to_word());
    callee.frame().rip.set(portal.entry.get());
    callee.frame().rdi.set(portal.identity.get());
    callee.frame().vector.set(SYSCALL);
    callee.proceed(Continuation::Run);
}

/// Replies to the caller of the current context, which waits for the next call then. The caller waits for `semaphore`
/// first, if there is one.
pub fn reply(store: &Store<'_>, (callee_ref, callee): (Ref<Context>, &Context), semaphore: Option<Ref<Semaphore>>) {
    if callee.identity().global {
        return contexts::die(store, callee_ref, format_args!("it replied, but serves nobody"));
    }
    callee.set_continuation(Continuation::AwaitCall);
    scheduler::unpark(store);
    // SAFETY: `serve` sets the word, from a reference; a context that ends clears it.
    let caller = unsafe { store.trusted::<Context>(callee.caller.get()) };
    callee.caller.set(0);
    // A caller that is gone gets nothing; the time is somebody's all the same.
    let Some(caller_ref) = caller else { return scheduler::reschedule(store, false) };
    let caller = store.get(caller_ref);
    match caller.continuation() {
        Continuation::AwaitHandler if caller.has_moved() => contexts::kill(store, caller_ref),
        Continuation::AwaitHandler => {
            if !restore(store, callee, caller) {
                return contexts::die(store, caller_ref, vectors::NO_MEMORY);
            }
            caller.proceed(Continuation::Run);
        }
        Continuation::AwaitMemory => drop(caller.proceed(Continuation::Run)),
        Continuation::AwaitMemoryForReply => drop(caller.proceed(Continuation::ReplyAgain)),
        Continuation::AwaitRelay => match semaphore {
            Some(_) => drop(caller.proceed(Continuation::CallPortal)),
            None => remote::complete(store, caller_ref, send_at_once(store, callee, caller).err()),
        },
        _ => {
            if semaphore.is_some() {
                again(caller.frame());
            } else if send_at_once(store, callee, caller).is_err()
                && let Delivery::Done(next) | Delivery::Busy(next) =
                    reply_later(store, (callee_ref, callee), caller_ref)
            {
                return scheduler::help(store, next);
            }
            caller.proceed(Continuation::Run);
        }
    }
    let goes_on = caller.continuation() != Continuation::Dead;
    if semaphore.is_some_and(|semaphore| goes_on && !scheduler::hold(store, caller_ref, semaphore)) {
        return scheduler::reschedule(store, false);
    }
    // Whoever helped goes on with his own business, the caller with his own time.
    if !caller.is(Continuation::Run) || !pays_for(store, caller_ref) || !switch::to(store, caller_ref) {
        scheduler::reschedule(store, false);
    }
}

/// Gives `caller`, which has had an event, the state and the memory that its handler has left in its message. False if there
/// is no memory for its vector registers.
fn restore(store: &Store<'_>, handler: &Context, caller: &Context) -> bool {
    let from = handler.identity().message;
    let guest = caller.identity().guest;
    let mtd = if guest { vcpu::restore(caller, from) } else { state::restore(from, caller.frame()) };
    if mtd.contains(Mtd::FPU) && !vectors::change(store, caller, from) {
        return false;
    }
    // What the handler delegates lands where the fault was, within a window that holds all of memory there.
    let around = caller.qualification()[1] >> PAGE_BITS;
    let delegate = Crd::memory(around, MAX_ORDER, MemoryRights::all()).unwrap_or(Crd::NULL);
    let to = caller.identity().domain;
    let give = || items::delegate(store, (handler.identity().domain, from), (to, delegate), (0, 0), false);
    // A handler that cannot give what it promised will see the fault again.
    if give().is_err() && tidy::helps_at_once(store, store.get(to)) {
        let _ = give();
    }
    true
}

/// What becomes of a reply for whose items the caller has no memory: it is made again when there is some, or the call ends
/// with a status, and the caller can go on. The context to go on with, if the reply waits.
fn reply_later(store: &Store<'_>, callee: (Ref<Context>, &Context), caller_ref: Ref<Context>) -> Delivery {
    let caller = store.get(caller_ref);
    callee.1.caller.set(caller_ref.to_word());
    let delivery = exhausted::replying(store, callee, caller);
    match delivery {
        Delivery::Done(_) => {}
        Delivery::Busy(_) => drop(callee.1.proceed(Continuation::ReplyAgain)),
        Delivery::Refused => {
            callee.1.caller.set(0);
            caller.frame().rdi.set(u64::from(Status::QuotaExhausted.number()));
        }
    }
    delivery
}

/// Makes a reply again that had to wait for memory. The context to go on with if it has to wait once more; refused if
/// not.
pub fn reply_again(store: &Store<'_>, callee_ref: Ref<Context>) -> Delivery {
    let callee = store.get(callee_ref);
    // SAFETY: as in `reply`.
    let caller = unsafe { store.trusted::<Context>(callee.caller.get()) };
    if let Some(caller_ref) = caller.filter(|&caller| store.get(caller).continuation() == Continuation::AwaitReply) {
        let caller = store.get(caller_ref);
        if send_at_once(store, callee, caller).is_err() {
            let delivery = reply_later(store, (callee_ref, callee), caller_ref);
            if delivery != Delivery::Refused {
                return delivery;
            }
        }
        caller.proceed(Continuation::Run);
    }
    callee.caller.set(0);
    callee.proceed(Continuation::AwaitCall);
    scheduler::unpark(store);
    Delivery::Refused
}

/// Links of a chain of contexts that serve one another which are followed at once.
pub const LONGEST: usize = 1024;

/// Whether the scheduling context on whose time the core runs is the one that `context` runs on. The answer may be no if
/// the chain is long.
pub fn pays_for(store: &Store<'_>, context: Ref<Context>) -> bool {
    // SAFETY: the scheduler sets the word, from a reference; a scheduling context that ends is taken out of it.
    let scheduling = unsafe { store.trusted::<Scheduling>(percpu::this().local.scheduling.get()) };
    let mut at = scheduling.map(|scheduling| store.get(scheduling).context);
    for _ in 0..LONGEST {
        match at {
            Some(next) if next == context => return true,
            Some(next) if store.get(next).continuation().is_served() => {
                at = store.reference(store.get(next).partner.get())
            }
            _ => return false,
        }
    }
    false
}

/// What became of an event.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// This context handles it, as soon as it runs.
    Done(Ref<Context>),
    /// This context is to handle it, and does something else.
    Busy(Ref<Context>),
    /// Nobody can take it.
    Refused,
}

/// As [`deliver`], for a context that has been current until now; whoever is to run goes on. False if nobody can take the
/// event.
pub fn tell(store: &Store<'_>, context_ref: Ref<Context>, event: u64, qualification: [u64; 2]) -> bool {
    let handler = match deliver(store, context_ref, event, qualification) {
        Delivery::Done(handler) => handler,
        Delivery::Busy(handler) => {
            let context = store.get(context_ref);
            context.set_event(event, qualification);
            context.proceed(Continuation::Event);
            handler
        }
        Delivery::Refused => return false,
    };
    scheduler::help(store, handler);
    true
}

/// Turns an event of a context, whose domain's tables are loaded, into a call through its portal for it, with error code
/// and address.
pub fn deliver(store: &Store<'_>, faulter_ref: Ref<Context>, event: u64, qualification: [u64; 2]) -> Delivery {
    let faulter = store.get(faulter_ref);
    let (frame, identity) = (faulter.frame(), faulter.identity());
    let selector = Selector::new(identity.event_base + event);
    let capability = if identity.guest {
        slots::look_up_in(store.get(identity.domain), selector)
    } else {
        frame.rip.set(frame.rip.get().min(USER_END));
        look_up(selector)
    };
    let Some(portal) = slots::object::<Portal>(store, capability, Rights::NONE) else { return Delivery::Refused };
    let portal = store.get(portal);
    let handler = store.get(portal.context);
    if handler.identity().core != faulter.identity().core {
        return Delivery::Refused;
    }
    match handler.continuation() {
        Continuation::AwaitCall => {
            if frame.vector.get() == SYSCALL {
                // What the hypercall would have left there.
                frame.rcx.set(frame.rip.get());
                frame.r11.set(USER_FLAGS & !2);
                frame.rflags.set(USER_FLAGS);
            }
            let message = handler.identity().message;
            if identity.guest {
                vcpu::save(faulter, portal.transfer, event, message);
            } else {
                state::save(frame, portal.transfer, qualification, message);
            }
            if portal.transfer.contains(Mtd::FPU) {
                vectors::show(store, faulter, message);
            }
            faulter.set_event(event, qualification);
            if event == identity.recall() {
                faulter.take_recall();
            }
            faulter.proceed(Continuation::AwaitHandler);
            serve(store, (faulter_ref, faulter), portal);
            Delivery::Done(portal.context)
        }
        Continuation::Dead => Delivery::Refused,
        _ => Delivery::Busy(portal.context),
    }
}
