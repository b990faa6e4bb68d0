//! Two cores that work in different domains do not wait for each other.
//!
//! Purpose: on two cores at the same time a server of its own domain delegates pages within that, takes them back, from one and
//! from several at a time, makes and destroys an object. If the domains differ, no core waits for a part of the mapping
//! tree, which the kernel counts; if it is one domain, cores do at times: so the counter counts. Nor does one wait for
//! memory of the kernel while there are no objects: their pages come from the machine's frames, where cores meet now and
//! then. Written straight against the interface. Ends with success if every check holds.
//! Concurrency: the program's thread calls one server, a thread on the last core the other; both begin together.
// UNSAFETY: code that the kernel enters in another domain.
#![expect(unsafe_code, reason = "entry points in assembly")]
#![no_std]
#![no_main]

use core::arch::global_asm;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use abi::counter::Counter;
use abi::hip::ROOT_UTCB_ADDRESS;
use abi::item::ItemFlags;
use abi::{Crd, Hypercall, TypedItem};
use demos::raw::{Checks, answer, call, down, give, hypercall, memory, object, up};
use demos::servers::{SELF, thread};
use rt::{Environment, ExitStatus, println};

rt::entry!(main);

/// Selectors: two domains, three servers (one of the first domain on each core, one of the second), portals to them, and
/// what the thread waits for and says.
const DOMAINS: u64 = 0x70;
const SERVERS: u64 = 0x74;
const PORTALS: u64 = 0x78;
const GO: u64 = 0x7C;
const DONE: u64 = 0x7D;
/// In the domains: their own selector, and the object that comes and goes.
const OWN: u64 = 1;
const MADE: u64 = 0x300;
/// Message pages, and where the servers delegate to, each to its own part.
const PAGES: u64 = 0x4000_0000;
const THERE: u64 = 0x1_0000_0000;
const PART: u64 = 0x4000_0000;
/// What each of them does at a time, and how often the two do that.
const ROUNDS: u64 = 2000;
const TURNS: u64 = 10;
/// Turns after which two cores in one domain should have met.
const PATIENCE: u64 = 1000;

#[repr(align(4096))]
struct Stacks([[AtomicU64; 1024]; 3]);
static STACKS: Stacks = Stacks([const { [const { AtomicU64::new(0) }; 1024] }; 3]);
/// What is delegated: 32 pages for each server.
#[repr(align(4096))]
struct Lent([[[AtomicU64; 512]; 32]; 3]);
static LENT: Lent = Lent([const { [const { [const { AtomicU64::new(0) }; 512] }; 32] }; 3]);
/// Which server the thread calls, who is at the start, and statuses that were not 0.
static CALLED: AtomicU64 = AtomicU64::new(0);
static READY: AtomicU64 = AtomicU64::new(0);
static WRONG: AtomicU64 = AtomicU64::new(0);
/// Whether they make objects.
static MAKING: AtomicU64 = AtomicU64::new(1);

global_asm!(
    "regions_serve:", "call {serve}", "mov edi, 1", "syscall",
    "regions_thread:", "call {run}", "ud2",
    serve = sym serve, run = sym run,
);
// SAFETY: defined above; only their addresses are used.
unsafe extern "C" {
    fn regions_serve();
    fn regions_thread();
}

fn item(what: Crd, to: u64) -> TypedItem {
    TypedItem::delegate(what, ItemFlags::empty(), to)
}

fn revoke(range: Crd, itself: u8) -> u64 {
    hypercall(Hypercall::Revoke, itself, 0, [range.word(), 0, 0, 0])
}

/// In a domain: so many rounds, when the other server is there too.
extern "C" fn serve(server: u64) {
    READY.fetch_add(1, SeqCst);
    while READY.load(SeqCst) < 2 {
        spin_loop();
    }
    let (page, there) = (PAGES + server * 0x1000, THERE + server * PART);
    let lent = LENT.0[server as usize].as_ptr().addr() as u64;
    let (one, many, made) = (memory(lent, 0), memory(lent + 0x1_0000, 4), MADE + server);
    let (mut wrong, making) = (0, MAKING.load(SeqCst) != 0);
    for _ in 0..ROUNDS {
        wrong |= give(page, OWN, item(one, there >> 12), (OWN, memory(0, 31)));
        wrong |= give(page, OWN, item(many, (there >> 12) + 16), (OWN, memory(0, 31)));
        if making {
            wrong |= hypercall(Hypercall::CreateSemaphore, 0, made, [OWN, 0, 0, 0]);
            wrong |= revoke(object(made), 1);
        }
        wrong |= revoke(one, 0) | revoke(many, 0);
        // Two children, of which one has a child, and one of those goes by itself.
        for (what, at) in [(one, 0), (one, 32), (memory(there, 0), 48), (memory(there + 0x2_0000, 0), 64)] {
            wrong |= give(page, OWN, item(what, (there >> 12) + at), (OWN, memory(0, 31)));
        }
        wrong |= revoke(memory(there + 0x3_0000, 0), 1) | revoke(one, 0);
    }
    WRONG.fetch_or(wrong, SeqCst);
}

