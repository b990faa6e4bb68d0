//! Semaphores: up and down.
//!
//! Purpose: the hypercall that controls them.
//! Invariants: who waits has blocked with the scheduling context that it ran on; who is woken has status 0, or 1 after
//! its deadline. A down of an interrupt's semaphore lets the next one arrive, before it may wait for it.
//! Concurrency: a semaphore is used from all cores; a waiter is made to go on by its own core.
//! Source: interface §5 ("sm_ctrl").
use crate::call::Outcome;
use crate::scheduler;
use crate::slots::named;
use abi::operation::SemaphoreFlags;
use abi::rights::SemaphoreRights;
use abi::{Request, Status};
use objects::frame::Frame;
use objects::{Context, Ref, Semaphore, Store, Take};

/// Up, down, or down to zero; the deadline is in RSI (high) and RDX (low), an absolute TSC value, 0 for none.
pub fn control(store: &Store<'_>, (context, _): (Ref<Context>, &Context), request: Request, frame: &Frame) -> Outcome {
    let flags = SemaphoreFlags::from_bits_retain(request.flags);
    let downs = flags.contains(SemaphoreFlags::DOWN);
    let needed = if downs { SemaphoreRights::DOWN } else { SemaphoreRights::UP };
    let semaphore = match named::<Semaphore>(store, request.selector.number(), needed) {
        Ok(semaphore) => semaphore,
        Err(status) => return Outcome::Return(status),
    };
    if !downs {
        up(store, semaphore);
        return Outcome::Return(Status::Success);
    }
    if let Some(number) = store.get(semaphore).number() {
        arch::io_apic::unmask(number);
    }
    let deadline = frame.rsi.get() << 32 | frame.rdx.get() & 0xFFFF_FFFF;
    let take = if flags.contains(SemaphoreFlags::TO_ZERO) { Take::All } else { Take::One };
    scheduler::down(store, context, semaphore, take, deadline).map_or(Outcome::Switched, Outcome::Return)
}

/// Adds one; who has waited longest goes on.
pub fn up(store: &Store<'_>, semaphore: Ref<Semaphore>) {
    if let Some(waiter) = Semaphore::up(store, semaphore) {
        scheduler::resume(store, waiter, Status::Success);
    }
}
