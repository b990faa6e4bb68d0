//! Vector registers: threads, servers and another domain keep their own and see nothing of others'.
//!
//! Written straight against the interface, without the runtime's typed capabilities: what it shows is the kernel. Ends with
//! success if every check holds. Concurrency: three threads of one priority and core compete; the rest takes turns.
// UNSAFETY: raw hypercalls, and code that the kernel enters, in two domains.
#![expect(unsafe_code, reason = "entry points in assembly")]
#![no_std]
#![no_main]

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use abi::arch_state::{FPU_MAX_SIZE, FPU_OFFSET};
use abi::hip::ROOT_UTCB_ADDRESS;
use abi::item::ItemFlags;
use abi::qpd::Qpd;
use abi::rights::MemoryRights;
use abi::{Crd, Hypercall, Mtd, Rights, Selector, TypedItem};
use demos::raw::{Checks, call, down, hypercall, time_stamp, word};
use demos::registers::{self, Class, Registers};
use rt::{Environment, ExitStatus, println};

rt::entry!(main);

/// Selectors: a semaphore, the other domain, and where contexts with their portals begin.
const NEVER: u64 = 0x50;
const OTHER: u64 = 0x51;
const CONTEXTS: u64 = 0x60;
/// Event bases.
const THREAD_EVENTS: u64 = 0x200;
const FAULT_EVENTS: u64 = 0x300;
/// Message pages of this domain's contexts, and of the other's.
const PAGES: u64 = 0x4000_0000;
const OTHER_PAGES: u64 = 0x5000_0000;
/// First word of the image in a message page, the words that may follow, and words of parts of it.
const IMAGE: usize = FPU_OFFSET / 8;
const IMAGE_WORDS: usize = FPU_MAX_SIZE / 8;
const IMAGE_XMM_3: usize = IMAGE + 26;
const IMAGE_COMPONENTS: usize = IMAGE + 64;

/// Pages of kernel memory for the other domain.
const QUOTA: u64 = 256;

/// Threads that compete: the program's own and two more.
const THREADS: usize = 3;
/// How often each checks its registers.
const ROUNDS: u64 = 20;
/// Images made to do damage.
const HOSTILE: u64 = 64;
/// What the faulter does, in this order: the last many times.
const FRESH: u64 = 0;
const PATTERN: u64 = 1;
const CLEARED: u64 = 2;
const BAD_IMAGES: u64 = 3;
/// What a handler puts into a register.
const MARK: u64 = 0x1234_5678_9ABC_DEF0;

#[repr(align(4096))]
struct Stacks([[AtomicU64; 1024]; 8]);
static STACKS: Stacks = Stacks([const { [const { AtomicU64::new(0) }; 1024] }; 8]);
/// Per thread, server or handler: what should be in its registers, and what is.
static EXPECTED: [Registers; 8] = [const { Registers::new() }; 8];
static FOUND: [Registers; 8] = [const { Registers::new() }; 8];
static LOST: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];
static TICKS: [AtomicU64; THREADS] = [const { AtomicU64::new(0) }; THREADS];
static SWITCHES: [AtomicU64; THREADS] = [const { AtomicU64::new(0) }; THREADS];
static FINISHED: AtomicU64 = AtomicU64::new(0);
static HANDLED: AtomicU64 = AtomicU64::new(0);
static VISIBLE: AtomicU64 = AtomicU64::new(u64::MAX);

/// Indices of the others into these tables.
const SERVER: usize = 3;
const FOREIGNER: usize = 4;
const FAULTER: usize = 5;
const HANDLER: usize = 6;
const MAIN: usize = 7;
const LOOKER: usize = 0;

global_asm!(
    "start_entry:", "call {start}", "mov edi, 1", "syscall",
    "serve_entry:", "call {serve}", "mov edi, 1", "syscall",
    "look_entry:", "call {look}", "mov edi, 1", "syscall",
    "fault_entry:", "call {fault}", "mov edi, 1", "syscall",
    "handle_entry:", "call {handle}", "mov edi, 1", "syscall",
    "thread_entry:", "call {thread}", "ud2",
    start = sym start, serve = sym serve, look = sym look, fault = sym fault, handle = sym handle, thread = sym thread,
);

// SAFETY: defined above; only their addresses are used.
unsafe extern "C" {
    fn start_entry();
    fn serve_entry();
    fn look_entry();
    fn fault_entry();
    fn handle_entry();
    fn thread_entry();
}

fn stack_top(index: usize) -> u64 {
    let stack = &raw const STACKS.0[index];
    stack.addr() as u64 + 8192
}

