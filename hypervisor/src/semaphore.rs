//! Semaphores: up and down.
//!
//! Purpose: the hypercall that controls them.
//! Invariants: who waits has blocked with the scheduling context that it ran on; who is woken has status 0, or 1 after
//! its deadline.
//! Concurrency: a semaphore is used from all cores; a waiter is made to go on by its own core.
//! Source: interface §5 ("sm_ctrl").
use crate::call::Outcome;
use crate::create::named;
use crate::scheduler;
use abi::operation::SemaphoreFlags;
use abi::rights::SemaphoreRights;
use abi::{Request, Status};
use capability::word::Kind;
use objects::frame::Frame;
use objects::{Context, Ref, Semaphore, Store};

/// Up, down, or down to zero; the deadline is in RSI (high) and RDX (low), an absolute TSC value, 0 for none.
pub fn control(store: &Store<'_>, (context, _): (Ref<Context>, &Context), request: Request, frame: &Frame) -> Outcome {
    let flags = SemaphoreFlags::from_bits_retain(request.flags);
    let downs = flags.contains(SemaphoreFlags::DOWN);
    let needed = if downs { SemaphoreRights::DOWN } else { SemaphoreRights::UP };
    let semaphore = match named::<Semaphore>(store, request.selector.number(), Kind::Semaphore, needed) {
        Ok(semaphore) => semaphore,
        Err(status) => return Outcome::Return(status),
    };
    if downs {
        let deadline = frame.rsi.get() << 32 | frame.rdx.get() & 0xFFFF_FFFF;
        let all = flags.contains(SemaphoreFlags::TO_ZERO);
        let taken = scheduler::down(store, context, semaphore, all, deadline);
        return if taken { Outcome::Return(Status::Success) } else { Outcome::Switched };
    }
    up(store, semaphore);
    Outcome::Return(Status::Success)
}

/// Adds one; who has waited longest goes on.
pub fn up(store: &Store<'_>, semaphore: Ref<Semaphore>) {
    if let Some(waiter) = store.get(semaphore).up(store) {
        scheduler::resume(store, waiter, Status::Success);
    }
}
