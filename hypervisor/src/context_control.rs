//! Control of contexts and scheduling contexts: recall, donation, times.
//!
//! Purpose: the hypercalls `ec_ctrl` and `sc_ctrl`.
//! Invariants: what a context of another core is asked to do is done there ([`contexts`]); its registers are read from
//! here only while it cannot run.
//! Concurrency: the caller's core. A context that runs has [`Continuation::Run`] and nothing else in its continuation word,
//! so that one whose word says more is stopped until its core has delivered the recall.
//! Source: interface §5 ("ec_ctrl", "sc_ctrl").
use crate::call::{self, Outcome};
use crate::slots::named;
use crate::{clock, contexts, migrate, msr, scheduler, switch, vcpu, vectors};
use abi::event::VCPU_RECALL;
use abi::operation::{ContextControl, SchedulingControl};
use abi::rights::{ContextRights, SchedulingRights};
use abi::{Mtd, Request, Rights, Status};
use core::sync::atomic::Ordering::Relaxed;
use ipc::state;
use objects::frame::{Frame, Register};
use objects::{Context, Continuation, Ref, Scheduling, Store};

/// Word of a message page that is free for its owner.
const STORAGE: usize = 3;
/// Events whose handlers count as exception handlers for whoever asks for the state of a recalled context.
const EXCEPTIONS: u64 = 0x000F_3CFB;

/// `ec_ctrl`.
pub fn context(store: &Store<'_>, caller: (Ref<Context>, &Context), request: Request, frame: &Frame) -> Outcome {
    let selector = request.selector.number();
    let target = |rights| named::<Context>(store, selector, rights);
    let done = match ContextControl::from_flags(request.flags) {
        Some(ContextControl::Recall) => target(ContextRights::CONTROL.into())
            .and_then(|target| recall(store, caller.1, target, frame.rsi.get() == 1)),
        Some(control @ (ContextControl::Yield | ContextControl::Reschedule)) => {
            frame.rdi.set(u64::from(Status::Success.number()));
            scheduler::reschedule(store, control == ContextControl::Yield);
            return Outcome::Switched;
        }
        Some(ContextControl::Donate) => match target(Rights::NONE).and_then(|it| donate(store, caller.1, it, frame)) {
            Ok(()) => return Outcome::Switched,
            error => error,
        },
        Some(ContextControl::Time) => {
            target(Rights::NONE).map(|it| show_time(store.get(it).time.get(), &frame.rsi, &frame.rdx))
        }
        Some(control @ (ContextControl::GetState | ContextControl::SetState)) => target(ContextRights::CONTROL.into())
            .and_then(|target| match store.get(target).identity() {
                identity if !scheduler::is_own(identity.core) => Err(Status::BadCpu),
                identity if !identity.guest => Err(Status::BadCapability),
                _ if control == ContextControl::GetState => {
                    get_state(store, target, caller.1, Mtd::from_bits_retain(frame.rsi.get()));
                    Ok(())
                }
                _ => set_state(store, target, caller.1, frame.rsi.get() == 1),
            }),
        Some(ContextControl::AccessMsr) => msr::access(store, selector, caller.1.identity().message),
        Some(ContextControl::Migrate) => migrate::migrate(store, caller, request.selector, frame),
        None => Err(Status::BadParameter),
    };
    Outcome::Return(done.err().unwrap_or(Status::Success))
}

/// Recalls a context; with `show` its registers go into the caller's message page.
///
/// # Errors
/// [`Status::Timeout`] if it runs, on another core.
fn recall(store: &Store<'_>, caller: &Context, target_ref: Ref<Context>, show: bool) -> Result<(), Status> {
    contexts::post(store, target_ref, contexts::RECALL);
    let target = store.get(target_ref);
    let runs = || !scheduler::is_own(target.identity().core) && target.is(Continuation::Run);
    if !show {
        return Ok(());
    }
    if runs() {
        return Err(Status::Timeout);
    }
    let inside = target.continuation() == Continuation::AwaitHandler && EXCEPTIONS >> (target.event() & 63) & 1 != 0;
    let groups = Mtd::ACDB | Mtd::BSD | Mtd::R8_R15 | Mtd::RSP | Mtd::RIP_LEN | Mtd::RFLAGS | Mtd::QUAL;
    let message = caller.identity().message;
    match target.identity().guest {
        // Of another core's nothing can be read.
        true if !scheduler::is_own(target.identity().core) => return Err(Status::Timeout),
        true => vcpu::save(target, groups, VCPU_RECALL.into(), message),
        false => state::save(target.frame(), groups, [inside.into(), 0], message),
    }
    if runs() { Err(Status::Timeout) } else { Ok(()) }
}

