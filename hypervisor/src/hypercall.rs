//! Hypercalls.
//!
//! Purpose: decode what ring 3 asks for, do it, and leave a status. Not served yet: `sc_ctrl`, `assign_pci`, `assign_gsi`,
//! `pd_ctrl`, and the sub-operations that the match below refuses.
//! Invariants: every word in every register has an answer; a number that this kernel does not serve yet answers
//! `BadHypercall`, a sub-operation that it does not serve yet `BadFeature`, an unknown one `BadParameter`; nothing from
//! ring 3 is used as an address.
//! Concurrency: runs on the core of the caller, interrupts off.
//! Source: interface §1, §3 and §5.
use crate::call::{self, Outcome};
use crate::{create, items, mapping, scheduler, semaphore, switch};
use abi::operation::{CallFlags, ContextControl, Misc, RevokeFlags};
use abi::{Crd, Hypercall, Request, Rights, Status};
use capability::tree::Span;
use capability::word::Kind;
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
    let (at, domain) = (request.selector, caller.1.identity().domain);
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
        Hypercall::CreateDomain => create::domain(store, domain, at, frame),
        Hypercall::Revoke => revoke(store, caller.1, request, frame),
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
            Some(Misc::Delegate) => delegate(store, caller.1, request, frame),
            Some(Misc::Lookup | Misc::Suspend) => Err(Status::BadFeature),
            None => Err(Status::BadParameter),
        },
        _ => Err(Status::BadHypercall),
    };
    Outcome::Return(done.err().unwrap_or(Status::Success))
}

/// Delegates the typed items of the caller's message page from the domain `source` into `window` of `destination`.
///
/// # Errors
/// As the interface has them.
fn delegate(store: &Store<'_>, caller: &Context, request: Request, frame: &Frame) -> Result<(), Status> {
    let domain = |selector| create::named::<Domain>(store, selector, Kind::Domain, Rights::NONE);
    let source = domain(request.selector.number())?;
    let destination = domain(frame.rdx.get())?;
    let window = Crd::from_word(frame.rsi.get());
    items::delegate(store, source, caller.identity().message, destination, window)
}

/// Takes rights back: those of the range in RSI, from the caller's domain, or with the flag for it from the one in RDX.
///
/// # Errors
/// [`Status::BadCapability`] if RDX names no domain.
fn revoke(store: &Store<'_>, caller: &Context, request: Request, frame: &Frame) -> Result<(), Status> {
    let flags = RevokeFlags::from_bits_retain(request.flags);
    if flags.contains(RevokeFlags::KEEP) || request.selector.number() != 0 {
        return Err(Status::BadFeature); // Keeping, and notification, come later.
    }
    let owner = match flags.contains(RevokeFlags::REMOTE) {
        true => create::named::<Domain>(store, frame.rdx.get(), Kind::Domain, Rights::NONE)?,
        false => caller.identity().domain,
    };
    let range = Crd::from_word(frame.rsi.get());
    let span = Span { base: range.aligned_base(), count: range.count() };
    mapping::revoke(store, owner, range.kind(), span, range.rights(), flags.contains(RevokeFlags::SELF));
    Ok(())
}
