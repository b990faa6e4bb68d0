//! Calls through portals, and replies.
//!
//! Purpose: rendezvous of a caller and a serving context on one core, with the caller's time; faults arrive as calls.
//! Invariants: a context serves one caller; a caller waits until that context replies; nothing is copied that the
//! header or the transfer descriptor does not name; who finds the serving context busy lends it his time and tries
//! again.
//! Concurrency: both contexts belong to the calling core.
//! Source: interface §5 ("call", "reply") and §6; lecture E:560-623.
use crate::items::{self, Windows};
use crate::slots::look_up;
use crate::{domain, scheduler, switch};
use abi::address::{PAGE_BITS, USER_END};
use abi::crd::MAX_ORDER;
use abi::rights::MemoryRights;
use abi::{Crd, Selector, Status};
use capability::word::Kind;
use core::sync::atomic::Ordering::Relaxed;
use ipc::{message, state};
use objects::{Context, Continuation, Portal, Ref, Scheduling, Store};

/// What becomes of the context that entered the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on, with a status.
    Return(Status),
    /// It does not, or its registers are as they should be.
    Switched,
}

/// Bytes of the SYSCALL instruction.
pub const SYSCALL_LENGTH: u64 = 2;

/// The portal at `selector` of the current domain.
fn portal<'s>(store: &'s Store<'_>, selector: Selector) -> Option<&'s Portal> {
    let word = look_up(selector).object(Kind::Portal, abi::Rights::NONE)?;
    // SAFETY: capabilities to portals are made from references to portals only, which are not destroyed yet.
    unsafe { store.trusted(word) }.map(|portal| store.get(portal))
}

/// Calls through the portal at `selector`; without `blocking` a busy portal is a time-out.
pub fn call(
    store: &Store<'_>,
    (caller_ref, caller): (Ref<Context>, &Context),
    selector: Selector,
    blocking: bool,
) -> Outcome {
    let Some(portal) = portal(store, selector) else { return Outcome::Return(Status::BadCapability) };
    let callee = store.get(portal.context);
    if callee.identity().core != caller.identity().core {
        return Outcome::Return(Status::BadCpu);
    }
    match callee.continuation() {
        Continuation::AwaitCall => {
            if let Err(status) = send(store, caller, callee) {
                return Outcome::Return(status);
            }
            caller.set_continuation(Continuation::AwaitReply);
            enter(store, (caller_ref, caller), portal);
        }
        Continuation::Dead => return Outcome::Return(Status::Timeout),
        _ if !blocking => return Outcome::Return(Status::Timeout),
        _ => {
            caller.frame().rip.set(caller.frame().rip.get().wrapping_sub(SYSCALL_LENGTH));
            scheduler::help(store, portal.context);
        }
    }
    Outcome::Switched
}

/// Passes a message: words, then items, into the receiver's windows.
fn send(store: &Store<'_>, from: &Context, to: &Context) -> Result<(), Status> {
    let page = to.identity().message;
    if message::copy(from.identity().message, page).items() == 0 {
        return Ok(());
    }
    let window = |index: usize| Crd::from_word(page[index].load(Relaxed));
    let windows = Windows { translate: window(1), delegate: window(2) };
    items::exchange(store, from.identity(), to.identity(), windows)
}

/// Makes the context of `portal` serve `caller`.
fn enter(store: &Store<'_>, (caller_ref, caller): (Ref<Context>, &Context), portal: &Portal) {
    let callee = store.get(portal.context);
    caller.set_partner(portal.context.to_word());
    callee.set_caller(caller_ref.to_word());
    callee.set_continuation(Continuation::Run);
    callee.frame().rip.set(portal.entry.get());
    callee.frame().rdi.set(portal.identity());
    callee.frame().vector.set(objects::frame::SYSCALL);
    if !switch::to(store, portal.context) {
        domain::die(store, portal.context, format_args!("no kernel memory for its tables on this core"));
    }
}

/// Replies to the caller of the current context, which waits for the next call then.
pub fn reply(store: &Store<'_>, (callee_ref, callee): (Ref<Context>, &Context)) {
    if callee.identity().global {
        return domain::die(store, callee_ref, format_args!("it replied, but serves nobody"));
    }
    callee.set_continuation(Continuation::AwaitCall);
    scheduler::unpark(store);
    // SAFETY: `enter` sets the word, from a reference; contexts are not destroyed yet.
    let caller = unsafe { store.trusted::<Context>(callee.caller()) };
    callee.set_caller(0);
    // A caller that is gone gets nothing; the time is somebody's all the same.
    let Some(caller_ref) = caller else { return scheduler::reschedule(store, false) };
    let caller = store.get(caller_ref);
    let from = callee.identity().message;
    match caller.continuation() {
        Continuation::AwaitHandler => {
            state::restore(from, caller.frame());
            // What the handler delegates lands where the fault was, within a window that holds all of memory there.
            let around = caller.fault() >> PAGE_BITS;
            let delegate = Crd::memory(around, MAX_ORDER, MemoryRights::all()).unwrap_or(Crd::NULL);
            // A handler that cannot give what it promised will see the fault again.
            let _ = items::delegate(store, callee.identity().domain, from, caller.identity().domain, delegate);
        }
        _ => {
            if send(store, callee, caller).is_err() {
                caller.frame().rdi.set(u64::from(Status::QuotaExhausted.number()));
            }
        }
    }
    caller.set_continuation(Continuation::Run);
    // Whoever helped goes on with his own business, the caller with his own time.
    if !pays_for(store, caller_ref) || !switch::to(store, caller_ref) {
        scheduler::reschedule(store, false);
    }
}

/// Whether the scheduling context on whose time the core runs is the one that `context` runs on.
fn pays_for(store: &Store<'_>, context: Ref<Context>) -> bool {
    // SAFETY: the scheduler sets the word, from a reference; scheduling contexts are not destroyed yet.
    let scheduling = unsafe { store.trusted::<Scheduling>(percpu::this().local.scheduling.get()) };
    let mut at = scheduling.map(|scheduling| store.get(scheduling).context);
    while let Some(next) = at {
        if next == context {
            return true;
        }
        let waits = store.get(next).continuation();
        let serves = matches!(waits, Continuation::AwaitReply | Continuation::AwaitHandler);
        at = store.reference(store.get(next).partner()).filter(|_| serves);
    }
    false
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Its handler runs.
    Done,
    /// Its handler serves somebody else; the fault will happen again.
    Busy(Ref<Context>),
    /// Nobody can take it.
    Refused,
}

/// Turns a fault of the current context into a call through the portal of `event`, with error code and address.
pub fn deliver(store: &Store<'_>, event: u64, qualification: [u64; 2]) -> Delivery {
    let Some((faulter_ref, faulter)) = switch::current(store) else { return Delivery::Refused };
    faulter.frame().rip.set(faulter.frame().rip.get().min(USER_END));
    let Some(portal) = portal(store, Selector::new(faulter.identity().event_base + event)) else {
        return Delivery::Refused;
    };
    let handler = store.get(portal.context);
    if handler.identity().core != faulter.identity().core {
        return Delivery::Refused;
    }
    match handler.continuation() {
        Continuation::AwaitCall => {
            state::save(faulter.frame(), portal.transfer, qualification, handler.identity().message);
            faulter.set_fault(qualification[1]);
            faulter.set_continuation(Continuation::AwaitHandler);
            enter(store, (faulter_ref, faulter), portal);
            Delivery::Done
        }
        Continuation::Dead => Delivery::Refused,
        _ => Delivery::Busy(portal.context),
    }
}