/// The thread on the last core.
extern "C" fn run() -> ! {
    loop {
        let _ = down(GO, 0);
        let _ = call(PORTALS + CALLED.load(SeqCst));
        let _ = up(DONE);
    }
}

/// Domain `number` of the two, and its own name for itself; it sees the program.
fn domain(number: u64) -> u64 {
    let at = DOMAINS + number;
    hypercall(Hypercall::CreateDomain, 0, at, [SELF, 0, 128 << 32, 0])
        | give(ROOT_UTCB_ADDRESS, SELF, item(memory(0, 10), 0), (at, memory(0, 31)))
        | give(ROOT_UTCB_ADDRESS, SELF, item(object(at), 0), (at, object(OWN)))
}

/// Server `number`, of a domain, on a core.
fn server(number: u64, domain: u64, core: u64) -> u64 {
    let stack = STACKS.0[number as usize].as_ptr().addr() as u64 + 8192;
    let (at, portal) = (SERVERS + number, PORTALS + number);
    let place = (PAGES + number * 0x1000) | core;
    hypercall(Hypercall::CreateContext, 0, at, [DOMAINS + domain, place, stack, 0x200])
        | hypercall(Hypercall::CreatePortal, 0, portal, [SELF, at, 0, (regions_serve as *const ()).addr() as u64])
        | hypercall(Hypercall::ControlPortal, 0, portal, [number, 0, 0, 0])
}

/// How often all cores have waited for a part of the tree, and for memory of the kernel.
fn waits(cores: u64) -> [u64; 2] {
    let count = |core, counter| answer(Hypercall::Misc, 3, core, [counter as u64, 0, 0, 0])[1];
    [Counter::RegionWaits, Counter::LockWaits].map(|counter| (0..cores).map(|core| count(core, counter)).sum())
}

/// Server 0 here and server `other` on the last core at the same time, once; how often cores waited meanwhile.
fn turn(cores: u64, other: u64) -> [u64; 2] {
    READY.store(0, SeqCst);
    CALLED.store(other, SeqCst);
    let before = waits(cores);
    let wrong = up(GO) | call(PORTALS) & 0xFF | down(DONE, 0);
    WRONG.fetch_or(wrong, SeqCst);
    let after = waits(cores);
    [after[0] - before[0], after[1] - before[1]]
}

/// As [`turn`], several times, in two domains.
fn apart(cores: u64) -> [u64; 2] {
    let turns = (0..TURNS).map(|_| turn(cores, 1));
    turns.fold([0; 2], |[tree, memory], [more_tree, more_memory]| [tree + more_tree, memory + more_memory])
}

fn main(environment: &Environment) -> ExitStatus {
    demos::announce("regions", "two cores work on the mapping tree");
    let mut checks = Checks::new("regions");
    let cores = environment.hip().enabled_cpus() as u64;
    let semaphore = |at| hypercall(Hypercall::CreateSemaphore, 0, at, [SELF, 0, 0, 0]);
    let mut wrong = semaphore(GO) | semaphore(DONE) | domain(0) | domain(1);
    wrong |= server(0, 0, 0) | server(1, 1, cores - 1) | server(2, 0, cores - 1);
    let (_, made) = thread(cores - 1, (regions_thread as *const ()).addr() as u64, 1);
    checks.check("two domains, their servers and a thread", wrong | made, 0);
    let [tree, frames] = apart(cores);
    checks.check("two cores in two domains: statuses", WRONG.load(SeqCst), 0);
    checks.check("they wait for nothing of the tree", tree, 0);
    println!("regions: in two domains with objects, {frames} waits for frames in {} rounds", 2 * TURNS * ROUNDS);
    checks.check("for frames less than once in a hundred rounds", u64::from(frames * 100 < 2 * TURNS * ROUNDS), 1);
    MAKING.store(0, SeqCst);
    // What is gone has gone then.
    let _ = turn(cores, 1);
    checks.check("without objects they wait for nothing", apart(cores).iter().sum(), 0);
    MAKING.store(1, SeqCst);
    let together = (0..PATIENCE).map(|_| turn(cores, 2)).find(|waits| waits[0] != 0).unwrap_or([0; 2])[0];
    println!("regions: in one domain, {together} waits in {ROUNDS} rounds of two cores");
    checks.check("two cores in one domain: statuses", WRONG.load(SeqCst), 0);
    checks.check("they wait for each other", u64::from(together != 0), 1);
    checks.finish()
}
