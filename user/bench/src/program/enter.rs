//! The loops around the operations, and the code that the kernel enters: all of it instruction by instruction, so that
//! the figures do not depend on a compiler.
//!
//! Invariants: a loop keeps what it needs in registers that the kernel preserves; the serving contexts use no stack.
//! Concurrency: caller and server take turns on one core.
//! Source: interface §1 (registers), §5 (call, reply); AMD64 manual volume 3 (RDTSC, SYSCALL).
// UNSAFETY: hypercalls, deliberate faults and message pages at addresses that only the kernel knows cannot be expressed
// safely.

use abi::address::PAGE_SIZE;
use abi::arch_state::{ArchState, STATE_OFFSET};
use abi::{Hypercall, Request, Selector};
use core::arch::{asm, global_asm};
use core::mem::offset_of;

/// Message page of the context that handles faults.
pub const HANDLER_PAGE: u64 = 0x4000_0000;
/// Message page of the context that starts threads.
pub const STARTER_PAGE: u64 = HANDLER_PAGE + PAGE_SIZE;
/// First page that is free.
pub const FREE_PAGES: u64 = STARTER_PAGE + PAGE_SIZE;
/// Selectors of the semaphores of ping-pong, and of one that is never up.
pub const PING: u64 = 0x900;
/// See [`PING`].
pub const PONG: u64 = 0x901;
/// See [`PING`].
pub const NEVER: u64 = 0x902;
/// The semaphore that is up when what was destroyed is given back.
pub const NOTE: u64 = 0x903;
/// A selector where nothing is.
const EMPTY: u64 = 0x904;
/// Flags of the semaphore's hypercall.
pub const UP: u8 = 0;
/// See [`UP`].
pub const DOWN: u8 = 1;
/// Lengths of the faulting instructions, in bytes.
pub const UD2_LENGTH: u64 = 2;
/// See [`UD2_LENGTH`].
pub const LOAD_LENGTH: u64 = 3;

/// First bit of the selector in the first register of a hypercall.
const SELECTOR_UNIT: u64 = 1 << 8;

global_asm!(
    // Within one page, which other domains get to execute.
    ".balign 256",
    // Replies with what came, which still lies in the message page.
    "bench_echo:",
    "mov edi, 1",
    "syscall",
    // Lets the faulter go on behind the instruction, whose length is the portal's identity. The transfer descriptor in
    // the page still names the instruction pointer.
    "bench_skip:",
    "add qword ptr [{rip}], rdi",
    "mov edi, 1",
    "syscall",
    // Starts a thread where the portal's identity says.
    "bench_start:",
    "mov qword ptr [{start_rip}], rdi",
    "mov edi, 1",
    "syscall",
    // The other thread of ping-pong.
    "bench_partner:",
    "mov edi, {down}",
    "xor esi, esi",
    "xor edx, edx",
    "syscall",
    "mov edi, {up}",
    "syscall",
    "jmp bench_partner",
    // A thread that waits for what never comes.
    "bench_sleeper:",
    "mov edi, {sleep}",
    "xor esi, esi",
    "xor edx, edx",
    "syscall",
    "jmp bench_sleeper",
    down = const control(PING, DOWN),
    up = const control(PONG, UP),
    sleep = const control(NEVER, DOWN),
    start_rip = const STARTER_PAGE as usize + STATE_OFFSET + offset_of!(ArchState, rip),
    rip = const HANDLER_PAGE as usize + STATE_OFFSET + offset_of!(ArchState, rip),
);

// SAFETY: defined above; only their addresses are used.
unsafe extern "C" {
    fn bench_echo();
    fn bench_skip();
    fn bench_start();
    fn bench_partner();
    fn bench_sleeper();
}

/// First register of the hypercall that controls a semaphore.
pub const fn control(semaphore: u64, flags: u8) -> u64 {
    Request::new(Hypercall::ControlSemaphore, flags, Selector::new(semaphore)).word()
}

/// Code that the kernel enters.
#[derive(Clone, Copy, Debug)]
pub enum Entry {
    /// Replies at once.
    Echo,
    /// Moves the faulter's instruction pointer on and replies.
    Skip,
    /// Sets a new thread's instruction pointer and replies.
    Start,
    /// A thread: the other side of [`ping_pong`].
    Partner,
    /// A thread that waits for ever.
    Sleeper,
}

