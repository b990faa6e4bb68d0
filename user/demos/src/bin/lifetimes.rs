//! Objects come and go: what was created and revoked costs nothing any more.
//!
//! Purpose: create, use and destroy objects of each type many times, and compare the quota's usage before and after; and
//! what those notice that depend on an object that goes: waiters, callers, the semaphore of a notification.
//! Written straight against the interface. Ends with success if every check holds.
//! Concurrency: the program's thread, and contexts that serve it or wait on the other core.
// UNSAFETY: raw hypercalls, message pages at fixed addresses, and code that the kernel enters in another domain.
#![expect(unsafe_code, reason = "raw hypercalls")]
#![no_std]
#![no_main]

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use abi::hip::ROOT_UTCB_ADDRESS;
use abi::rights::MemoryRights;
use abi::{Crd, Hypercall, Mtd, Rights, Selector, TypedItem};
use demos::raw::{Checks, PATIENCE, call, down, hypercall, time_stamp, up, word};
use rt::{Environment, ExitStatus};

rt::entry!(main);

/// Pages of the tables for the first context on a core.
const VIEW: u64 = 4;
const SELF: u64 = 32;
const DOMAIN: u64 = 0x70;
const CONTEXT: u64 = 0x71;
const PORTAL: u64 = 0x72;
const SEMAPHORE: u64 = 0x73;
const SCHEDULING: u64 = 0x74;
const NOTE: u64 = 0x75;
const STARTUP: u64 = 0x100 + 0x1E;
const STARTER: u64 = 0x76;
const MANY: u64 = 0x1000;
/// A message page in another domain, and one in this.
const PAGE: u64 = 0x4000_0000;
const OWN_PAGE: u64 = 0x4100_0000;
const WAITER_PAGE: u64 = 0x4200_0000;
/// Cycles with small objects, and with domains.
const OBJECTS: u64 = 3000;
const DOMAINS: u64 = 300;
/// Threads that end while they run.
const THREADS: u64 = 50;

#[repr(align(4096))]
struct Stacks([[AtomicU64; 1024]; 3]);
static STACKS: Stacks = Stacks([const { [const { AtomicU64::new(0) }; 1024] }; 3]);
static ANSWER: AtomicU64 = AtomicU64::new(99);
static STEP: AtomicU64 = AtomicU64::new(0);
static RUNS: AtomicU64 = AtomicU64::new(0);

global_asm!(
    "add_entry:", "add qword ptr [rdi + 32], 1", "mov edi, 1", "syscall",
    "start_entry:", "call {start}", "mov edi, 1", "syscall",
    "wait_entry:", "call {wait}", "ud2",
    start = sym start, wait = sym wait,
);

// SAFETY: defined above; only their addresses are used.
unsafe extern "C" {
    fn add_entry();
    fn start_entry();
    fn wait_entry();
}

/// The startup portal of the waiter: it starts in `wait`.
extern "C" fn start(_identity: u64) {
    let page = OWN_PAGE;
    word(page, 4).store((Mtd::RSP | Mtd::RIP_LEN).bits(), Relaxed);
    word(page, 6).store((wait_entry as *const ()).addr() as u64, Relaxed);
    word(page, 14).store(stack(2), Relaxed);
    word(page, 0).store(0, Relaxed);
}

extern "C" fn wait() {
    STEP.store(1, Relaxed);
    ANSWER.store(down(SEMAPHORE, 0), Relaxed);
    STEP.store(2, Relaxed);
    loop {
        RUNS.fetch_add(1, Relaxed);
    }
}

fn stack(index: usize) -> u64 {
    let stack: *const [AtomicU64; 1024] = &STACKS.0[index];
    stack.addr() as u64 + 8192 - 8
}

/// Revokes one object capability, from here too.
fn destroy(selector: u64) -> u64 {
    let range = Crd::objects(Selector::new(selector), 0, Rights::ALL).unwrap_or(Crd::NULL);
    hypercall(Hypercall::Revoke, 1, 0, [range.word(), 0, 0, 0])
}

/// Waits until this domain uses so many pages of kernel memory.
fn until_usage_is(pages: u64) {
    let end = time_stamp() + PATIENCE;
    while usage() != pages && time_stamp() < end {
        core::hint::spin_loop();
    }
}

/// Pages of kernel memory that this domain uses.
fn usage() -> u64 {
    let (mut rdi, usage): (u64, u64) = (15 | 2 << 4 | SELF << 8, 0);
    let mut rdx = usage;
    // SAFETY: asks for two numbers.
    unsafe { asm!("syscall", inout("rdi") rdi, out("rsi") _, inout("rdx") rdx, out("rcx") _, out("r11") _) };
    if rdi == 0 { rdx } else { u64::MAX }
}

fn local_context(domain: u64, page: u64) -> u64 {
    hypercall(Hypercall::CreateContext, 0, CONTEXT, [domain, page, stack(0), 0x200])
}