/// Loads a pattern that nobody else has had.
fn load(index: usize, seed: u64) {
    EXPECTED[index].set_pattern(seed * 8 + index as u64);
    EXPECTED[index].load(Class::allowed());
}

/// In how many words the registers are not what they should be.
fn lost(index: usize) -> u64 {
    FOUND[index].store(Class::allowed());
    FOUND[index].difference(&EXPECTED[index], Class::allowed())
}

/// Serves the startup event: the thread gets its number.
extern "C" fn start(page: u64) {
    let index = (page - PAGES) >> 12;
    let values = [
        (4, (Mtd::RIP_LEN | Mtd::RSP | Mtd::BSD).bits()),
        (6, thread_entry as *const () as u64),
        (14, stack_top(index as usize)),
        (17, index),
    ];
    for (at, value) in values {
        word(page, at).store(value, SeqCst);
    }
}

extern "C" fn thread(index: u64) {
    compete(index as usize);
    down(NEVER, 0);
}

/// Computes while the others do, and looks after each of their turns whether the registers are as they were.
fn compete(index: usize) {
    let next = (index + 1) % THREADS;
    let give_up = time_stamp() + 60_000_000_000;
    for round in 0..ROUNDS {
        // Thread 1 keeps one pattern, the others change theirs.
        if index != 1 || round == 0 {
            load(index, round);
        }
        let seen = TICKS[next].load(SeqCst);
        while TICKS[next].load(SeqCst) == seen && time_stamp() < give_up {
            TICKS[index].fetch_add(1, SeqCst);
        }
        SWITCHES[index].fetch_add(u64::from(TICKS[next].load(SeqCst) != seen), SeqCst);
        LOST[index].fetch_add(lost(index), SeqCst);
    }
    FINISHED.fetch_add(1, SeqCst);
    while FINISHED.load(SeqCst) < THREADS as u64 && time_stamp() < give_up {
        TICKS[index].fetch_add(1, SeqCst);
    }
}

/// A server with registers of its own, here or in the other domain. The first time they are what a context starts with.
extern "C" fn serve(index: u64) {
    let index = index as usize;
    LOST[index].fetch_add(lost(index), SeqCst);
    load(index, FINISHED.fetch_add(1, SeqCst));
}

/// A server that leaves the registers alone: looks which of them are not in their initial state.
extern "C" fn look(_: u64) {
    VISIBLE.store(registers::in_use(), SeqCst);
}

/// Faults, and looks what the handler has made of the registers. What to do is the portal's identity.
extern "C" fn fault(deed: u64) {
    for _ in 0..if deed == BAD_IMAGES { HOSTILE } else { 1 } {
        match deed {
            PATTERN => load(FAULTER, 77),
            CLEARED => {
                EXPECTED[FAULTER].set_initial();
                EXPECTED[FAULTER].load(Class::allowed());
            }
            _ => {}
        }
        // SAFETY: the handler skips the instruction.
        unsafe { asm!("ud2", options(nostack)) };
        EXPECTED[FAULTER].legacy[26].store(MARK, SeqCst);
        EXPECTED[FAULTER].wide[24].store(MARK, SeqCst);
        let lost = lost(FAULTER);
        if deed == PATTERN || deed == CLEARED {
            LOST[FAULTER].fetch_add(lost, SeqCst);
        }
    }
}

/// Looks at the faulter's image, changes it, and uses the registers itself.
extern "C" fn handle(page: u64) {
    let deed = HANDLED.fetch_add(1, SeqCst).min(BAD_IMAGES);
    // Once it leaves them alone: where they can stay they still hold the faulter's state then.
    if deed != PATTERN {
        load(HANDLER, deed);
    }
    let copy = &FOUND[FAULTER];
    for (index, to) in copy.legacy.iter().enumerate() {
        to.store(word(page, IMAGE + index).load(SeqCst), SeqCst);
    }
    if deed == BAD_IMAGES {
        spoil(page, HANDLED.load(SeqCst) - BAD_IMAGES);
    } else {
        EXPECTED[HANDLER].set_initial();
        if deed == PATTERN {
            EXPECTED[HANDLER].set_pattern(77 * 8 + FAULTER as u64);
        }
        LOST[HANDLER].fetch_add(copy.difference(&EXPECTED[HANDLER], Class::Sse), SeqCst);
        if Class::allowed() >= Class::Avx {
            let upper = EXPECTED[HANDLER].wide[3 * 8 + 2].load(SeqCst);
            let shown = word(page, IMAGE + 72 + 3 * 2).load(SeqCst);
            LOST[HANDLER].fetch_add(u64::from(shown != upper), SeqCst);
        }
        word(page, IMAGE_XMM_3).store(MARK, SeqCst);
        // Ignored where there is no XSAVE: the registers are not in their initial state any more.
        word(page, IMAGE_COMPONENTS).fetch_or(2, SeqCst);
    }
    word(page, 4).store((Mtd::RIP_LEN | Mtd::FPU).bits(), SeqCst);
    word(page, 6).fetch_add(2, SeqCst);
}

