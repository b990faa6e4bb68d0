//! Threads for programs that check the kernel from inside: an entry function on a core, with a stack of its own.
//!
//! Purpose: what a thread needs (context, scheduling context, a startup portal on its core) from one number.
//! Invariants: each number is used once; an entry function does not return.
//! Concurrency: threads are made by the program's first one.
//! Source: interface §6 ("startup").
use crate::raw::{hypercall, word};
use crate::servers::portal;
use abi::qpd::Qpd;
use abi::{Hypercall, Mtd};
use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// How many threads there can be.
pub const THREADS: usize = 8;
/// Selectors and message pages of thread 0; 64 and two for each.
const SELECTORS: u64 = 0x10_0000;
const PAGES: u64 = 0x5000_0000;

#[repr(align(4096))]
struct Stacks([[AtomicU64; 1024]; 2 * THREADS]);
static STACKS: Stacks = Stacks([const { [const { AtomicU64::new(0) }; 1024] }; 2 * THREADS]);
static ENTRIES: [AtomicU64; THREADS] = [const { AtomicU64::new(0) }; THREADS];

global_asm!("demos_start:", "call {start}", "mov edi, 1", "syscall", start = sym start);
// SAFETY: defined above; only its address is used.
unsafe extern "C" {
    fn demos_start();
}

fn stack_top(index: usize) -> u64 {
    let stack = &raw const STACKS.0[index];
    // As after a call: functions expect the stack to be 8 bytes off.
    stack.addr() as u64 + 8192 - 8
}

/// Serves the startup event: the thread begins in its entry function, with its number.
extern "C" fn start(thread: u64) {
    let page = PAGES + thread * 0x2000;
    let index = thread as usize % THREADS;
    let registers = [(4, (Mtd::RIP_LEN | Mtd::RSP | Mtd::BSD).bits()), (6, ENTRIES[index].load(SeqCst)), (17, thread)];
    for (at, value) in registers.into_iter().chain([(14, stack_top(2 * index + 1))]) {
        word(page, at).store(value, SeqCst);
    }
}

/// Makes event `event` of thread `number`, which exists, start its handler at `entry` with this message transfer descriptor;
/// the portal's identity is the handler's message page. The sum of the statuses is 0 if all went well.
pub fn handle(number: u64, event: u64, entry: u64, mtd: Mtd) -> u64 {
    let (starter, page) = (SELECTORS + number * 64, PAGES + number * 0x2000);
    portal(starter + 32 + event, starter, entry, mtd, page)
}

/// Starts thread `number` in `entry` on `core` with this priority. The sum of the statuses is 0 if all went well.
pub fn spawn(number: u64, core: u64, priority: u8, entry: extern "C" fn(u64) -> !) -> u64 {
    let (at, page, index) = (SELECTORS + number * 64, PAGES + number * 0x2000, number as usize % THREADS);
    let (starter, context, events) = (at, at + 1, at + 32);
    ENTRIES[index].store(entry as *const () as u64, SeqCst);
    let create =
        |at, page, stack, flags| hypercall(Hypercall::CreateContext, flags, at, [32, page | core, stack, events]);
    let quantum = Qpd::new(priority, 10_000).map_or(0, Qpd::word);
    let start = demos_start as *const () as u64;
    create(starter, page, stack_top(2 * index) + 8, 0)
        + hypercall(Hypercall::CreatePortal, 0, events + 0x1E, [32, starter, 0, start])
        + hypercall(Hypercall::ControlPortal, 0, events + 0x1E, [number, 0, 0, 0])
        + create(context, page + 0x1000, 0, 1)
        + hypercall(Hypercall::CreateScheduling, 0, at + 2, [32, context, quantum, 0])
}
