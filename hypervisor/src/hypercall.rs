//! Hypercalls.
//!
//! Purpose: decode what ring 3 asks for, do it, and leave a status.
//! Invariants: every word in every register has an answer; an unknown sub-operation is `BadParameter`; nothing from ring 3
//! is used as an address.
//! Concurrency: runs on the core of the caller, interrupts off.
//! Source: interface §1, §3 and §5.
use crate::call::{self, Outcome, again};
use crate::{
    context_control, cores, create, exhausted, interrupt, items, later, mapping, power, reclaim, root, semaphore,
    slots, switch, tidy, translations,
};
use abi::address::{PAGE_BITS, USER_END};
use abi::operation::{CallFlags, DomainControl, Misc, Noted, RevokeFlags};
use abi::rights::SemaphoreRights;
use abi::{Crd, Hypercall, Kind, Request, Rights, Selector, Status};
use arch::entry::SLOW;
use capability::tree::Span;
use memory::quota;
use memory::shootdown::Acknowledged;
use objects::frame::Frame;
use objects::{Context, Domain, Ref, Semaphore, Store};

/// Entered from `syscall_entry`, with all registers saved, for what takes no shorter way.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn hypercall(frame: &Frame) {
    // SAFETY: in the kernel, interrupts off; the store is local to this function.
    let store = unsafe { arch::pool::store() };
    let request = Request::from_word(frame.rdi.get());
    let Some(caller) = switch::current(&store) else { return };
    let quota = &store.get(caller.1.identity().domain).quota;
    let outcome = if quota.has(reserve(request.hypercall)) {
        dispatch(&store, caller, request, frame)
    } else {
        Outcome::Return(Status::QuotaExhausted)
    };
    let outcome = match outcome {
        Outcome::Return(Status::QuotaExhausted) if reclaim::hurry() => again(frame),
        Outcome::Return(Status::QuotaExhausted)
            if tidy::helps(&store, &frame.rdi, payers(&store, caller.1, request, frame)) =>
        {
            again(frame)
        }
        Outcome::Return(Status::QuotaExhausted) if !creates(request.hypercall) && !quota.has(LEAST) => {
            exhausted::calling(&store, caller, caller.1, (exhausted::OWN, Status::QuotaExhausted))
        }
        other => other,
    };
    if let Outcome::Return(status) = outcome {
        frame.rdi.set(u64::from(status.number()));
    }
}

/// Pages that the interface wants to be left in the caller's quota, for what may need some.
const fn reserve(hypercall: Hypercall) -> u32 {
    match hypercall {
        Hypercall::AssignPci => 4,
        Hypercall::Misc | Hypercall::AssignInterrupt => LEAST,
        Hypercall::ControlContext | Hypercall::ControlDomain => 1,
        _ => 0,
    }
}

/// Pages below which a quota is exhausted.
const LEAST: u32 = 2;

/// Whether the hypercall makes an object: then another quota than the caller's counts, and nobody is asked for more.
const fn creates(hypercall: Hypercall) -> bool {
    matches!(hypercall.number(), 2..=6)
}

/// Who may have to pay for a hypercall: who is named for that, and the caller.
fn payers<'s>(
    store: &'s Store<'_>,
    caller: &Context,
    request: Request,
    frame: &Frame,
) -> impl Iterator<Item = &'s Domain> {
    let named = match request.hypercall {
        hypercall if creates(hypercall) => Some(frame.rsi.get()),
        Hypercall::Misc if Misc::from_flags(request.flags) == Some(Misc::Delegate) => Some(frame.rdx.get()),
        _ => None,
    };
    let own = caller.identity().domain;
    let named = named.and_then(|selector| slots::find::<Domain>(store, selector, Rights::NONE));
    named.filter(|&domain| domain != own).into_iter().chain([own]).map(|domain| store.get(domain))
}

