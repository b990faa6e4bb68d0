//! Entry to the kernel.
//!
//! Registers: rdi, rsi, rdx, rax, r8 in and out; rcx and r11 are overwritten; flags come back cleared but for IF; all
//! others, rsp among them, are preserved. The kernel never touches the caller's stack.
//! Concurrency: what the kernel reads and writes besides registers is the UTCB of the calling thread.
//! Source: classic interface, "Entry and register convention".

use core::arch::asm;

use abi::operation::{ContextControl, InterruptFlags, Misc, Noted, RevokeFlags};
use abi::qpd::Qpd;
use abi::{Crd, Hypercall, Kind, Mtd, Request, Selector, Status};

use crate::hypercall::{Registers, delegation};

/// Any hypercall.
///
/// # Safety
/// The call must not take away or change memory that the program refers to, nor start code that breaks its invariants:
/// that depends on its number and its arguments.
pub(crate) unsafe fn enter(registers: &mut Registers) {
    // SAFETY: the operands name every register that the kernel changes; memory is not declared untouched, because the
    // kernel reads and writes the UTCB. What the call itself does is the caller's duty.
    unsafe {
        asm!("syscall",
            inout("rdi") registers.rdi,
            inout("rsi") registers.rsi,
            inout("rdx") registers.rdx,
            inout("rax") registers.rax,
            inout("r8") registers.r8,
            out("rcx") _,
            out("r11") _,
            options(nostack));
    }
}

/// The registers of a hypercall with up to four arguments.
pub(crate) fn request(call: Hypercall, flags: u8, selector: Selector, arguments: [u64; 4]) -> Registers {
    let [rsi, rdx, rax, r8] = arguments;
    Registers { rdi: Request::new(call, flags, selector).word(), rsi, rdx, rax, r8 }
}

/// The status in the first register after a hypercall. An answer outside the interface cannot be relied on for anything.
pub(crate) fn status(registers: &Registers) -> Result<(), Status> {
    Status::from_register(registers.rdi).unwrap_or(Status::BadHypercall).ok()
}

/// Delegates the items in the own UTCB; returns the register with the status.
pub(crate) fn delegate(source: Selector, window: Crd, destination: Selector) -> u64 {
    let mut registers = delegation(source, window, destination);
    // SAFETY: a delegation only adds: the kernel skips what is occupied at the destination and takes nothing from the
    // source. No object of the language lives in what appears.
    unsafe { enter(&mut registers) };
    registers.rdi
}

/// Calls through a portal with the message in the own UTCB.
pub(crate) fn call(portal: Selector) -> Result<(), Status> {
    let mut registers = request(Hypercall::Call, 0, portal, [0; 4]);
    // SAFETY: the callee runs in its own context; what it may change here is what this thread's windows allow, and those
    // are made of free selectors only.
    unsafe { enter(&mut registers) };
    // A successful call leaves the register as it was, whose low byte is 0.
    status(&registers)
}

/// Creates a plain semaphore.
pub(crate) fn create_semaphore(at: Selector, domain: Selector, count: u64) -> Result<(), Status> {
    let mut registers = request(Hypercall::CreateSemaphore, 0, at, [domain.number(), count, 0, 0]);
    // SAFETY: touches no memory of the program.
    unsafe { enter(&mut registers) };
    status(&registers)
}

/// Ups or downs a semaphore; `deadline` is a TSC value, 0 for none.
pub(crate) fn control_semaphore(at: Selector, flags: u8, deadline: u64) -> Result<(), Status> {
    let arguments = [deadline >> 32, deadline & 0xFFFF_FFFF, 0, 0];
    let mut registers = request(Hypercall::ControlSemaphore, flags, at, arguments);
    // SAFETY: waits or wakes; touches no memory of the program.
    unsafe { enter(&mut registers) };
    status(&registers)
}

/// Takes capabilities, ports or another domain's memory back; `notify` is upped when the memory of what died is free,
/// or names selector 0 for nobody.
///
/// # Safety
/// `range` names no memory of the own domain that Rust objects live in.
pub(crate) unsafe fn revoke(range: Crd, flags: RevokeFlags, domain: Selector, notify: Selector) -> Result<(), Status> {
    let mut registers = request(Hypercall::Revoke, flags.bits(), notify, [range.word(), domain.number(), 0, 0]);
    // SAFETY: the caller's duty.
    unsafe { enter(&mut registers) };
    status(&registers)
}

/// As [`revoke`] without anybody to notify; what processors had noted of memory that went.
///
/// # Safety
/// As for [`revoke`].
pub(crate) unsafe fn revoke_reporting(range: Crd, flags: RevokeFlags, domain: Selector) -> Result<Noted, Status> {
    let flags = flags | RevokeFlags::REPORT;
    let arguments = [range.word(), domain.number(), 0, 0];
    let mut registers = request(Hypercall::Revoke, flags.bits(), Selector::new(0), arguments);
    // SAFETY: the caller's duty.
    unsafe { enter(&mut registers) };
    status(&registers).map(|()| Noted::from_bits_truncate(registers.rax))
}

/// As [`revoke`] of memory, without waiting: `notify` is upped when no core uses it any more.
///
/// # Safety
/// As for [`revoke`].
pub(crate) unsafe fn revoke_later(
    range: Crd,
    flags: RevokeFlags,
    domain: Selector,
    notify: Selector,
) -> Result<(), Status> {
    let arguments = [range.word(), domain.number(), flags.bits().into(), 0];
    let mut registers = request(Hypercall::Misc, Misc::RevokeLater.flags(), notify, arguments);
    // SAFETY: the caller's duty.
    unsafe { enter(&mut registers) };
    status(&registers)
}

