//! Objects come and go, many of them, and on all cores.
//!
//! Purpose: domains that are created, called and destroyed; contexts, portals and semaphores likewise; threads that are
//! destroyed in the middle of whatever they do; capabilities that several cores hand on and take back at the same time.
//! After each the program's use of kernel memory is what it was.
//! Concurrency: see [`threads`] and [`soak`].
//! Source: interface §5 and §8.
pub mod moves;
mod soak;
mod threads;

use abi::hip::ROOT_UTCB_ADDRESS;
use abi::item::ItemFlags;
use abi::rights::MemoryRights;
use abi::{Crd, Hypercall, Rights, Selector, TypedItem};
use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
use rt::{Environment, ExitStatus, println};

use crate::raw::{Checks, answer, call, down, hypercall, time_stamp, word};

/// The program's own domain.
const SELF: u64 = 32;
/// What is created and destroyed.
const DOMAIN: u64 = 0x2000;
const CONTEXT: u64 = 0x2001;
const PORTAL: u64 = 0x2002;
const SEMAPHORE: u64 = 0x2003;
/// A message page in another domain, or in this.
const PAGE: u64 = 0x4000_0000;

#[repr(align(4096))]
struct Stack {
    _words: [AtomicU64; 512],
}
static STACK: Stack = Stack { _words: [const { AtomicU64::new(0) }; 512] };

// Adds one to the first word of the message, whose page is the portal's identity.
global_asm!("churn_add:", "add qword ptr [rdi + 32], 1", "mov edi, 1", "syscall");
// SAFETY: defined above; only its address is used.
unsafe extern "C" {
    fn churn_add();
}

fn add_entry() -> u64 {
    (churn_add as *const ()).addr() as u64
}

fn objects(base: u64, order: u32) -> Crd {
    Crd::objects(Selector::new(base), order, Rights::ALL).unwrap_or(Crd::NULL)
}

/// Takes one object capability from everybody.
fn destroy(selector: u64) -> u64 {
    hypercall(Hypercall::Revoke, 1, 0, [objects(selector, 0).word(), 0, 0, 0])
}

/// Pages of kernel memory that this domain uses.
fn usage() -> u64 {
    match answer(Hypercall::ControlDomain, 2, SELF, [0; 4]) {
        [0, _, usage] => usage,
        _ => u64::MAX,
    }
}

/// Writes a single item into the message page `page`.
fn item(page: u64, item: TypedItem) {
    let [first, second] = item.words();
    word(page, 510).store(first, SeqCst);
    word(page, 511).store(second, SeqCst);
    word(page, 0).store(1 << 16, SeqCst);
}

/// A portal to [`CONTEXT`], called once with a word. Statuses together, and not 0 for a wrong answer.
fn call_once(identity: u64) -> u64 {
    let mut wrong = hypercall(Hypercall::CreatePortal, 0, PORTAL, [SELF, CONTEXT, 0, add_entry()]);
    wrong |= hypercall(Hypercall::ControlPortal, 0, PORTAL, [identity, 0, 0, 0]);
    word(ROOT_UTCB_ADDRESS, 0).store(1, SeqCst);
    word(ROOT_UTCB_ADDRESS, 4).store(41, SeqCst);
    wrong |= call(PORTAL) & 0xFF;
    wrong | u64::from(word(ROOT_UTCB_ADDRESS, 4).load(SeqCst) != 42)
}

/// A context on `core` in `domain`.
fn server(domain: u64, core: u64) -> u64 {
    let stack = (&raw const STACK).addr() as u64 + 4096;
    hypercall(Hypercall::CreateContext, 0, CONTEXT, [domain, PAGE | core, stack, 0x3_0000])
}

/// A domain with a context on `core`, called once.
fn domain_cycle(number: u64, core: u64) -> u64 {
    let code = Crd::memory(add_entry() >> 12, 0, MemoryRights::READ | MemoryRights::EXECUTE).unwrap_or(Crd::NULL);
    let all = Crd::memory(0, 31, MemoryRights::all()).unwrap_or(Crd::NULL);
    let mut wrong = hypercall(Hypercall::CreateDomain, 0, DOMAIN, [SELF, 0, 32 << 32, 0]);
    item(ROOT_UTCB_ADDRESS, TypedItem::delegate(code, ItemFlags::empty(), code.base()));
    wrong |= hypercall(Hypercall::Misc, 1, SELF, [all.word(), DOMAIN, 0, 0]);
    wrong |= server(DOMAIN, core) | call_once(PAGE);
    // In every order.
    let order = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]][number as usize % 6];
    order.into_iter().fold(wrong, |wrong, which| wrong | destroy(DOMAIN + which))
}

fn context_cycle(number: u64, core: u64) -> u64 {
    let wrong = server(SELF, core) | call_once(PAGE);
    let [first, second] = if number.is_multiple_of(2) { [CONTEXT, PORTAL] } else { [PORTAL, CONTEXT] };
    wrong | destroy(first) | destroy(second)
}

fn semaphore_cycle(number: u64, _core: u64) -> u64 {
    let wrong = hypercall(Hypercall::CreateSemaphore, 0, SEMAPHORE, [SELF, 1, 0, 0]);
    wrong | u64::from(down(SEMAPHORE, 1) != 0) | u64::from(down(SEMAPHORE, number + 1) != 1) | destroy(SEMAPHORE)
}

/// One cycle, by its number and core; statuses together.
type Cycle = fn(u64, u64) -> u64;

/// Waits until the program uses `pages` pages again, at most a minute; the answer is how many it uses then.
fn settled(pages: u64, khz: u64) -> u64 {
    let end = time_stamp() + 60_000 * khz;
    while usage() != pages && time_stamp() < end {
        let _ = hypercall(Hypercall::ControlContext, 1, 0, [0; 4]);
    }
    usage()
}

/// Runs `count` cycles of each kind with small objects and domains, and fewer with threads.
pub fn run(environment: &Environment, count: u64) -> ExitStatus {
    crate::announce("churn", "objects come and go on all cores");
    let (cores, khz) = (environment.hip().enabled_cpus() as u64, u64::from(environment.hip().header().tsc_khz));
    let mut checks = Checks::new("churn");
    let mut wrong = threads::prepare(cores) | soak::prepare(cores.min(4));
    let kinds: [(&str, Cycle, u64); 4] = [
        ("domains", domain_cycle, count),
        ("contexts and portals", context_cycle, count),
        ("semaphores", semaphore_cycle, count),
        ("threads", threads::cycle, count / 5),
    ];
    // Tables of the program's spaces, and proxies for calls to other cores, are made once and stay.
    for core in 0..cores {
        wrong |= kinds.iter().fold(0, |wrong, (_, cycle, _)| wrong | cycle(1, core));
    }
    checks.check("once, before counting", wrong, 0);
    let _ = settled(0, khz / 60);
    let start = usage();
    for (name, cycle, cycles) in kinds {
        let begun = time_stamp();
        let wrong = (0..cycles).map(|number| u64::from(cycle(number, number % cores) != 0)).sum();
        let ticks = time_stamp() - begun;
        println!("churn: {cycles} {name}, {} in a second", cycles * khz * 1000 / ticks.max(1));
        checks.check(name, wrong, 0);
        checks.check("they cost nothing any more", settled(start, khz), start);
    }
    soak::run(&mut checks, count * 4, khz);
    checks.check("what was handed on costs nothing any more", settled(start, khz), start);
    checks.finish()
}