/// Makes an image that must not harm the kernel.
fn spoil(page: u64, kind: u64) {
    let mut random = kind.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    for index in IMAGE..IMAGE + IMAGE_WORDS {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        word(page, index).store(if kind == 1 { u64::MAX } else { random }, SeqCst);
    }
    match kind {
        // Compact format; the same with all components; a valid header but for one bit; all of MXCSR.
        2 => word(page, IMAGE_COMPONENTS + 1).store(1 << 63 | 3, SeqCst),
        3 => {
            word(page, IMAGE_COMPONENTS).store(u64::MAX, SeqCst);
            word(page, IMAGE_COMPONENTS + 1).store(u64::MAX, SeqCst);
        }
        4 => word(page, IMAGE_COMPONENTS + 2).store(1, SeqCst),
        5 => word(page, IMAGE + 3).store(u64::MAX, SeqCst),
        _ => {}
    }
}

/// Creates a context of `domain` that serves calls; its portal is the selector after its own.
fn server(checks: &mut Checks, domain: u64, index: u64, events: u64, entry: unsafe extern "C" fn()) -> (u64, u64) {
    let at = CONTEXTS + 4 * index;
    let page = if domain == OTHER { OTHER_PAGES } else { PAGES } + index * 4096;
    let create = [domain, page, stack_top(index as usize), events];
    checks.check("context", hypercall(Hypercall::CreateContext, 0, at, create), 0);
    let created = portal(at + 1, at, entry, Mtd::empty(), index);
    checks.check("its portal", created, 0);
    (at, page)
}

fn portal(at: u64, context: u64, entry: unsafe extern "C" fn(), transfer: Mtd, identity: u64) -> u64 {
    let entry = entry as *const () as u64;
    hypercall(Hypercall::CreatePortal, 0, at, [32, context, transfer.bits(), entry])
        | hypercall(Hypercall::ControlPortal, 0, at, [identity, 0, 0, 0])
}

fn main(_: &Environment) -> ExitStatus {
    demos::announce("vectors", "vector registers of threads, servers and domains");
    println!("vectors: up to {:?}", Class::allowed());
    let mut checks = Checks::new("vectors");
    checks.check("semaphore", hypercall(Hypercall::CreateSemaphore, 0, NEVER, [32, 0, 0, 0]), 0);
    EXPECTED[MAIN].set_initial();
    checks.check("what the first context starts with", lost(MAIN), 0);
    preemption(&mut checks);
    calls(&mut checks);
    leaks(&mut checks);
    ends(&mut checks);
    faults(&mut checks);
    checks.finish()
}

fn preemption(checks: &mut Checks) {
    for index in 1..THREADS as u64 {
        let page = PAGES + index * 4096;
        let (starter, thread) = (CONTEXTS + 4 * index, CONTEXTS + 4 * index + 1);
        let events = THREAD_EVENTS + 0x20 * index;
        let create = |at, page, stack, flags| hypercall(Hypercall::CreateContext, flags, at, [32, page, stack, events]);
        checks.check("context for the start", create(starter, page, stack_top(0), 0), 0);
        let startup = portal(events + 0x1E, starter, start_entry, Mtd::empty(), page);
        checks.check("startup portal", startup, 0);
        checks.check("thread", create(thread, PAGES + (0x10 + index) * 4096, 0, 1), 0);
        let quantum = Qpd::new(1, 1000).map_or(0, Qpd::word);
        checks.check("its time", hypercall(Hypercall::CreateScheduling, 0, thread + 1, [32, thread, quantum, 0]), 0);
    }
    compete(0);
    for index in 0..THREADS {
        checks.check("switches while the registers were in use", SWITCHES[index].load(SeqCst), ROUNDS);
        checks.check("registers lost to another thread", LOST[index].load(SeqCst), 0);
    }
}