/// Gives the processor to others of the same priority.
pub(crate) fn yield_now() {
    let mut registers = request(Hypercall::ControlContext, ContextControl::Yield.flags(), Selector::new(0), [0; 4]);
    // SAFETY: touches no memory.
    unsafe { enter(&mut registers) };
}

/// A counter of the core that `core` numbers.
pub(crate) fn count(core: Selector, number: u64) -> Result<u64, Status> {
    let mut registers = request(Hypercall::Misc, Misc::Count.flags(), core, [number, 0, 0, 0]);
    // SAFETY: reads a number.
    unsafe { enter(&mut registers) };
    status(&registers).map(|()| registers.rsi)
}

/// Makes the context at `at` enter its recall portal.
pub(crate) fn recall(at: Selector) -> Result<(), Status> {
    let mut registers = request(Hypercall::ControlContext, ContextControl::Recall.flags(), at, [0; 4]);
    // SAFETY: touches no memory; without the state asked for, the UTCB stays as it is.
    unsafe { enter(&mut registers) };
    status(&registers)
}

/// Has the kernel write `groups` of the state of the virtual CPU at `at`, of this core, into the caller's UTCB; the virtual
/// CPU is recalled.
pub(crate) fn show_state(at: Selector, groups: Mtd) -> Result<(), Status> {
    let mut registers =
        request(Hypercall::ControlContext, ContextControl::GetState.flags(), at, [groups.word(), 0, 0, 0]);
    // SAFETY: the UTCB is words that the kernel may write at any call.
    unsafe { enter(&mut registers) };
    status(&registers)
}

/// Has the interrupt at `at`, one of a pin, delivered to `core`; what it is chained to stays.
pub(crate) fn assign_interrupt(at: Selector, flags: InterruptFlags, core: u32) -> Result<(), Status> {
    let mut registers = request(Hypercall::AssignInterrupt, flags.bits(), at, [0, core.into(), u64::MAX, 0]);
    // SAFETY: touches no memory of the program.
    unsafe { enter(&mut registers) };
    status(&registers)
}

/// Creates a protection domain whose limit is `quota` pages, taken from `donor`.
pub(crate) fn create_domain(at: Selector, donor: Selector, quota: u32) -> Result<(), Status> {
    let limits = u64::from(quota) << 32;
    let mut registers = request(Hypercall::CreateDomain, 0, at, [donor.number(), Crd::NULL.word(), limits, 0]);
    // SAFETY: touches no memory of the program.
    unsafe { enter(&mut registers) };
    status(&registers)
}

/// Creates an execution context: on `core`, with its UTCB at `utcb`, its stack pointer and its events.
///
/// # Safety
/// If `domain` is the own one: nothing lies at `utcb`, and what is bound to the context later runs on a stack that is
/// its own.
pub(crate) unsafe fn create_context(
    at: Selector,
    domain: Selector,
    global: bool,
    (core, utcb): (u32, u64),
    (stack, events): (u64, u64),
) -> Result<(), Status> {
    let place = utcb | u64::from(core);
    let mut registers = request(Hypercall::CreateContext, global.into(), at, [domain.number(), place, stack, events]);
    // SAFETY: the caller's duty.
    unsafe { enter(&mut registers) };
    status(&registers)
}

/// Creates a portal to `entry` in `context`, and sets its identity.
///
/// # Safety
/// If the context is one of the own domain: calls may arrive at `entry`, with the context's stack.
pub(crate) unsafe fn create_portal(
    at: Selector,
    domain: Selector,
    context: Selector,
    (state, entry): (Mtd, u64),
    identity: u64,
) -> Result<(), Status> {
    let arguments = [domain.number(), context.number(), state.word(), entry];
    let mut registers = request(Hypercall::CreatePortal, 0, at, arguments);
    // SAFETY: the caller's duty.
    unsafe { enter(&mut registers) };
    status(&registers)?;
    let mut registers = request(Hypercall::ControlPortal, 0, at, [identity, 0, 0, 0]);
    // SAFETY: touches no memory of the program.
    unsafe { enter(&mut registers) };
    status(&registers)
}

/// Creates a scheduling context: the thread `context` runs.
///
/// # Safety
/// If the context is one of the own domain: what its startup portal answers is a place and a stack to run on.
pub(crate) unsafe fn create_scheduling(
    at: Selector,
    domain: Selector,
    context: Selector,
    parameters: Qpd,
) -> Result<(), Status> {
    let arguments = [domain.number(), context.number(), parameters.word(), 0];
    let mut registers = request(Hypercall::CreateScheduling, 0, at, arguments);
    // SAFETY: the caller's duty.
    unsafe { enter(&mut registers) };
    status(&registers)
}

/// Takes objects back and tells `notify` when their memory is free, if that is not selector 0; whether the kernel did.
#[must_use]
pub(crate) fn revoke_objects(range: Crd, flags: RevokeFlags, notify: Selector) -> bool {
    // SAFETY: objects are no memory.
    range.kind() == Kind::Objects && unsafe { revoke(range, flags, Selector::new(0), notify) }.is_ok()
}
