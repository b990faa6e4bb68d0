//! Waiting behind others: a server that blocks on a helper's time, two threads behind one slow starter, a chain of fault
//! handlers that fault, a server that single-steps itself.
//!
//! Each of these once lost a thread or stopped the kernel. Ends with success if every check holds. Concurrency: threads
//! of one core take turns.
// UNSAFETY: stacks and code that the kernel enters.
#![expect(unsafe_code, reason = "entry points in assembly")]
#![no_std]
#![no_main]

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use abi::qpd::Qpd;
use abi::{Hypercall, Mtd};
use demos::raw::{Checks, call, down, hypercall, time_stamp, up, word};
use rt::{Environment, ExitStatus};

rt::entry!(main);

/// Selectors: semaphores, and where each part puts its contexts and portals.
const WAKE: u64 = 0x50;
const NEVER: u64 = 0x51;
const SLOW: u64 = 0x60;
const STARTS: u64 = 0x70;
const STEPS: u64 = 0x90;
const CHAIN: u64 = 0x1000;
/// Event bases.
const THREAD_EVENTS: u64 = 0x200;
const START_EVENTS: u64 = 0x300;
const CHAIN_EVENTS: u64 = 0x4000;
/// Message pages.
const PAGES: u64 = 0x4000_0000;
const CHAIN_PAGES: u64 = 0x4100_0000;
/// Contexts in the chain of handlers: more than fit a recursion on the kernel's stack.
const LENGTH: u64 = 300;

#[repr(align(4096))]
struct Stacks([[AtomicU64; 1024]; 5]);
static STACKS: Stacks = Stacks([const { [const { AtomicU64::new(0) }; 1024] }; 5]);
static CALLS: AtomicU64 = AtomicU64::new(0);
static HIGH: AtomicU64 = AtomicU64::new(u64::MAX);
static SURVIVED: AtomicU64 = AtomicU64::new(0);

global_asm!(
    "slow_entry:", "call {slow}", "mov edi, 1", "syscall",
    "start_entry:", "call {start}", "mov edi, 1", "syscall",
    "block_entry:", "call {block}", "mov edi, 1", "syscall",
    "high_entry:", "call {high}", "ud2",
    "fault_entry:", "ud2",
    "step_entry:", "pushfq", "or qword ptr [rsp], 0x100", "popfq", "nop", "call {survived}", "ud2",
    slow = sym slow, start = sym start, block = sym block, high = sym high, survived = sym survived,
);

// SAFETY: defined above; only their addresses are used.
unsafe extern "C" {
    fn slow_entry();
    fn start_entry();
    fn block_entry();
    fn high_entry();
    fn fault_entry();
    fn step_entry();
}

fn stack_top(index: usize) -> u64 {
    let stack = &raw const STACKS.0[index];
    stack.addr() as u64 + 8192
}

/// The first call wakes the thread of higher priority, which calls too and helps, and then waits on that thread's time.
extern "C" fn slow(_: u64) {
    if CALLS.fetch_add(1, SeqCst) == 0 {
        up(WAKE);
        down(NEVER, time_stamp() + 3_000_000);
    }
}

extern "C" fn start(page: u64) {
    word(page, 4).store((Mtd::RIP_LEN | Mtd::RSP).bits(), SeqCst);
    word(page, 6).store(high_entry as *const () as u64, SeqCst);
    word(page, 14).store(stack_top(1), SeqCst);
}

extern "C" fn block(_: u64) {
    down(NEVER, 0);
}

extern "C" fn high() {
    down(WAKE, 0);
    HIGH.store(call(SLOW + 1), SeqCst);
    down(NEVER, 0);
}

extern "C" fn survived() {
    SURVIVED.store(1, SeqCst);
}

fn context(at: u64, page: u64, stack: u64, events: u64, global: u8) -> u64 {
    hypercall(Hypercall::CreateContext, global, at, [32, page, stack, events])
}

fn portal(at: u64, context: u64, entry: u64, identity: u64) -> u64 {
    let created = hypercall(Hypercall::CreatePortal, 0, at, [32, context, 0, entry]);
    created | hypercall(Hypercall::ControlPortal, 0, at, [identity, 0, 0, 0])
}

fn run(at: u64, context: u64) -> u64 {
    let word = Qpd::new(2, 10_000).map_or(0, Qpd::word);
    hypercall(Hypercall::CreateScheduling, 0, at, [32, context, word, 0])
}

fn main(_: &Environment) -> ExitStatus {
    demos::announce("waits", "waiting behind others");
    let mut checks = Checks::new("waits");
    for semaphore in [WAKE, NEVER] {
        checks.check("semaphore", hypercall(Hypercall::CreateSemaphore, 0, semaphore, [32, 0, 0, 0]), 0);
    }
    slow_server(&mut checks);
    fault_chain(&mut checks);
    single_step(&mut checks);
    slow_starter(&mut checks);
    checks.finish()
}

fn slow_server(checks: &mut Checks) {
    checks.check("server", context(SLOW, PAGES, stack_top(0), 0, 0), 0);
    checks.check("its portal", portal(SLOW + 1, SLOW, slow_entry as *const () as u64, 0), 0);
    checks.check("starter", context(SLOW + 2, PAGES + 0x1000, stack_top(2), 0, 0), 0);
    let starter = portal(THREAD_EVENTS + 0x1E, SLOW + 2, start_entry as *const () as u64, PAGES + 0x1000);
    checks.check("its portal", starter, 0);
    checks.check("thread", context(SLOW + 3, PAGES + 0x2000, 0, THREAD_EVENTS, 1), 0);
    checks.check("its time", run(SLOW + 4, SLOW + 3), 0);
    checks.check("call of a server that waits on a helper's time", call(SLOW + 1), (SLOW + 1) << 8);
    checks.check("the helper was served as well", HIGH.load(SeqCst), (SLOW + 1) << 8);
}

fn fault_chain(checks: &mut Checks) {
    let entry = fault_entry as *const () as u64;
    let mut failed = 0;
    for index in 0..LENGTH {
        failed += context(CHAIN + index, CHAIN_PAGES + index * 4096, 0, CHAIN_EVENTS + 32 * index, 0);
    }
    for index in 1..LENGTH {
        failed += portal(CHAIN_EVENTS + 32 * (index - 1) + 6, CHAIN + index, entry, 0);
    }
    checks.check("a chain of fault handlers", failed + portal(CHAIN + LENGTH, CHAIN, entry, 0), 0);
    checks.check("its end takes all of it along", call(CHAIN + LENGTH), 2);
}

fn single_step(checks: &mut Checks) {
    checks.check("server", context(STEPS, PAGES + 0x8000, stack_top(3), 0, 0), 0);
    checks.check("its portal", portal(STEPS + 1, STEPS, step_entry as *const () as u64, 0), 0);
    checks.check("a server that single-steps dies", call(STEPS + 1), 2);
    checks.check("and runs no further", SURVIVED.load(SeqCst), 0);
}

fn slow_starter(checks: &mut Checks) {
    checks.check("starter", context(STARTS, PAGES + 0x4000, stack_top(4), 0, 0), 0);
    checks.check("its portal", portal(START_EVENTS + 0x1E, STARTS, block_entry as *const () as u64, 0), 0);
    for thread in 0..2 {
        let at = STARTS + 2 + 2 * thread;
        checks.check("thread", context(at, PAGES + 0x5000 + thread * 0x1000, 0, START_EVENTS, 1), 0);
        checks.check("its time, behind a starter that waits", run(at + 1, at), 0);
    }
}
