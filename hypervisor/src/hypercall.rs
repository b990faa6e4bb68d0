//! Hypercalls.
//!
//! Purpose: decode what ring 3 asks for, do it, and leave a status. So far: call and reply within a core, creation of
//! local contexts and of portals, delegation of ports from hypervisor space (how a root program gets its ports).
//! Invariants: every word in every register has an answer; a number that this kernel does not serve yet answers
//! `BadHypercall`, an unknown sub-operation `BadParameter`; nothing from ring 3 is used as an address.
//! Concurrency: runs on the core of the caller, interrupts off.
//! Source: interface §1, §3 and §5.
use crate::call::{self, Outcome};
use crate::{create, domain, scheduler, semaphore, switch};
use abi::item::{ItemFlags, ItemKind};
use abi::operation::{CallFlags, ContextControl, Misc};
use abi::utcb::{self, Header};
use abi::{Crd, Hypercall, Kind, Request, Selector, Status, TypedItem};
use capability::window::{Range, overlap};
use core::sync::atomic::Ordering;
use objects::frame::Frame;
use objects::{Context, Domain, Ref, Store};

/// Entered from `syscall_entry`. Whether another context leaves the kernel than the one that entered it.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn hypercall(frame: &Frame) -> bool {
    // SAFETY: in the kernel, interrupts off; the store is local to this function.
    let store = unsafe { arch::pool::store() };
    let request = Request::from_word(frame.rdi.get());
    let outcome = match switch::current(&store) {
        Some(caller) => dispatch(&store, caller, request, frame),
        None => Outcome::Return(Status::BadHypercall),
    };
    match outcome {
        Outcome::Return(status) => frame.rdi.set(u64::from(status.number())),
        Outcome::Switched => {}
    }
    outcome == Outcome::Switched
}

/// A reply without a semaphore, entered from `syscall_entry` with nothing but the stack pointer saved: what a serving
/// context has in its registers is undefined after a reply.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn reply() {
    // SAFETY: in the kernel, interrupts off; the store is local to this function.
    let store = unsafe { arch::pool::store() };
    if let Some(callee) = switch::current(&store) {
        call::reply(&store, callee);
    }
}

fn dispatch(store: &Store<'_>, caller: (Ref<Context>, &Context), request: Request, frame: &Frame) -> Outcome {
    let (at, domain) = (request.selector, store.get(caller.1.identity().domain));
    let done = match request.hypercall {
        Hypercall::Call => {
            return call::call(
                store,
                caller,
                at,
                !CallFlags::from_bits_retain(request.flags).contains(CallFlags::DO_NOT_BLOCK),
            );
        }
        // Comes here with flags or a semaphore only; a plain one takes its own way from entry code.
        Hypercall::Reply => {
            call::reply(store, caller);
            return Outcome::Switched;
        }
        Hypercall::CreateContext => create::context(store, domain, at, request.flags & 1 != 0, frame),
        Hypercall::CreateScheduling => create::scheduling(store, domain, at, frame),
        Hypercall::CreateSemaphore => create::semaphore(store, domain, at, frame),
        Hypercall::ControlSemaphore => return semaphore::control(store, caller, request, frame),
        Hypercall::ControlContext => match ContextControl::from_flags(request.flags) {
            Some(control @ (ContextControl::Yield | ContextControl::Reschedule)) => {
                frame.rdi.set(u64::from(Status::Success.number()));
                scheduler::reschedule(store, control == ContextControl::Yield);
                return Outcome::Switched;
            }
            Some(_) => Err(Status::BadFeature),
            None => Err(Status::BadParameter),
        },
        Hypercall::CreatePortal => create::portal(store, domain, at, frame),
        Hypercall::ControlPortal => create::set_identity(store, at, frame.rsi.get()),
        Hypercall::Misc => match Misc::from_flags(request.flags) {
            Some(Misc::Delegate) => Err(delegate(store, caller.1, at, frame.rsi.get(), frame.rdx.get())),
            Some(Misc::Lookup | Misc::Suspend) => Err(Status::BadFeature),
            None => Err(Status::BadParameter),
        },
        _ => Err(Status::BadHypercall),
    };
    Outcome::Return(done.err().unwrap_or(Status::Success))
}

/// Delegates the typed items of the caller's message page from the domain `source` into `window` of `destination`.
fn delegate(store: &Store<'_>, caller: &Context, source: Selector, window: u64, destination: u64) -> Status {
    // So far there is one domain, and its capability for itself stands where the interface puts it.
    if source != Selector::ROOT_DOMAIN || Selector::new(destination) != Selector::ROOT_DOMAIN {
        return Status::BadCapability;
    }
    let word = |index: usize| caller.identity().message.get(index).map_or(0, |word| word.load(Ordering::Relaxed));
    let window = Crd::from_word(window);
    let header = Header::from_word(word(0));
    for index in 0..header.items() {
        let Some(at) = utcb::item_offset(index).map(|offset| offset / 8) else { break };
        let item = TypedItem::from_words(word(at), word(at + 1));
        if let Err(status) = delegate_item(store.get(caller.identity().domain), item, window) {
            return status;
        }
    }
    Status::Success
}

fn delegate_item(receiver: &Domain, item: TypedItem, window: Crd) -> Result<(), Status> {
    let delegates = matches!(item.kind(), ItemKind::Delegate | ItemKind::TranslateOrDelegate);
    let same_kind = item.range.kind() == window.kind();
    let rights = item.range.rights().and(window.rights());
    if !delegates || !same_kind || rights.is_none() {
        return Ok(()); // A null result, which is not an error.
    }
    if !item.flags().contains(ItemFlags::HYPERVISOR) {
        return Err(Status::BadFeature);
    }
    match item.range.kind() {
        Kind::Ports => {
            let range = |crd: Crd| Range { base: crd.base(), order: crd.order() };
            match overlap(range(item.range), range(window)) {
                Some(common) => domain::allow_ports(receiver, common).map_err(|_| Status::QuotaExhausted),
                None => Ok(()),
            }
        }
        _ => Err(Status::BadFeature),
    }
}
