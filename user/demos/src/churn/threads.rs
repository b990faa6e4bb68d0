//! Threads that are destroyed in the middle of something.
//!
//! Each runs on some core and says when it has begun; then what it uses goes, in one order or another, at some moment.
//! Invariants: one at a time; a starter on each core stays.
//! Concurrency: the thread, a server that it calls, and the program's first thread.
//! Source: interface §8.
use super::{SELF, destroy};
use crate::raw::{PATIENCE, call, down, hypercall, time_stamp, up, word};
use abi::{Hypercall, Mtd};
use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

const CORES: usize = 4;
/// Starters of the cores, and their events.
const STARTERS: u64 = 0x2100;
const EVENTS: u64 = 0x2200;
/// The thread, its time, the server, its portal, what they wait for, and what the thread makes.
const THREAD: u64 = 0x2400;
const TIME: u64 = 0x2401;
const SERVER: u64 = 0x2402;
const PORTAL: u64 = 0x2403;
const WAITS: u64 = 0x2404;
const MADE: u64 = 0x2405;
const STARTER_PAGES: u64 = 0x4100_0000;
const THREAD_PAGE: u64 = 0x4200_0000;
const SERVER_PAGE: u64 = 0x4201_0000;
/// Kinds of what a thread does.
const KINDS: u64 = 12;
/// TSC ticks that never pass.
const FAR: u64 = 1 << 50;

#[repr(align(4096))]
struct Stacks([[AtomicU64; 512]; CORES + 2]);
static STACKS: Stacks = Stacks([const { [const { AtomicU64::new(0) }; 512] }; CORES + 2]);
static KIND: AtomicU64 = AtomicU64::new(0);
static STEP: AtomicU64 = AtomicU64::new(0);

global_asm!(
    "churn_start:", "call {start}", "mov edi, 1", "syscall",
    "churn_thread:", "call {thread}", "ud2",
    "churn_serve:", "call {serve}", "mov edi, 1", "syscall",
    start = sym start, thread = sym thread, serve = sym serve,
);

// SAFETY: defined above; only their addresses are used.
unsafe extern "C" {
    fn churn_start();
    fn churn_thread();
    fn churn_serve();
}

fn stack_top(index: usize) -> u64 {
    (&raw const STACKS.0[index]).addr() as u64 + 4096
}

extern "C" fn start(core: u64) {
    let page = STARTER_PAGES + core * 0x1000;
    word(page, 4).store((Mtd::RSP | Mtd::RIP_LEN).bits(), SeqCst);
    word(page, 6).store((churn_thread as *const ()).addr() as u64, SeqCst);
    word(page, 14).store(stack_top(CORES), SeqCst);
    word(page, 0).store(0, SeqCst);
}

fn spin() -> ! {
    loop {
        core::hint::spin_loop();
    }
}

extern "C" fn thread() -> ! {
    let kind = KIND.load(SeqCst);
    STEP.store(1, SeqCst);
    match kind {
        1 => drop(down(WAITS, 0)),
        2 | 3 => drop(down(WAITS, time_stamp() + FAR)),
        4..8 => drop(call(PORTAL)),
        8 => loop {
            let _ = call(PORTAL);
        },
        9 => loop {
            let _ = up(WAITS) | down(WAITS, 0) | down(WAITS, time_stamp() + 2000);
        },
        10 => loop {
            let _ = hypercall(Hypercall::CreateSemaphore, 0, MADE, [SELF, 0, 0, 0]) | destroy(MADE);
        },
        11 => loop {
            let _ = hypercall(Hypercall::ControlContext, 0, THREAD, [0; 4]);
        },
        _ => {}
    }
    STEP.store(2, SeqCst);
    spin()
}

extern "C" fn serve(_identity: u64) {
    match KIND.load(SeqCst) {
        4 | 6 => {
            STEP.store(3, SeqCst);
            let _ = down(WAITS, 0);
        }
        5 | 7 => {
            STEP.store(3, SeqCst);
            spin();
        }
        _ => {}
    }
}

/// Makes what stays. Statuses together.
pub fn prepare(cores: u64) -> u64 {
    (0..cores.min(CORES as u64)).fold(0, |wrong, core| {
        let (context, startup) = (STARTERS + core, EVENTS + 32 * core + 0x1E);
        let place = (STARTER_PAGES + core * 0x1000) | core;
        let entry = (churn_start as *const ()).addr() as u64;
        wrong
            | hypercall(Hypercall::CreateContext, 0, context, [SELF, place, stack_top(core as usize), 0x3_0000])
            | hypercall(Hypercall::CreatePortal, 0, startup, [SELF, context, 0, entry])
            | hypercall(Hypercall::ControlPortal, 0, startup, [core, 0, 0, 0])
    })
}

fn await_step(step: u64) -> u64 {
    let end = time_stamp() + PATIENCE;
    while STEP.load(SeqCst) < step && time_stamp() < end {
        let _ = hypercall(Hypercall::ControlContext, 1, 0, [0; 4]);
    }
    u64::from(STEP.load(SeqCst) < step)
}

/// A thread on `core` begins something, and then everything goes. Statuses together.
pub fn cycle(number: u64, core: u64) -> u64 {
    // All kinds on all cores; the cores are taken in turn.
    let (kind, core) = (number / 4 % KINDS, core % CORES as u64);
    KIND.store(kind, SeqCst);
    STEP.store(0, SeqCst);
    let server_core = if matches!(kind, 6..9) { 0 } else { core };
    let mut wrong = hypercall(Hypercall::CreateSemaphore, 0, WAITS, [SELF, 0, 0, 0]);
    let place = [SELF, SERVER_PAGE | server_core, stack_top(CORES + 1), 0x3_0000];
    wrong |= hypercall(Hypercall::CreateContext, 0, SERVER, place);
    let entry = (churn_serve as *const ()).addr() as u64;
    wrong |= hypercall(Hypercall::CreatePortal, 0, PORTAL, [SELF, SERVER, 0, entry]);
    let place = [SELF, THREAD_PAGE | core, 0, EVENTS + 32 * core];
    wrong |= hypercall(Hypercall::CreateContext, 1, THREAD, place);
    wrong |= hypercall(Hypercall::CreateScheduling, 0, TIME, [SELF, THREAD, 1 | 1000 << 12, 0]);
    wrong |= await_step(if matches!(kind, 4..8) { 3 } else { 1 });
    let begun = time_stamp();
    let noise = (number ^ begun >> 3).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    while time_stamp() < begun + noise % 60_000 {
        core::hint::spin_loop();
    }
    if kind == 3 {
        // It waits with a deadline, is woken from here, and goes on until it is destroyed.
        wrong |= up(WAITS) | await_step(2);
    }
    let mut all = [TIME, THREAD, SERVER, PORTAL, WAITS];
    all.rotate_left((noise % 5) as usize);
    if noise & 64 != 0 {
        all.reverse();
    }
    for object in all {
        wrong |= destroy(object);
    }
    // The thread may have been in the middle of making it.
    wrong | destroy(MADE)
}