fn dispatch(store: &Store<'_>, caller: (Ref<Context>, &Context), request: Request, frame: &Frame) -> Outcome {
    let (at, domain) = (request.selector, caller.1.identity().domain);
    let done = match request.hypercall {
        // Tried from entry code already: it lacked memory.
        Hypercall::CreateDomain
        | Hypercall::CreateContext
        | Hypercall::CreateScheduling
        | Hypercall::CreatePortal
        | Hypercall::CreateSemaphore => Err(Status::QuotaExhausted),
        Hypercall::Call => {
            let flags = CallFlags::from_bits_retain(request.flags);
            return call::call(store, caller, at, !flags.contains(CallFlags::DO_NOT_BLOCK));
        }
        // Comes here with flags or a semaphore only; a plain one takes its own way from entry code.
        Hypercall::Reply => {
            context_control::reply(store, caller, request);
            return Outcome::Switched;
        }
        Hypercall::Revoke => return revoke(store, caller.1, request, frame).unwrap_or_else(Outcome::Return),
        // What is about to be given back is not in use.
        Hypercall::ControlDomain if reclaim::hurry() => return again(frame),
        Hypercall::ControlDomain => return control_domain(store, request, frame).unwrap_or_else(Outcome::Return),
        Hypercall::ControlSemaphore => return semaphore::control(store, caller, request, frame),
        Hypercall::ControlContext => return context_control::context(store, caller, request, frame),
        Hypercall::ControlScheduling => context_control::scheduling(store, request, frame),
        Hypercall::AssignInterrupt => interrupt::assign(store, caller.1, request, frame),
        Hypercall::ControlPortal => create::set_identity(store, at, frame.rsi.get()),
        Hypercall::Misc => match Misc::from_flags(request.flags) {
            // Tried from entry code already: it left something, or lacked memory.
            Some(Misc::Delegate) if is_under_way(frame) => return again(frame),
            Some(Misc::Delegate) => Err(Status::QuotaExhausted),
            Some(Misc::Lookup) => {
                frame.rsi.set(mapping::lookup(store, domain, Crd::from_word(frame.rsi.get())).word());
                Ok(())
            }
            Some(Misc::Count) => count(domain, at, frame),
            Some(Misc::Evidence) => evidence(store, at, frame),
            Some(Misc::RevokeLater) => return revoke_later(store, caller.1, frame).unwrap_or_else(Outcome::Return),
            Some(Misc::Suspend) => power::suspend(store, at, frame),
            None => Err(Status::BadParameter),
        },
        // There is no IOMMU that could be told.
        Hypercall::AssignPci => slots::named::<Domain>(store, at.number(), Rights::NONE).and(Err(Status::BadDevice)),
    };
    Outcome::Return(done.err().unwrap_or(Status::Success))
}

/// Who gives and who gets in a delegation.
#[inline(always)]
fn parties(store: &Store<'_>, word: u64, frame: &Frame) -> Result<(Ref<Domain>, Ref<Domain>), Status> {
    let domain = |selector| slots::named::<Domain>(store, selector, Rights::NONE);
    Ok((domain(Request::from_word(word).selector.number())?, domain(frame.rdx.get())?))
}

/// What processors have noted of the pages in RSI, at most 64, of the domain `at`: accessed to RSI, dirty to RDX, a bit each. It
/// is cleared if RDX is not 0.
fn evidence(store: &Store<'_>, at: Selector, frame: &Frame) -> Result<(), Status> {
    let domain = store.get(slots::named::<Domain>(store, at.number(), Rights::NONE)?);
    let range = Crd::from_word(frame.rsi.get());
    let (first, count) = (range.aligned_base(), range.count());
    if range.kind() != Kind::Memory || count > 64 || first + count > USER_END >> PAGE_BITS {
        return Err(Status::BadParameter);
    }
    let [accessed, dirty] = translations::evidence(domain, first << PAGE_BITS, count, frame.rdx.get() != 0);
    frame.rsi.set(accessed);
    frame.rdx.set(dirty);
    Ok(())
}