fn portal(entry: u64, identity: u64) -> u64 {
    hypercall(Hypercall::CreatePortal, 0, PORTAL, [SELF, CONTEXT, 0, entry])
        | hypercall(Hypercall::ControlPortal, 0, PORTAL, [identity, 0, 0, 0])
}

/// Creates a domain with a context that serves a call, calls it, and destroys everything. Statuses and the answer.
fn domain_cycle(entry: u64) -> [u64; 3] {
    let mut wrong = hypercall(Hypercall::CreateDomain, 0, DOMAIN, [SELF, 0, 32 << 32, 0]);
    // The code, where it is here, and its page as memory.
    let code = Crd::memory(entry >> 12, 0, MemoryRights::READ | MemoryRights::EXECUTE).unwrap_or(Crd::NULL);
    let all = Crd::memory(0, 31, MemoryRights::all()).unwrap_or(Crd::NULL);
    let item = TypedItem::delegate(code, abi::item::ItemFlags::empty(), code.base()).words();
    word(ROOT_UTCB_ADDRESS, 0).store(1 << 16, Relaxed);
    word(ROOT_UTCB_ADDRESS, 510).store(item[0], Relaxed);
    word(ROOT_UTCB_ADDRESS, 511).store(item[1], Relaxed);
    wrong |= hypercall(Hypercall::Misc, 1, SELF, [all.word(), DOMAIN, 0, 0]);
    wrong |= local_context(DOMAIN, PAGE);
    wrong |= portal(entry, PAGE);
    word(ROOT_UTCB_ADDRESS, 0).store(1, Relaxed);
    word(ROOT_UTCB_ADDRESS, 4).store(41, Relaxed);
    let called = call(PORTAL) & 0xFF;
    let answer = word(ROOT_UTCB_ADDRESS, 4).load(Relaxed);
    for selector in [PORTAL, CONTEXT, DOMAIN] {
        wrong |= destroy(selector);
    }
    [wrong, called, answer]
}

