//! Traps and interrupts, after entry code has saved the registers.
//!
//! Purpose: say what each of the 256 vectors leads to, from ring 3 and from ring 0.
//! Invariants: nothing is ignored silently: an unexpected interrupt is counted and the first is logged; a fault of
//! ring 0 stops the machine with a report; a fault of ring 3 is the program's, never the kernel's.
//! Concurrency: on the core where it happened, interrupts off. NMI and #DB may interrupt ring 0 anywhere.
//! Source: AMD64 manual volume 2, chapter 8; interface §6; `docs/src/decisions/0008-vectors.md`.
use crate::domain;
use crate::log::warning;
use crate::report::{self, name};
use crate::{call, contexts, cores, interrupt, later, reclaim, scheduler, slots, stop, switch, translations, vectors};
use abi::VirtAddr;
use abi::counter::Counter;
use abi::event::Exception;
use arch::{apic, vector};
use memory::format::Attributes;
use objects::frame::Frame;
use percpu::Hazard;

const DEBUG: u64 = Exception::DEBUG.vector() as u64;
const NMI: u64 = Exception::NMI.vector() as u64;
const NO_DEVICE: u64 = Exception::NOT_AVAILABLE.vector() as u64;
const PROTECTION: u64 = Exception::GENERAL_PROTECTION.vector() as u64;
const PAGE_FAULT: u64 = Exception::PAGE_FAULT.vector() as u64;
/// Bits of a page fault's error code.
const STORE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const FETCH: u64 = 1 << 4;
/// Present, store, user, fetch: what a missing or insufficient mapping can say. Reserved bits and keys are more.
const UNDERSTOOD: u64 = 1 | STORE | USER | FETCH;

/// From ring 3. Returns the frame of the context to run.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn trap_user(frame: &Frame) -> *const Frame {
    match frame.vector.get() {
        exception if exception < 32 => user_exception(frame),
        other => interrupt(other as u8),
    }
    current_frame(frame)
}

/// The frame of the context that is current now.
pub fn current_frame(entered: &Frame) -> *const Frame {
    // SAFETY: in the kernel, interrupts off; the frame outlives the store, as its context does while it is current.
    let store = unsafe { arch::pool::store() };
    switch::current(&store).map_or(core::ptr::from_ref(entered), |(_, context)| context.frame())
}

/// From ring 0, or on an interrupt stack from anywhere. Returns to where it came from.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn trap_kernel(frame: &Frame) {
    #[cfg(feature = "selftest")]
    if frame.vector.get() == NMI {
        crate::provoke::meet();
    }
    match frame.vector.get() {
        NMI if stop::stopping() => arch::cpu::halt(),
        NMI => warning!("non-maskable interrupt at rip={:#x}: no device is known to send one", frame.rip.get()),
        // Ring 3 can set the trap flag before SYSCALL, so that the trap arrives here: not the kernel's doing.
        DEBUG if !frame.from_user() => {}
        PAGE_FAULT if capability_fault(frame) => {}
        PROTECTION if let Some(exit) = arch::msr::absent_exit(frame.rip.get()) => frame.rip.set(exit),
        exception if exception < 32 => report::kernel_fault(frame),
        other => interrupt(other as u8),
    }
}

/// A fault of the load of a capability: brings in the domain's table, or makes the load yield null.
fn capability_fault(frame: &Frame) -> bool {
    if !arch::capability::is_access(frame.rip.get()) {
        return false;
    }
    // SAFETY: in the kernel, interrupts off; the store is local to this function.
    let store = unsafe { arch::pool::store() };
    let address = arch::cpu::fault_address();
    let synced =
        switch::current(&store).is_some_and(|(_, context)| slots::sync(store.get(context.identity().domain), address));
    if !synced {
        arch::capability::end_with_null(frame);
    }
    true
}

/// Before an exit from the kernel while the hazard word is not 0. Returns the frame of the context to run.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn hazards(frame: &Frame) -> *const Frame {
    reclaim::pass();
    // SAFETY: in the kernel, interrupts off; the store is local to this function.
    let store = unsafe { arch::pool::store() };
    if percpu::this().shared.pending(Hazard::Landed) {
        percpu::this().shared.take(Hazard::Landed);
        later::look(&store);
    }
    let current = &percpu::this().local.current;
    let before = current.get();
    // It is taken when the choice is made.
    if percpu::this().shared.pending(Hazard::Schedule) {
        scheduler::reschedule(&store, false);
    }
    if percpu::this().shared.take(Hazard::Ended) {
        // Who has just been chosen does not wait for what others have left.
        reclaim::collect(&store, false, if current.get() == before { u32::MAX } else { reclaim::FEW });
    }
    current_frame(frame)
}