/// Reads counter RSI of core `core` to RSI; for the root domain.
fn count(caller: Ref<Domain>, core: Selector, frame: &Frame) -> Result<(), Status> {
    if !root::is_root(caller) {
        return Err(Status::BadCapability);
    }
    let (shared, _) = cores::remote(core.slot()).ok_or(Status::BadCpu)?;
    frame.rsi.set(shared.counted(frame.rsi.get()).ok_or(Status::BadParameter)?);
    Ok(())
}

/// In the word of a revocation: the bits of the range's base that its order makes meaningless say how many of its units are
/// left, from the first on. So a revocation that is repeated goes on where it was.
const REST: u64 = 1 << 63;

/// The units that a revocation is to take.
const fn units(word: u64, range: Crd) -> Span {
    let left = range.base() - range.aligned_base();
    Span { base: range.aligned_base(), count: if word & REST == 0 || left == 0 { range.count() } else { left } }
}

/// Takes rights back: those of the range in RSI, from the caller's domain, or with the flag for it from the one in RDX.
fn revoke(store: &Store<'_>, caller: &Context, request: Request, frame: &Frame) -> Result<Outcome, Status> {
    let flags = RevokeFlags::from_bits_retain(request.flags);
    let owner = owner(store, caller, flags, frame)?;
    let again_later = frame.rdi.get() & REST != 0 && mapping::waits();
    let acknowledged = if again_later { None } else { revoke_rest(store, owner, flags, frame) };
    let Some(acknowledged) = acknowledged else { return Ok(again(frame)) };
    // Told when what was revoked is given back; without the right for that, nobody is.
    let selector = (frame.rdi.get() & !REST) >> 8;
    let notified = slots::named::<Semaphore>(store, selector, SemaphoreRights::UP);
    if let Some(semaphore) = notified.ok().filter(|_| selector != 0) {
        if reclaim::hurry() || reclaim::settle() {
            return Ok(again(frame));
        }
        later::tell(store, semaphore, &acknowledged);
    }
    Ok(Outcome::Return(Status::Success))
}

/// Revokes from `owner` what the registers say. `None` if something else is to run first; they say what is left then.
fn revoke_rest(store: &Store<'_>, owner: Ref<Domain>, flags: RevokeFlags, frame: &Frame) -> Option<Acknowledged> {
    let (word, range) = (frame.rdi.get(), Crd::from_word(frame.rsi.get()));
    let (mut rest, kind, rights) = (units(word, range), range.kind(), range.rights());
    let reports = flags.contains(RevokeFlags::REPORT);
    let acknowledged = if reports {
        let before = if word & REST == 0 { 0 } else { frame.rax.get() };
        let mut noted = Noted::from_bits_truncate(before);
        let done = mapping::revoke_reporting(store, owner, (kind, rights), &mut rest, flags, &mut noted);
        frame.rax.set(noted.bits());
        done
    } else {
        mapping::revoke(store, owner, (kind, rights), &mut rest, flags)
    };
    let done = acknowledged.is_some();
    // What is repeated after its end adds to its report.
    if !done || word & REST != 0 || reports {
        frame.rdi.set(if done && !reports { word } else { word | REST });
        note_rest(frame, range, if done { 0 } else { rest.count });
    }
    acknowledged
}

/// Notes in RSI that so many units of `range` are left.
fn note_rest(frame: &Frame, range: Crd, left: u64) {
    let below = range.count() - 1;
    frame.rsi.set(range.word() & !(below << 12) | (left & below) << 12);
}