impl Entry {
    /// Its address.
    pub fn address(self) -> u64 {
        match self {
            Self::Echo => bench_echo as *const () as u64,
            Self::Skip => bench_skip as *const () as u64,
            Self::Start => bench_start as *const () as u64,
            Self::Partner => bench_partner as *const () as u64,
            Self::Sleeper => bench_sleeper as *const () as u64,
        }
    }
}

/// The time-stamp counter, once all earlier instructions are done.
pub fn ticks() -> u64 {
    let (low, high): (u64, u64);
    // SAFETY: reads a counter.
    unsafe { asm!("lfence", "rdtsc", out("eax") low, out("edx") high, options(nostack)) };
    high << 32 | low
}

/// Ticks of [`bench::line::CALIBRATION`] instructions and one RDTSC.
pub fn calibrate() -> u64 {
    let (start, end): (u64, u64);
    // SAFETY: counts down a register between two readings of a counter.
    unsafe {
        asm!("rdtsc", "shl rdx, 32", "or rax, rdx", "mov {start}, rax",
            "mov ecx, 1000000", "2:", "dec ecx", "jnz 2b",
            "rdtsc", "shl rdx, 32", "or rax, rdx",
            start = out(reg) start, out("rax") end, out("rdx") _, out("rcx") _, options(nostack, nomem));
    }
    end.saturating_sub(start)
}

/// Ticks from one reading of the counter to the next.
pub fn empty() -> u64 {
    let start = ticks();
    ticks().saturating_sub(start)
}

/// Writes a word of the message page at `page`.
pub fn write_word(page: u64, index: usize, word: u64) {
    let page = core::ptr::with_exposed_provenance_mut::<u64>(page as usize);
    // SAFETY: the caller's own message page of 512 words, which the kernel mapped at the start; aligned, and no reference
    // to it exists.
    unsafe { page.add(index & 511).write_volatile(word) }
}

/// Reads a word of memory.
pub fn touch(address: u64) {
    let word = core::ptr::with_exposed_provenance::<u64>(address as usize);
    // SAFETY: the program has mapped ordinary memory there, which nobody writes.
    unsafe { word.read_volatile() };
}

/// Gives memory to the heap.
pub fn heap(start: u64, size: u64) {
    // SAFETY: the program has mapped ordinary memory there, for this and for good.
    unsafe { rt::heap::add(start as usize, size as usize) };
}

/// A counter of a core.
pub fn count(core: u64, counter: u64) -> u64 {
    let (mut status, mut value) = (Request::new(Hypercall::Misc, 3, Selector::new(core)).word(), counter);
    // SAFETY: asks for a number.
    unsafe {
        asm!("syscall", inout("rdi") status, inout("rsi") value, out("rdx") _, out("rcx") _, out("r11") _,
            options(nostack));
    }
    if status as u8 == 0 { value } else { u64::MAX }
}

/// One hypercall; the status.
pub fn hypercall(request: u64, [rsi, rdx, rax, r8]: [u64; 4]) -> u8 {
    let mut status = request;
    // SAFETY: creates objects of this program, whose code keeps to its registers.
    unsafe {
        asm!("syscall", inout("rdi") status, inout("rsi") rsi => _, inout("rdx") rdx => _, inout("rax") rax => _,
            inout("r8") r8 => _, out("rcx") _, out("r11") _, options(nostack));
    }
    status as u8
}

/// A loop around a hypercall; what it yields is whether all calls left the expected status in RDI.
macro_rules! repeat {
    ([$($load:literal),*], [$($advance:literal),*], $expected:expr, $count:expr, $($operands:tt)*) => {{
        let (mut status, mut left) = (u64::from($expected), $count);
        if left > 0 {
            // SAFETY: calls portals of this program or creates its objects; the operands name all that the kernel
            // changes, and R9 to R15 keep their values.
            unsafe {
                asm!("2:", "mov rdi, r12", $($load,)* "syscall", "cmp dil, r13b", "jne 3f",
                    $($advance,)* "dec r14", "jnz 2b", "3:",
                    inout("r13") status, inout("r14") left, out("rdi") status,
                    out("rsi") _, out("rdx") _, out("rax") _, out("r8") _, out("rcx") _, out("r11") _,
                    $($operands)*);
            }
        }
        if left == 0 { Ok(()) } else { Err(status as u8) }
    }};
}

mod destroy;
pub mod guest;
mod script;

pub use destroy::{destroy, range, settle, usage};
pub use script::{Step, script};

/// `count` hypercalls without arguments, each of which has to leave the status `expected`; otherwise the other status.
pub fn repeat(request: u64, expected: u8, count: u64) -> Result<(), u8> {
    repeat!([], [], expected, count, in("r12") request)
}