/// An exception of ring 3. Returns if the access may be retried.
fn user_exception(frame: &Frame) {
    // SAFETY: in the kernel, interrupts off; the store is local to this function.
    let store = unsafe { arch::pool::store() };
    let Some((context_ref, context)) = switch::current(&store) else { report::kernel_fault(frame) };
    let domain = context.identity().domain;
    // Of other exceptions it would be an address of whoever faulted last.
    let address = if frame.vector.get() == PAGE_FAULT { arch::cpu::fault_address() } else { 0 };
    let resolved = match frame.vector.get() {
        PAGE_FAULT => {
            rights(frame.error.get()).is_some_and(|rights| domain::resolve_fault(&store, domain, address, rights))
        }
        // Port accesses have no error code. A retry resumes at the address that faulted, which must be canonical.
        PROTECTION if frame.error.get() == 0 && VirtAddr::new(frame.rip.get()).is_user() => {
            domain::resolve_protection(store.get(domain))
        }
        NO_DEVICE => match vectors::claim(&store, context) {
            true => true,
            false => return contexts::die(&store, context_ref, vectors::NO_MEMORY),
        },
        _ => false,
    };
    if resolved {
        return;
    }
    let (event, qualification) = (frame.vector.get(), [frame.error.get(), address]);
    if call::tell(&store, context_ref, event, qualification) {
        return;
    }
    let (short, long) = name(frame.vector.get());
    let rip = frame.rip.get();
    let (error, access) = (frame.error.get(), report::access(frame.error.get()));
    let die = |why: core::fmt::Arguments<'_>| {
        contexts::die(&store, context_ref, format_args!("{short} {long} at rip={rip:#x}, {why}"));
    };
    match event {
        PAGE_FAULT if rip == arch::entry::syscall_address() => die(format_args!(
            "the entry of SYSCALL: it jumped there, or SYSCALL does not leave ring 3 here, as under a software KVM"
        )),
        PAGE_FAULT => die(format_args!("{access} at {address:#x}; it has no portal for event 14")),
        other => die(format_args!("error {error:#x}; it has no portal for event {other}")),
    }
}

/// What an access needed that ended in a page fault with this error code. Only an access by ring 3 itself: the processor's
/// own accesses to descriptor tables stay faults.
#[inline]
pub fn rights(error: u64) -> Option<Attributes> {
    let mut rights = Attributes::READ;
    rights.set(Attributes::WRITE, error & STORE != 0);
    rights.set(Attributes::EXECUTE, error & FETCH != 0);
    (error & USER != 0 && error & !UNDERSTOOD == 0).then_some(rights)
}

/// The request interrupt, from ring 3 or from a halted core. The context that is current stays so.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn requested() {
    let shared = &percpu::this().shared;
    shared.count(Counter::InterruptsTaken, 1);
    if !translations::serve() && shared.hazard.raised() == 0 {
        shared.count(Counter::InterruptsFalse, 1);
    }
    // Interrupts are on in ring 3 and where nothing is borrowed only.
    reclaim::pass();
    apic::end_of_interrupt();
}

/// An interrupt, from ring 3 or from a halted core.
fn interrupt(number: u8) {
    match number {
        // Truly spurious ones are not in service and must not be ended.
        vector::SPURIOUS | vector::LEGACY..=239 if !apic::in_service(number) => return count_spurious(number),
        vector::TIMER => {
            cores::tick();
            // What is there is not left for long.
            if reclaim::is_due() {
                reclaim::hurry();
            }
            // SAFETY: in the kernel, interrupts off; the store is local to this function.
            scheduler::tick(&unsafe { arch::pool::store() });
        }
        vector::REQUEST => return requested(),
        vector::DEVICE_FIRST..=vector::DEVICE_LAST if interrupt::arrived(number) => {}
        vector::ERROR => warning!("local interrupt controller: error {:#x}", apic::take_errors()),
        _ => count_spurious(number),
    }
    apic::end_of_interrupt();
}

/// Counts an interrupt that nobody asked for, and logs the first of this core.
fn count_spurious(number: u8) {
    let spurious = &percpu::this().local.spurious;
    spurious.set(spurious.get().saturating_add(1));
    if spurious.get() == 1 {
        warning!("interrupt {number} that nobody asked for; further ones are only counted");
    }
}

/// Panics of the kernel: a broken invariant. Says where, and stops the machine.
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let local = &percpu::this().local;
    report::begin();
    let core = local.id.get();
    match info.location() {
        Some(at) => crate::log::error!("kernel panic: {} at {at}, core {core}", info.message()),
        None => crate::log::error!("kernel panic: {}, core {core}", info.message()),
    }
    report::stack(arch::cpu::stack_pointer());
    stop::machine(stop::FAULT, format_args!("kernel panic"))
}