/// As [`revoke`], of memory, with flags in RAX: nobody is waited for, and the semaphore is upped when no core uses what was
/// taken.
fn revoke_later(store: &Store<'_>, caller: &Context, frame: &Frame) -> Result<Outcome, Status> {
    let (word, range) = (frame.rdi.get(), Crd::from_word(frame.rsi.get()));
    let semaphore = slots::named::<Semaphore>(store, (word & !REST) >> 8, SemaphoreRights::UP)?;
    let flags = u8::try_from(frame.rax.get()).ok().and_then(RevokeFlags::from_bits);
    let flags = flags.filter(|flags| !flags.contains(RevokeFlags::REPORT) && range.kind() == Kind::Memory);
    let flags = flags.ok_or(Status::BadParameter)?;
    let (owner, mut rest) = (owner(store, caller, flags, frame)?, units(word, range));
    if word & REST != 0 && mapping::waits() || !later::revoke(store, owner, range.rights(), &mut rest, flags, semaphore)
    {
        frame.rdi.set(word | REST);
        note_rest(frame, range, rest.count);
        return Ok(again(frame));
    }
    Ok(Outcome::Return(Status::Success))
}

/// The domain from which a revocation takes.
fn owner(store: &Store<'_>, caller: &Context, flags: RevokeFlags, frame: &Frame) -> Result<Ref<Domain>, Status> {
    match flags.contains(RevokeFlags::REMOTE) {
        true => slots::named::<Domain>(store, frame.rdx.get(), Rights::NONE),
        false => Ok(caller.identity().domain),
    }
}

/// As [`revoke`], from the caller's domain and without anybody to be told. A status, or [`SLOW`].
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn try_revoke(word: u64, frame: &Frame) -> u64 {
    // All rights, of one object, with the flag for its own capability.
    let one = (abi::Kind::Objects as u64) | u64::from(Rights::ALL.bits()) << 2;
    let itself = word == u64::from(Hypercall::Revoke.number()) | u64::from(RevokeFlags::SELF.bits()) << 4;
    if itself && frame.rsi.get() & 0xFFF == one { try_remove(word, frame) } else { try_range(word, frame) }
}

/// [`try_revoke`] of a single capability.
#[inline(never)]
fn try_remove(word: u64, frame: &Frame) -> u64 {
    // SAFETY: in the kernel, interrupts off; the store is local to this function.
    let store = unsafe { arch::pool::store() };
    let Some((_, caller)) = switch::current(&store) else { return SLOW };
    if let Some(unit) = mapping::remove(&store, caller.identity().domain, Crd::from_word(frame.rsi.get()).base()) {
        reclaim::unnamed(&store, unit);
        return 0;
    }
    try_range(word, frame)
}

/// [`try_revoke`] of memory from others, in a short way.
#[inline(never)]
fn try_range(word: u64, frame: &Frame) -> u64 {
    // SAFETY: as in `try_remove`.
    let store = unsafe { arch::pool::store() };
    let range = Crd::from_word(frame.rsi.get());
    if word == u64::from(Hypercall::Revoke.number())
        && range.kind() == abi::Kind::Memory
        && let Some((_, caller)) = switch::current(&store)
        && let span = (Span { base: range.aligned_base(), count: range.count() })
        && mapping::revoke_run(&store, caller.identity().domain, span, range.rights())
    {
        return 0;
    }
    try_rest(word, frame)
}

/// [`try_revoke`] of anything else.
#[inline(never)]
fn try_rest(word: u64, frame: &Frame) -> u64 {
    // SAFETY: as in `try_remove`.
    let store = unsafe { arch::pool::store() };
    let Some((_, caller)) = switch::current(&store) else { return SLOW };
    let (flags, domain) = (RevokeFlags::from_bits_retain((word >> 4) as u8), caller.identity().domain);
    let usual = word >> 8 == 0 && !flags.contains(RevokeFlags::REMOTE);
    if usual && revoke_rest(&store, domain, flags, frame).is_some() { 0 } else { SLOW }
}

/// As [`delegate`]. A status, or [`SLOW`].
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn try_delegate(word: u64, frame: &Frame) -> u64 {
    // SAFETY: in the kernel, interrupts off; the store is local to this function.
    let store = unsafe { arch::pool::store() };
    let Some((_, caller)) = switch::current(&store) else { return SLOW };
    if !store.get(caller.identity().domain).quota.has(LEAST) {
        resume(frame);
        return SLOW;
    }
    if let Ok((source, destination)) = parties(&store, word, frame)
        && let window = Crd::from_word(frame.rsi.get())
        && items::delegate_only(&store, source, caller.identity().message, destination, window)
    {
        return 0;
    }
    try_items(word, frame)
}

