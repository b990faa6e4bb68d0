//! The interface as it is: hypercalls by number, message pages by address, and checks that are counted.
//!
//! Purpose: what the programs that check the kernel from inside have in common.
//! Invariants: none of its own; what a hypercall does to the program is the caller's concern.
//! Concurrency: atomics and registers only.
//! Source: interface §1 and §4.
use abi::rights::MemoryRights;
use abi::{Crd, Hypercall, Request, Rights, Selector, TypedItem};
use core::arch::asm;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use rt::{ExitStatus, println};

/// Ticks after which something that should happen has not, on a busy host either.
pub const PATIENCE: u64 = 100_000_000_000;

/// A hypercall; the status register comes back.
pub fn hypercall(call: Hypercall, flags: u8, selector: u64, arguments: [u64; 4]) -> u64 {
    answer(call, flags, selector, arguments)[0]
}

/// A hypercall; status register, RSI and RDX come back.
pub fn answer(call: Hypercall, flags: u8, selector: u64, arguments: [u64; 4]) -> [u64; 3] {
    let [status, rsi, rdx, _] = registers(call, flags, selector, arguments);
    [status, rsi, rdx]
}

/// As [`answer`], and RAX.
pub fn registers(call: Hypercall, flags: u8, selector: u64, arguments: [u64; 4]) -> [u64; 4] {
    let mut status = Request::new(call, flags, Selector::new(selector)).word();
    let [mut rsi, mut rdx, mut rax, r8] = arguments;
    // SAFETY: the programs that use this create objects, move capabilities that no Rust object depends on, or let
    // functions of their own run, which keep to their stacks.
    unsafe {
        asm!("syscall", inout("rdi") status, inout("rsi") rsi, inout("rdx") rdx, inout("rax") rax,
            inout("r8") r8 => _, out("rcx") _, out("r11") _);
    }
    [status, rsi, rdx, rax]
}

/// 2^`order` pages from `address` on, with all rights.
#[must_use]
pub fn memory(address: u64, order: u32) -> Crd {
    Crd::memory(address >> 12, order, MemoryRights::all()).unwrap_or(Crd::NULL)
}

/// The capability at `selector`, with all rights.
#[must_use]
pub fn object(selector: u64) -> Crd {
    Crd::objects(Selector::new(selector), 0, Rights::ALL).unwrap_or(Crd::NULL)
}

/// Delegates what `item` names from domain `source` into `window` of `target`, with the message page `page` of the calling
/// thread.
pub fn give(page: u64, source: u64, item: TypedItem, (target, window): (u64, Crd)) -> u64 {
    let [first, second] = item.words();
    word(page, 510).store(first, SeqCst);
    word(page, 511).store(second, SeqCst);
    word(page, 0).store(1 << 16, SeqCst);
    let status = hypercall(Hypercall::Misc, 1, source, [window.word(), target, 0, 0]);
    word(page, 0).store(0, SeqCst);
    status
}

/// Calls through a portal, with the message that is in the caller's page.
pub fn call(portal: u64) -> u64 {
    hypercall(Hypercall::Call, 0, portal, [0; 4])
}

/// Ups a semaphore.
pub fn up(semaphore: u64) -> u64 {
    hypercall(Hypercall::ControlSemaphore, 0, semaphore, [0; 4])
}

/// Downs a semaphore, at most until the TSC reaches `deadline` (0: for ever).
pub fn down(semaphore: u64, deadline: u64) -> u64 {
    hypercall(Hypercall::ControlSemaphore, 1, semaphore, [deadline >> 32, deadline & 0xFFFF_FFFF, 0, 0])
}

/// Pages of kernel memory that a domain may use, and uses.
#[must_use]
pub fn quota(domain: u64) -> [u64; 2] {
    let [status, limit, usage] = answer(Hypercall::ControlDomain, 2, domain, [0; 4]);
    if status == 0 { [limit, usage] } else { [0, 0] }
}

/// Whether a domain comes to have so much and to use no more; other cores may be about to end something.
#[must_use]
pub fn settles(domain: u64, [limit, usage]: [u64; 2]) -> bool {
    let end = time_stamp() + PATIENCE;
    loop {
        let now = quota(domain);
        if now[0] == limit && now[1] <= usage || time_stamp() > end {
            return time_stamp() <= end;
        }
    }
}

/// A word of the message page at `page`.
#[must_use]
pub fn word(page: u64, index: usize) -> &'static AtomicU64 {
    let page = core::ptr::with_exposed_provenance::<AtomicU64>(page as usize);
    // SAFETY: a message page, mapped by the kernel since the context exists; 512 words.
    unsafe { &*page.add(index & 511) }
}

/// The 32-bit word at `address`, which the program has mapped, and which is a multiple of 4: memory, or a register.
#[must_use]
pub fn word32(address: u64) -> &'static AtomicU32 {
    let word = core::ptr::with_exposed_provenance::<AtomicU32>((address & !3) as usize);
    // SAFETY: mapped by a delegation that the program has made before, for good.
    unsafe { &*word }
}

/// The time-stamp counter.
#[must_use]
pub fn time_stamp() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a counter.
    unsafe { asm!("rdtsc", out("eax") low, out("edx") high, options(nomem, nostack)) };
    u64::from(high) << 32 | u64::from(low)
}

/// Checks of a program: how many, and how many failed.
#[derive(Debug)]
pub struct Checks {
    program: &'static str,
    all: u32,
    wrong: u32,
}

impl Checks {
    /// None so far.
    #[must_use]
    pub const fn new(program: &'static str) -> Self {
        Self { program, all: 0, wrong: 0 }
    }

    /// Compares, and says what is wrong.
    pub fn check(&mut self, what: &str, found: u64, expected: u64) {
        self.all += 1;
        if found != expected {
            self.wrong += 1;
            println!("{}: {what}: {found:#x}, should be {expected:#x}", self.program);
        }
    }

    /// Checks so far, and how many of them failed.
    #[must_use]
    pub const fn so_far(&self) -> (u32, u32) {
        (self.all, self.wrong)
    }

    /// Says how many hold, and gives the status to end with.
    pub fn finish(&self) -> ExitStatus {
        println!("{}: {} of {} checks hold", self.program, self.all - self.wrong, self.all);
        if self.wrong == 0 { ExitStatus::SUCCESS } else { ExitStatus::new(3) }
    }
}
