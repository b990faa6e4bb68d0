//! Entry and exit: from ring 3, from interrupts, and back.
//!
//! Purpose: the assembly in `entry.s`, its constants, its exits, and the functions that the kernel binary supplies:
//! `trap_user` (a trap or interrupt from ring 3; returns the frame to run), `trap_kernel` (from ring 0 or on an
//! interrupt stack), `requested` (a request of another core, from ring 3), `hypercall` (SYSCALL), `up`, `finish_up`,
//! `try_down` and `wait` (what is over in a few steps, or left to others), `try_call`, `try_reply`, `try_event` and
//! `try_fault` (which end in one of this module's exits), `hazards` (before any exit while the hazard word is not 0),
//! `guest_enter`, `svm_exited` and `vmx_exited` (before and after a virtual CPU runs).
//! Invariants: 1. code that serves ring 3 runs on the core's one kernel stack, from its top: nothing survives on it.
//! 2. Every exit to ring 3 tests the hazard word with interrupts off,
//! but for the return from an interrupt stack, which goes on where it interrupted. 3. An attempt never blocks or
//! switches, so that callee-saved registers need not be saved for it; everything else leaves through [`resume`], which
//! leaves as the context entered, or as SYSCALL would.
//! 4. The direction, trap, nested-task and alignment-check flags are clear in the kernel.
//! Concurrency: interrupts are off from entry to exit; NMI, #DF, #DB and #MC have stacks of their own, because they can
//! arrive between SYSCALL and the switch of stacks.
//! Source: AMD64 manual volume 2, §6.1 and §8.9; interface §1; `docs/src/decisions/0007-register-frame.md`.
use crate::vector;
use core::arch::global_asm;
use core::mem::offset_of;
use memory::layout::{CAPABILITIES, CORE_LOCAL, STACK_TOP};
use objects::Context;
use objects::frame::{self, Frame};
use percpu::{CoreLocal, GDT_ENTRIES};
use x86::msr;

// SAFETY: the symbols are defined by `entry.s`.
unsafe extern "C" {
    static trap_stubs: [[u8; 16]; 256];
    fn syscall_entry();
    fn resume(frame: *const Frame) -> !;
}

/// What an attempt answers that leaves everything to `hypercall`, having changed nothing.
pub const SLOW: u64 = 16;

/// Exceptions that the kernel never resolves itself: #DE, #BP, #OF, #BR, #UD, #AC, #XM, #MF.
const PLAIN: u32 = 1 << 0 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 16 | 1 << 17 | 1 << 19;

macro_rules! exits {
    ($($(#[$about:meta])* $name:ident($($value:ident: $type:ty = $register:tt),*);)*) => { $(
        $(#[$about])*
        ///
        /// # Safety
        /// The frame is that of the current context, and whatever a caller of [`leave`] promises holds for it. An attempt
        /// calls this last: its own frame on the stack is forgotten.
        #[inline(always)]
        pub unsafe fn $name($($value: $type),*) -> ! {
            // SAFETY: the label takes these registers; the caller promises the rest.
            unsafe { core::arch::asm!(concat!("jmp ", stringify!($name)), $(in($register) $value,)* options(noreturn)) }
        }
    )* };
}

/// How a virtual CPU is entered.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct GuestEntry {
    /// Physical address of its control block, or how often it was entered; 0 if something else is to run.
    pub block: u64,
    /// Address of the code that enters it.
    pub code: u64,
}

/// Address in the core-local page as the sign-extended 32-bit displacement that assembly needs.
const fn local(offset: usize) -> i32 {
    (CORE_LOCAL + offset as u64) as i32
}

global_asm!(
    include_str!("entry.s"),
    STACK_TOP = const STACK_TOP as i32,
    HAZARD = const local(CoreLocal::HAZARD),
    FRAME = const local(CoreLocal::FRAME),
    SYSCALL = const frame::SYSCALL,
    FRAME_WORDS = const size_of::<Frame>() / 8,
    CS = const offset_of!(Frame, cs),
    RIP = const offset_of!(Frame, rip),
    RSP = const offset_of!(Frame, rsp),
    VECTOR = const offset_of!(Frame, vector),
    RAX = const offset_of!(Frame, rax),
    RDI = const offset_of!(Frame, rdi),
    REQUEST = const vector::REQUEST,
    PLAIN = const PLAIN,
    EVENT_BASE = const Context::EVENT_BASE,
    CAPABILITIES = const CAPABILITIES as i32,
    SLOW = const SLOW,
    BAD_PARAMETER = const abi::Status::BadParameter as u8,
    ERROR = const offset_of!(Frame, error),
    USER_DATA = const frame::USER_DATA,
    GDT = const local(CoreLocal::GDT),
    GDT_SIZE = const GDT_ENTRIES * 8,
    HOST_STATE = const local(CoreLocal::HOST_STATE),
);

/// Address of the entry stub of `vector`.
pub fn stub(vector: u8) -> u64 {
    // SAFETY: the array of stubs is defined by `entry.s`, one per vector; only its address is taken.
    let stub = unsafe { &raw const trap_stubs[usize::from(vector)] };
    stub.addr() as u64
}

/// Address at which SYSCALL enters the kernel.
pub fn syscall_address() -> u64 {
    let entry: unsafe extern "C" fn() = syscall_entry;
    entry as usize as u64
}

const STAR: u64 = 0x1B << 48 | 0x08 << 32;
/// Cleared on SYSCALL: TF, IF, DF, NT, AC.
const FLAG_MASK: u64 = 1 << 8 | 1 << 9 | 1 << 10 | 1 << 14 | 1 << 18;

/// Makes SYSCALL enter the kernel on this core.
pub fn enable_syscall() {
    let entry = syscall_address();
    // SAFETY: EFER.SCE is set by `control::enable`; the entry point expects the core-local page and the kernel stack,
    // which are there before Rust runs; the selectors are those of `percpu::descriptor_table`.
    unsafe {
        crate::msr::set(msr::IA32_STAR, STAR);
        crate::msr::set(msr::IA32_LSTAR, entry);
        crate::msr::set(msr::IA32_CSTAR, 0);
        crate::msr::set(msr::IA32_FMASK, FLAG_MASK);
    }
}

/// Leaves the kernel: the context whose registers are in `frame` runs.
///
/// # Safety
/// `frame` is the current context's frame (its end is the task state's ring-0 stack pointer, its start is in the
/// core-local page), its code and stack segments are those of ring 3 and its instruction pointer is canonical.
pub unsafe fn leave(frame: *const Frame) -> ! {
    // SAFETY: the caller's promise is what `resume` needs.
    unsafe { resume(frame) }
}

exits! {
    /// Leaves a call to `hypercall`.
    call_general(frame: *const Frame = "rdi");
    /// Leaves an exception to `trap_user`.
    event_general(frame: *const Frame = "rdi");
    /// Runs a context of the domain whose context has run, from `entry` on with `identity` in its first register.
    start(frame: *const Frame = "rsi", entry: u64 = "rcx", identity: u64 = "rdi");
    /// As [`start`], of another domain.
    start_elsewhere(frame: *const Frame = "rsi", entry: u64 = "rcx", identity: u64 = "rdi");
    /// Runs a caller, with the registers in its frame, that has its reply.
    return_to_caller(frame: *const Frame = "rsi");
    /// Runs a context, with the registers in its frame, whose exception was handled.
    return_from_event(frame: *const Frame = "rsi");
}