/// [`try_delegate`] of anything else than a run of memory.
#[inline(never)]
fn try_items(word: u64, frame: &Frame) -> u64 {
    // SAFETY: as in `try_delegate`.
    let store = unsafe { arch::pool::store() };
    let Some((_, caller)) = switch::current(&store) else { return SLOW };
    let (position, page) = (resume(frame), caller.identity().message);
    let (window, may) = (Crd::from_word(frame.rsi.get()), frame.rdx.get() >> UNITS_AT == 0);
    let delegate = |(from, to)| items::delegate(&store, (from, page), (to, window), position, may);
    match parties(&store, word, frame).and_then(delegate) {
        Ok(None) => 0,
        Ok(Some(rest)) if store.get(caller.identity().domain).quota.has(LEAST) => {
            leave(frame, rest);
            SLOW
        }
        // Who has too little may be given more.
        Ok(_) | Err(Status::QuotaExhausted) => SLOW,
        Err(status) => status.number().into(),
    }
}

/// Where the registers of a delegation that has left the kernel have its position: in RDI, beside [`REST`], the number of items
/// that are done and the kind of the window, and in RDX how many units of the next are done. Selectors have meaningless bits
/// there. In RSI the kind is taken out, so that no short way begins anew.
const ITEM_AT: u32 = 55;
const KIND_AT: u32 = 53;
const UNITS_AT: u32 = 32;
const KIND: u64 = 3;

/// Notes the position.
fn leave(frame: &Frame, (item, units): items::Position) {
    let (word, window) = (frame.rdi.get() & ((1 << KIND_AT) - 1), frame.rsi.get());
    frame.rdi.set(word | REST | item << ITEM_AT | (window & KIND) << KIND_AT);
    frame.rsi.set(window & !KIND);
    frame.rdx.add(units << UNITS_AT);
}

/// Whether the registers have one.
fn is_under_way(frame: &Frame) -> bool {
    frame.rdi.get() & REST != 0 && frame.rsi.get() & KIND == 0
}

/// Takes the position, if there is one, out of the registers: they are as the caller has set them then.
fn resume(frame: &Frame) -> items::Position {
    let (word, window, target) = (frame.rdi.get(), frame.rsi.get(), frame.rdx.get());
    if !is_under_way(frame) {
        return (0, 0);
    }
    frame.rdi.set(word & ((1 << KIND_AT) - 1));
    frame.rsi.set(window | word >> KIND_AT & KIND);
    frame.rdx.set(target & ((1 << UNITS_AT) - 1));
    ((word & !REST) >> ITEM_AT, target >> UNITS_AT)
}

/// Moves quota (RDX pages) to the domain in RSI, or reads limit and usage.
fn control_domain(store: &Store<'_>, request: Request, frame: &Frame) -> Result<Outcome, Status> {
    let domain = |selector| slots::named::<Domain>(store, selector, Rights::NONE);
    let source = store.get(domain(request.selector.number())?);
    let reads = DomainControl::from_flags(request.flags & 2) == Some(DomainControl::ReadQuota);
    let mut done = Ok(());
    if !reads {
        let target = domain(frame.rsi.get())?;
        let pages = u32::try_from(frame.rdx.get()).map_err(|_| Status::BadParameter)?;
        done = quota::transfer(&source.quota, &store.get(target).quota, pages);
    }
    // Nor are empty tables in use.
    if (reads || done.is_err()) && tidy::helps(store, &frame.rdi, [source]) {
        return Ok(again(frame));
    }
    if reads {
        frame.rsi.set(source.quota.limit().into());
        frame.rdx.set(source.quota.usage().into());
    }
    done.map(|()| Outcome::Return(Status::Success)).map_err(|_| Status::BadParameter)
}
