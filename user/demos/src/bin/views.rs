//! Domains make their cores fill as many tables as they can.
//!
//! Purpose: what a domain's use of its own memory costs others is nothing: each core takes the tables back that it has
//! filled, and fills them again when they are needed. What is revoked meanwhile is gone, and what was noted of pages is not
//! forgotten. Written straight against the interface. Ends with success if every check holds.
//! Invariants: all domains have the program at its addresses; pages are lent to them at distances of 1 GiB, so that each needs a
//! table of its own on each core.
//! Concurrency: the program's thread calls the domains' servers, on its own core and on the last one.
//! Source: design plan §3; `docs/src/decisions/0002-table-pages.md`.
// UNSAFETY: code that the kernel enters in another domain.
#![expect(unsafe_code, reason = "entry points in assembly")]
#![no_std]
#![no_main]

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use abi::counter::Counter;
use abi::hip::ROOT_UTCB_ADDRESS;
use abi::item::ItemFlags;
use abi::rights::MemoryRights;
use abi::{Crd, Hypercall, TypedItem};
use demos::probe::{FIXED, NOTHING, fix_entry, poke, probe};
use demos::raw::{Checks, answer, call, give, hypercall, memory, object, quota, settles, word};
use rt::{Environment, ExitStatus, println};

rt::entry!(main);

const SELF: u64 = 32;
/// Selectors of domains, 16 for each: the domain, and for this core and the last a context with a portal.
const USER: u64 = 0x1000;
const BYSTANDER: u64 = 0x1010;
const LATER: u64 = 0x1020;
const MANY: u64 = 0x2000;
/// Message pages, where faults go to, in the other domains.
const PAGES: u64 = 0x4000_0000;
const EVENTS: u64 = 0x100;
const QUOTA: u64 = 2700;
const GIB: u64 = 1 << 30;
/// Places that the greedy domain uses: more than there are tables for on any machine with the least pool.
const TOUCHES: u64 = 1200;
/// Places that are used again, more than a core takes tables back at once.
const SCARCE: u64 = 48;
/// Domains that use a few.
const DOMAINS: u64 = 140;
/// Where a large page is lent, and the physical memory for it.
const LARGE: u64 = 4 * GIB;
const PHYSICAL: u64 = 0x800_0000;

#[repr(align(4096))]
struct Stacks {
    _words: [[AtomicU64; 1024]; 4],
}
static STACKS: Stacks = Stacks { _words: [const { [const { AtomicU64::new(0) }; 1024] }; 4] };
#[repr(align(4096))]
struct Lent([[AtomicU64; 512]; 3]);
/// Pages that say which they are.
static LENT: Lent = Lent([const { [const { AtomicU64::new(0) }; 512] }; 3]);
static WHERE: AtomicU64 = AtomicU64::new(0);
static WRITES: AtomicU64 = AtomicU64::new(0);
static FOUND: AtomicU64 = AtomicU64::new(0);

global_asm!("views_serve:", "call {serve}", "mov edi, 1", "syscall", serve = sym serve);
// SAFETY: defined above; only its address is used.
unsafe extern "C" {
    fn views_serve();
}

extern "C" fn serve() {
    let place = WHERE.load(SeqCst);
    FOUND.store(if WRITES.load(SeqCst) != 0 { poke(place) } else { probe(place) }, SeqCst);
}

fn lent(which: usize) -> u64 {
    LENT.0[which].as_ptr().addr() as u64
}

fn place(number: u64) -> u64 {
    (number + 8) * GIB
}

fn lend((source, from): (u64, u64), order: u32, (target, to): (u64, u64), flags: ItemFlags) -> u64 {
    let item = TypedItem::delegate(memory(from, order), flags, to >> 12);
    give(ROOT_UTCB_ADDRESS, source, item, (target, memory(0, 31)))
}

/// A page of ours at `place` of a domain.
fn lend_page(which: usize, domain: u64, place: u64) -> u64 {
    lend((SELF, lent(which)), 0, (domain, place), ItemFlags::empty())
}