/// `count` hypercalls without arguments but a deadline of none.
pub fn repeat_down(request: u64, count: u64) -> Result<(), u8> {
    repeat!(["xor esi, esi", "xor edx, edx"], [], 0_u8, count, in("r12") request)
}

/// Creates `count` semaphores or domains at consecutive selectors, with RSI, RDX and RAX as given; the request names the
/// next one.
pub fn create_simple(request: &mut u64, [rsi, rdx, rax, _]: &mut [u64; 4], count: u64) -> Result<(), u8> {
    repeat!(["mov rsi, r9", "mov rdx, r10", "mov rax, r15"], ["add r12, {unit}"], 0_u8, count,
        inout("r12") *request, in("r9") *rsi, in("r10") *rdx, in("r15") *rax, unit = const SELECTOR_UNIT)
}

/// Creates `count` portals at consecutive selectors, with RSI, RDX, RAX and R8 as given; the request names the next one.
pub fn create_portals(request: &mut u64, [rsi, rdx, rax, r8]: &mut [u64; 4], count: u64) -> Result<(), u8> {
    repeat!(["mov rsi, r9", "mov rdx, r10", "mov rax, r15", "mov r8, {entry}"], ["add r12, {unit}"], 0_u8, count,
        inout("r12") *request, in("r9") *rsi, in("r10") *rdx, in("r15") *rax, entry = in(reg) *r8,
        unit = const SELECTOR_UNIT)
}

/// Creates `count` contexts at consecutive selectors and pages; request and RDX name the next ones.
pub fn create_contexts(request: &mut u64, [rsi, rdx, rax, r8]: &mut [u64; 4], count: u64) -> Result<(), u8> {
    repeat!(["mov rsi, r9", "mov rdx, r10", "mov rax, r15", "mov r8, {base}"],
        ["add r12, {unit}", "add r10, {page}"], 0_u8, count,
        inout("r12") *request, in("r9") *rsi, inout("r10") *rdx, in("r15") *rax, base = in(reg) *r8,
        unit = const SELECTOR_UNIT, page = const PAGE_SIZE)
}

/// Creates `count` scheduling contexts at consecutive selectors for contexts at consecutive selectors; request and RDX
/// name the next ones.
pub fn create_scheduling(request: &mut u64, [rsi, rdx, rax, _]: &mut [u64; 4], count: u64) -> Result<(), u8> {
    repeat!(["mov rsi, r9", "mov rdx, r10", "mov rax, r15"], ["add r12, {unit}", "inc r10"], 0_u8, count,
        inout("r12") *request, in("r9") *rsi, inout("r10") *rdx, in("r15") *rax, unit = const SELECTOR_UNIT)
}

/// Goes `count` times to the partner ([`Entry::Partner`]) and back: an up of [`PING`], a down of [`PONG`].
pub fn ping_pong(count: u64) -> Result<(), u8> {
    let (mut status, mut left) = (0_u64, count);
    if left > 0 {
        // SAFETY: semaphores only; the operands name all that the kernel changes.
        unsafe {
            asm!("2:", "mov edi, {up}", "syscall", "test dil, dil", "jnz 3f",
                "mov edi, {down}", "xor esi, esi", "xor edx, edx", "syscall", "test dil, dil", "jnz 3f",
                "dec r14", "jnz 2b", "3:",
                up = const control(PING, UP), down = const control(PONG, DOWN),
                inout("r14") left, out("rdi") status,
                out("rsi") _, out("rdx") _, out("rax") _, out("r8") _, out("rcx") _, out("r11") _);
        }
    }
    if left == 0 { Ok(()) } else { Err(status as u8) }
}

/// Executes `count` undefined instructions, which a handler steps over.
pub fn undefined(count: u64) {
    if count > 0 {
        // SAFETY: the handler goes on behind the instruction and leaves all registers.
        unsafe { asm!("2:", "ud2", "dec r14", "jnz 2b", inout("r14") count => _, options(nostack)) }
    }
}

/// Loads `count` times from `address`, where nothing is mapped; a handler steps over the load.
pub fn page_fault(address: u64, count: u64) {
    if count > 0 {
        // SAFETY: nothing is read; the handler goes on behind the instruction and leaves all registers.
        unsafe {
            asm!("2:", "mov rax, [rcx]", "dec r14", "jnz 2b", inout("r14") count => _, in("rcx") address,
                out("rax") _, options(nostack));
        }
    }
}