/// Shows the state of a virtual CPU of this core in the caller's message page; it is recalled.
fn get_state(store: &Store<'_>, target_ref: Ref<Context>, caller: &Context, groups: Mtd) {
    let target = store.get(target_ref);
    contexts::post(store, target_ref, contexts::RECALL);
    vcpu::save(target, groups, VCPU_RECALL.into(), caller.identity().message);
    if groups.contains(Mtd::FPU) {
        vectors::show(store, target, caller.identity().message);
    }
}

/// Changes the state of a virtual CPU of this core to what the caller's message page says; a recall is left pending if
/// `recalled`.
///
/// # Errors
/// [`Status::QuotaExhausted`]: there is no memory for its vector registers.
fn set_state(store: &Store<'_>, target: Ref<Context>, caller: &Context, recalled: bool) -> Result<(), Status> {
    let (target, message) = (store.get(target), caller.identity().message);
    if !recalled {
        target.take_recall();
    }
    let done = !vcpu::restore(target, message).contains(Mtd::FPU) || vectors::change(store, target, message);
    if done { Ok(()) } else { Err(Status::QuotaExhausted) }
}

/// Lets a context of this core and domain, whose owner has left `expected` in its message page, run on the caller's time
/// until the next choice.
///
/// # Errors
/// As the interface has them.
fn donate(store: &Store<'_>, caller: &Context, target_ref: Ref<Context>, frame: &Frame) -> Result<(), Status> {
    let target = store.get(target_ref).identity();
    if !scheduler::is_own(target.core) {
        return Err(Status::BadCpu);
    }
    let runs = store.get(target_ref).is(Continuation::Run);
    let expected = target.message[STORAGE].load(Relaxed) == frame.rsi.get();
    if !runs || target.guest || target.domain != caller.identity().domain || !expected || !switch::to(store, target_ref)
    {
        return Err(Status::BadParameter);
    }
    frame.rdi.set(u64::from(Status::Success.number()));
    Ok(())
}

/// Shows TSC ticks as microseconds: the high half in one register, the whole in the other.
fn show_time(ticks: u64, high: &Register, whole: &Register) {
    let time = (u128::from(ticks) * 1000 / u128::from(clock::khz().max(1))) as u64;
    high.set(time >> 32);
    whole.set(time);
}

/// `sc_ctrl`.
///
/// # Errors
/// As the interface has them.
pub fn scheduling(store: &Store<'_>, request: Request, frame: &Frame) -> Result<(), Status> {
    let target = named::<Scheduling>(store, request.selector.number(), SchedulingRights::CONTROL)?;
    let (target, [first, second]) = (store.get(target), [(&frame.rsi, &frame.rdx), (&frame.rax, &frame.r8)]);
    let [time, cross, killed, killed_contexts] = target.times.each_ref().map(Register::get);
    let idle = target.priority() == 0;
    match SchedulingControl::from_flags(request.flags & 3) {
        Some(SchedulingControl::CrossCpuTime) if idle => show_time(cross, first.0, first.1),
        Some(SchedulingControl::KilledTime) if idle => show_time(killed, first.0, first.1),
        Some(SchedulingControl::BothTimes) if idle => {
            show_time(killed, first.0, first.1);
            show_time(killed_contexts, second.0, second.1);
        }
        Some(SchedulingControl::BothTimes) => {
            let context = named::<Context>(store, frame.rsi.get(), Rights::NONE)?;
            show_time(time, first.0, first.1);
            show_time(store.get(context).time.get(), second.0, second.1);
        }
        Some(SchedulingControl::Time) => show_time(time, first.0, first.1),
        _ => return Err(Status::BadParameter),
    }
    Ok(())
}

/// `reply` with a semaphore, or with flags.
pub fn reply(store: &Store<'_>, callee: (Ref<Context>, &Context), request: Request) {
    let selector = request.selector.number();
    let needed = abi::rights::SemaphoreRights::DOWN;
    call::reply(store, callee, named(store, selector, needed).ok().filter(|_| selector != 0));
}