fn calls(checks: &mut Checks) {
    checks.check("domain", hypercall(Hypercall::CreateDomain, 0, OTHER, [32, 0, QUOTA << 32, 0]), 0);
    // The whole program, at the same addresses, with the rights that its segments have here.
    let all = |page, order| Crd::memory(page, order, MemoryRights::all()).unwrap_or(Crd::NULL);
    let [range, control] = TypedItem::delegate(all(0, 10), ItemFlags::empty(), 0).words();
    word(ROOT_UTCB_ADDRESS, 510).store(range, SeqCst);
    word(ROOT_UTCB_ADDRESS, 511).store(control, SeqCst);
    word(ROOT_UTCB_ADDRESS, 0).store(1 << 16, SeqCst);
    checks.check("program", hypercall(Hypercall::Misc, 1, 32, [all(0, 31).word(), OTHER, 0, 0]), 0);
    word(ROOT_UTCB_ADDRESS, 0).store(0, SeqCst);
    for (index, domain) in [(SERVER, 32), (FOREIGNER, OTHER)] {
        let (context, _) = server(checks, domain, index as u64, 0, serve_entry);
        EXPECTED[index].set_initial();
        load(MAIN, index as u64);
        for _ in 0..10 {
            checks.check("call", call(context + 1), (context + 1) << 8);
            LOST[MAIN].fetch_add(lost(MAIN), SeqCst);
        }
        checks.check("registers lost by the server, or shown to it", LOST[index].load(SeqCst), 0);
        checks.check("registers lost by its client", LOST[MAIN].load(SeqCst), 0);
    }
}

/// Contexts of the other domain come, use registers and go, more of them than its memory would be enough for at once.
fn ends(checks: &mut Checks) {
    let context = CONTEXTS + 4 * FOREIGNER as u64 + 2;
    let create = [OTHER, OTHER_PAGES + (FOREIGNER as u64 + 1) * 4096, stack_top(LOOKER), 0];
    let both = Crd::objects(Selector::new(context), 1, Rights::ALL).unwrap_or(Crd::NULL);
    let mut failed = 0;
    for _ in 0..2 * QUOTA {
        EXPECTED[FOREIGNER].set_initial();
        failed |= hypercall(Hypercall::CreateContext, 0, context, create);
        failed |= portal(context + 1, context, serve_entry, Mtd::empty(), FOREIGNER as u64);
        failed |= call(context + 1) ^ (context + 1) << 8;
        failed |= hypercall(Hypercall::Revoke, 1, 0, [both.word(), 0, 0, 0]);
    }
    checks.check("contexts that use registers and end", failed, 0);
    checks.check("registers shown to a new context", LOST[FOREIGNER].load(SeqCst), 0);
}

fn leaks(checks: &mut Checks) {
    let (context, _) = server(checks, 32, LOOKER as u64, 0, look_entry);
    load(MAIN, 55);
    checks.check("call", call(context + 1), (context + 1) << 8);
    let kept = if registers::may_stay() { VISIBLE.load(SeqCst) } else { 0 };
    checks.check("registers in use under a server that uses none", VISIBLE.load(SeqCst), kept);
    checks.check("registers lost by its client", lost(MAIN), 0);
}

fn faults(checks: &mut Checks) {
    let (handler, page) = server(checks, 32, HANDLER as u64, 0, handle_entry);
    let all = Mtd::RIP_LEN | Mtd::FPU;
    checks.check("exception portal", portal(FAULT_EVENTS + 6, handler, handle_entry, all, page), 0);
    let (faulter, _) = server(checks, 32, FAULTER as u64, FAULT_EVENTS, fault_entry);
    load(MAIN, 99);
    let mut provoke = |what, deed| {
        checks.check(what, hypercall(Hypercall::ControlPortal, 0, faulter + 1, [deed, 0, 0, 0]), 0);
        checks.check(what, call(faulter + 1), (faulter + 1) << 8);
    };
    provoke("fault before registers were used", FRESH);
    let changed = FOUND[FAULTER].legacy[26].load(SeqCst);
    provoke("fault with a pattern", PATTERN);
    provoke("fault with registers that are as in the beginning", CLEARED);
    provoke("faults whose handler replies with bad images", BAD_IMAGES);
    checks.check("faults that were handled", HANDLED.load(SeqCst), BAD_IMAGES + HOSTILE);
    checks.check("what the handler put there before registers were used", changed, MARK);
    checks.check("registers that the handler did not see", LOST[HANDLER].load(SeqCst), 0);
    checks.check("registers that the handler did not change", LOST[FAULTER].load(SeqCst), 0);
    checks.check("registers lost by the program meanwhile", lost(MAIN), 0);
}