fn main(environment: &Environment) -> ExitStatus {
    demos::announce("lifetimes", "objects of all types come and go");
    let mut checks = Checks::new("lifetimes");
    let add = (add_entry as *const ()).addr() as u64;

    // Once before counting: tables of the object space are made and stay.
    checks.check("a domain's cycle", u64::from(domain_cycle(add) == [0, 0, 42]), 1);
    let _ = hypercall(Hypercall::CreateSemaphore, 0, SEMAPHORE, [SELF, 0, 0, 0]);
    checks.check("destroying", destroy(SEMAPHORE), 0);
    checks.check("what is destroyed is gone", up(SEMAPHORE), 4);
    // Tables for the message pages stay too, and those of the first context on a core.
    for page in [OWN_PAGE, WAITER_PAGE] {
        checks.check("a context", local_context(SELF, page) | destroy(CONTEXT), 0);
    }
    let cores = environment.hip().enabled_cpus() as u64;
    let there = usage() + if cores > 1 { VIEW } else { 0 };
    checks.check("a context elsewhere", local_context(SELF, OWN_PAGE | (cores - 1)) | destroy(CONTEXT), 0);
    until_usage_is(there);
    let start = usage();
    checks.check("its page is back", start, there);

    let mut wrong = 0;
    for _ in 0..OBJECTS {
        wrong |= hypercall(Hypercall::CreateSemaphore, 0, SEMAPHORE, [SELF, 1, 0, 0]);
        wrong |= down(SEMAPHORE, 0) | destroy(SEMAPHORE);
    }
    checks.check("semaphores, one after the other", wrong, 0);
    checks.check("they cost nothing any more", usage(), start);

    wrong = 0;
    for selector in MANY..MANY + OBJECTS {
        wrong |= hypercall(Hypercall::CreateSemaphore, 0, selector, [SELF, 1, 0, 0]);
    }
    let most = usage();
    checks.check("semaphores that exist together cost pages", u64::from(most > start + 100), 1);
    let all = Crd::objects(Selector::new(MANY), 12, Rights::ALL).unwrap_or(Crd::NULL);
    wrong |= hypercall(Hypercall::Revoke, 1, 0, [all.word(), 0, 0, 0]);
    checks.check("semaphores, all at once", wrong, 0);
    // What is left are the pages of the object space.
    checks.check("their pages came back", u64::from(usage() <= start + 12), 1);
    let start = usage();

    wrong = local_context(SELF, OWN_PAGE);
    for _ in 0..OBJECTS {
        wrong |= portal(add, OWN_PAGE) | call(PORTAL) & 0xFF | destroy(PORTAL);
    }
    wrong |= destroy(CONTEXT);
    checks.check("portals", wrong, 0);
    checks.check("a context and portals cost nothing any more", usage(), start);

    wrong = 0;
    for _ in 0..OBJECTS {
        wrong |= local_context(SELF, OWN_PAGE) | portal(add, OWN_PAGE) | call(PORTAL) & 0xFF;
        wrong |= destroy(CONTEXT) | destroy(PORTAL);
    }
    checks.check("contexts", wrong, 0);
    checks.check("contexts cost nothing any more", usage(), start);

    wrong = 0;
    for _ in 0..DOMAINS {
        wrong += u64::from(domain_cycle(add) != [0, 0, 42]);
    }
    checks.check("domains", wrong, 0);
    checks.check("domains cost nothing any more", usage(), start);

    // What goes together with its domain: the capabilities that the domain made for itself.
    wrong = hypercall(Hypercall::CreateDomain, 0, DOMAIN, [SELF, 0, 32 << 32, 0]);
    wrong |= hypercall(Hypercall::CreateSemaphore, 0, SEMAPHORE, [DOMAIN, 0, 0, 0]);
    wrong |= destroy(DOMAIN);
    checks.check("a domain that paid for a semaphore", wrong, 0);
    checks.check("the semaphore lives", up(SEMAPHORE) | down(SEMAPHORE, 0), 0);
    checks.check("until it is destroyed", destroy(SEMAPHORE), 0);
    checks.check("then the domain's quota is back", usage(), start);

    // A portal keeps its context; without the context's capability only its message page is gone.
    wrong = local_context(SELF, OWN_PAGE) | portal(add, 0x100) | destroy(CONTEXT);
    checks.check("a portal without its context's capability", wrong, 0);
    wrong = destroy(PORTAL);
    checks.check("goes", wrong, 0);
    checks.check("with the context", usage(), start);

    // Somebody waits on another core for a semaphore that goes.
    wrong = hypercall(Hypercall::CreateContext, 0, CONTEXT, [SELF, OWN_PAGE | (cores - 1), stack(1), 0x200]);
    wrong |=
        hypercall(Hypercall::CreatePortal, 0, STARTUP, [SELF, CONTEXT, 0, (start_entry as *const ()).addr() as u64]);
    wrong |= hypercall(Hypercall::CreateSemaphore, 0, SEMAPHORE, [SELF, 0, 0, 0]);
    wrong |= hypercall(Hypercall::CreateSemaphore, 0, NOTE, [SELF, 0, 0, 0]);
    wrong |= hypercall(Hypercall::CreateContext, 1, STARTER, [SELF, WAITER_PAGE | (cores - 1), stack(2), 0x100]);
    wrong |= hypercall(Hypercall::CreateScheduling, 0, SCHEDULING, [SELF, STARTER, 1 | 1000 << 12, 0]);
    checks.check("a thread that waits", wrong, 0);
    let second = u64::from(environment.hip().header().tsc_khz) * 1000;
    let until = |step: u64| {
        let end = time_stamp() + 60 * second;
        while STEP.load(Relaxed) != step && time_stamp() < end {
            core::hint::spin_loop();
        }
        STEP.load(Relaxed)
    };
    checks.check("it waits", until(1), 1);
    let pause = time_stamp() + second / 100;
    while time_stamp() < pause {
        core::hint::spin_loop();
    }
    let range = Crd::objects(Selector::new(SEMAPHORE), 0, Rights::ALL).unwrap_or(Crd::NULL);
    checks.check("its semaphore goes", hypercall(Hypercall::Revoke, 1, NOTE, [range.word(), 0, 0, 0]), 0);
    checks.check("who asked is notified", down(NOTE, time_stamp() + 60 * second), 0);
    checks.check("it goes on", until(2), 2);
    checks.check("and is told", ANSWER.load(Relaxed), 4);
    // It runs on, as others do after it; when one is told that their time is gone, none does.
    let range = Crd::objects(Selector::new(SCHEDULING), 0, Rights::ALL).unwrap_or(Crd::NULL);
    let (mut late, mut wrong) = (0, 0);
    for round in 0..THREADS {
        if round != 0 {
            STEP.store(0, Relaxed);
            wrong |=
                hypercall(Hypercall::CreateContext, 1, STARTER, [SELF, WAITER_PAGE | (cores - 1), stack(2), 0x100]);
            wrong |= hypercall(Hypercall::CreateScheduling, 0, SCHEDULING, [SELF, STARTER, 1 | 1000 << 12, 0]);
            wrong |= until(2) ^ 2;
        }
        wrong |= hypercall(Hypercall::Revoke, 1, NOTE, [range.word(), 0, 0, 0]);
        wrong |= down(NOTE, time_stamp() + 60 * second);
        let runs = RUNS.load(Relaxed);
        let end = time_stamp() + second / 1000;
        while time_stamp() < end {
            core::hint::spin_loop();
        }
        late += u64::from(RUNS.load(Relaxed) != runs);
        wrong |= destroy(STARTER);
    }
    checks.check("threads of another core begin and go", wrong, 0);
    checks.check("none runs when one is told", late, 0);
    wrong = destroy(STARTUP) | destroy(CONTEXT) | destroy(NOTE);
    checks.check("what started them goes", wrong, 0);
    until_usage_is(start);
    checks.check("all of it is back", usage(), start);
    checks.finish()
}