/// A domain with a server, and a handler of its faults, on this core (0) and on the last.
fn domain(at: u64, quota: u64, cores: &[u64]) -> u64 {
    let stacks = (&raw const STACKS).addr() as u64;
    let mut wrong = hypercall(Hypercall::CreateDomain, 0, at, [SELF, 0, quota << 32, 0]);
    wrong |= lend((SELF, 0), 10, (at, 0), ItemFlags::empty());
    for (number, core) in (0..).zip(cores) {
        let [server, handler] = [at + 1 + 4 * number, at + 3 + 4 * number];
        let [page, fault_page] = [PAGES + 0x2000 * number, PAGES + 0x1000 + 0x2000 * number];
        let stack = stacks + 8192 * (2 * number + 1);
        let events = EVENTS + 32 * number;
        wrong |= hypercall(Hypercall::CreateContext, 0, server, [at, page | core, stack, events]);
        wrong |= hypercall(
            Hypercall::CreatePortal,
            0,
            server + 1,
            [at, server, 0, (views_serve as *const ()).addr() as u64],
        );
        wrong |= hypercall(Hypercall::CreateContext, 0, handler, [at, fault_page | core, stack + 8192, 0x300]);
        wrong |= hypercall(Hypercall::CreatePortal, 0, handler + 1, [at, handler, 0, fix_entry()]);
        wrong |= hypercall(Hypercall::ControlPortal, 0, handler + 1, [fault_page, 0, 0, 0]);
        let item = TypedItem::delegate(object(handler + 1), ItemFlags::empty(), events + 14);
        wrong |= give(
            ROOT_UTCB_ADDRESS,
            SELF,
            item,
            (at, Crd::objects(abi::Selector::new(0), 31, abi::Rights::ALL).unwrap_or(Crd::NULL)),
        );
    }
    wrong
}

/// What the server of a domain with this number finds at `place`.
fn touch(domain: u64, number: u64, place: u64) -> u64 {
    WHERE.store(place, SeqCst);
    FOUND.store(0, SeqCst);
    let status = call(domain + 2 + 4 * number) & 0xFF;
    if status == 0 { FOUND.load(SeqCst) } else { 0x1000 + status }
}

fn revoke(range: Crd, own: bool) -> u64 {
    hypercall(Hypercall::Revoke, u8::from(own), 0, [range.word(), 0, 0, 0])
}

/// What a core has counted.
fn count(core: u64, counter: Counter) -> u64 {
    answer(Hypercall::Misc, 3, core, [counter as u64, 0, 0, 0])[1]
}

/// Status, dirty and accessed bits of the first page of a domain's large page.
fn evidence(domain: u64, clear: bool) -> u64 {
    let page = Crd::memory(LARGE >> 12, 0, MemoryRights::READ).unwrap_or(Crd::NULL);
    let [status, accessed, dirty] = answer(Hypercall::Misc, 4, domain, [page.word(), clear.into(), 0, 0]);
    status << 16 | dirty << 8 | accessed
}

/// The greedy domain uses every place on all `cores`: how often it found something else than the page that says `value`.
fn sweep(cores: &[u64], value: u64, backwards: bool) -> u64 {
    let mut wrong = 0;
    for turn in 0..TOUCHES {
        let number = if backwards { TOUCHES - 1 - turn } else { turn };
        for (server, _) in (0..).zip(cores) {
            let found = touch(USER, server, place(number));
            if found != value && wrong == 0 {
                println!("views: place {number}, server {server}: {found:#x}");
            }
            wrong += u64::from(found != value);
        }
    }
    wrong
}

/// A domain that uses more places than its cores have tables.
fn greedy(checks: &mut Checks, cores: &[u64]) {
    checks.check("a domain", domain(USER, QUOTA, cores), 0);
    let before: u64 = cores.iter().map(|&core| count(core, Counter::TablesReclaimed)).sum();
    checks.check("a large page", lend((SELF, PHYSICAL), 9, (USER, LARGE), ItemFlags::HYPERVISOR), 0);
    WRITES.store(1, SeqCst);
    checks.check("is written", u64::from(touch(USER, 0, LARGE) == NOTHING), 0);
    WRITES.store(0, SeqCst);
    let refused = (0..TOUCHES).filter(|&number| lend_page(0, USER, place(number)) != 0).count();
    checks.check("places", refused as u64, 0);
    checks.check("it uses all", sweep(cores, 7, false), 0);
    checks.check("and once more", sweep(cores, 7, true), 0);
    let after: u64 = cores.iter().map(|&core| count(core, Counter::TablesReclaimed)).sum();
    println!("views: {} tables taken back, {} GiB used on {} cores", after - before, TOUCHES, cores.len());
    checks.check("with tables that were taken back", u64::from(after - before > TOUCHES / 2), 1);
    checks.check("what was noted is still noted", evidence(USER, false), 0x101);
    checks.check("until it is cleared", evidence(USER, true) << 32 | evidence(USER, false), 0x101 << 32);
    checks.check("read again", u64::from(touch(USER, 0, LARGE) == NOTHING), 0);
    checks.check("it is noted again", evidence(USER, false), 1);
}

/// Tables of another domain without anything in them are given back however few this core has left: one less after each place
/// that is used again, until it takes some back.
fn scarce(checks: &mut Checks) {
    let (before, mut wrong) = (quota(BYSTANDER)[1], 0);
    for number in 0..SCARCE {
        wrong += u64::from(touch(USER, 0, place(TOUCHES - 1 - number)) != 7);
        wrong += lend_page(2, BYSTANDER, place(600));
        wrong += u64::from(quota(BYSTANDER)[1] != before + 3);
        wrong += revoke(memory(lent(2), 0), false);
        wrong += u64::from(quota(BYSTANDER)[1] != before);
    }
    checks.check("what is empty is given back", wrong, 0);
}

/// What is taken from the greedy domain is gone, whether a core has tables for it or has not.
fn taken(checks: &mut Checks, cores: &[u64]) {
    let faults = FIXED.load(SeqCst);
    checks.check("its pages go", revoke(memory(lent(0), 0), false), 0);
    checks.check("from everywhere", sweep(cores, NOTHING, false), 0);
    checks.check("with a fault each", FIXED.load(SeqCst) - faults, TOUCHES * cores.len() as u64);
    let refused = (0..TOUCHES).filter(|&number| lend_page(1, USER, place(number)) != 0).count();
    checks.check("others come", refused as u64, 0);
    checks.check("it uses those", sweep(cores, 8, true), 0);
}

/// Many domains that use little each, together more than there is.
fn many(checks: &mut Checks, cores: &[u64]) {
    let (mut created, mut wrong) = (0, 0);
    for number in 0..DOMAINS {
        let at = MANY + 16 * number;
        created |= domain(at, 32, &cores[..1]);
        created |= lend_page(number as usize % 2, at, place(number * 3 % 700));
    }
    checks.check("many domains", created, 0);
    for _ in 0..3 {
        for number in 0..DOMAINS {
            wrong += u64::from(touch(MANY + 16 * number, 0, place(number * 3 % 700)) != 7 + number % 2);
        }
    }
    checks.check("each finds its own page, in turn", wrong, 0);
    let all = Crd::objects(abi::Selector::new(MANY), 12, abi::Rights::ALL).unwrap_or(Crd::NULL);
    checks.check("they end", revoke(all, true), 0);
}

fn main(environment: &Environment) -> ExitStatus {
    demos::announce("views", "what a domain's use of its own memory costs others");
    let mut checks = Checks::new("views");
    let last = environment.hip().enabled_cpus() as u64 - 1;
    let all = [0, last];
    let cores = if last == 0 { &all[..1] } else { &all[..] };
    for (page, value) in LENT.0.iter().zip(7..) {
        page[0].store(value, SeqCst);
    }
    word(ROOT_UTCB_ADDRESS, 0).store(0, SeqCst);
    checks.check("a bystander", domain(BYSTANDER, 64, cores), 0);
    checks.check("with a page", lend_page(0, BYSTANDER, place(0)), 0);
    let bystander = || (0..).zip(cores).map(|(server, _)| touch(BYSTANDER, server, place(0))).sum::<u64>();
    checks.check("uses it", bystander(), 7 * cores.len() as u64);
    greedy(&mut checks, cores);
    checks.check("a bystander goes on", bystander(), 7 * cores.len() as u64);
    checks.check("a new domain", domain(LATER, 64, cores) | lend_page(1, LATER, place(1)), 0);
    checks.check("finds its page", touch(LATER, cores.len() as u64 - 1, place(1)), 8);
    scarce(&mut checks);
    taken(&mut checks, cores);
    checks.check("the bystander has lost its page, too", bystander(), NOTHING.wrapping_mul(cores.len() as u64));
    let own = Crd::objects(abi::Selector::new(USER), 4, abi::Rights::ALL).unwrap_or(Crd::NULL);
    let limit = quota(SELF)[0] + QUOTA;
    checks.check("the greedy domain ends", revoke(own, true), 0);
    checks.check("and with it its quota", u64::from(settles(SELF, [limit, u64::MAX])), 1);
    many(&mut checks, cores);
    checks.check("another one", domain(USER, QUOTA, cores), 0);
    let refused = (0..TOUCHES).filter(|&number| lend_page(1, USER, place(number)) != 0).count();
    checks.check("gets as much", refused as u64, 0);
    checks.check("and uses it", sweep(cores, 8, false), 0);
    checks.finish()
}
