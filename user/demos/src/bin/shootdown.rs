//! Who is interrupted by a revocation: the matrix of the shootdown on the running system, with the kernel's counters.
//!
//! Written straight against the interface. Two more domains see the whole program at the same addresses, and have a server
//! on each core; threads of this domain, one for each core but the first, call them. A server touches a page and stays in
//! its domain until it is let go. Ends with success if every check holds. Concurrency: all share atomics.
// UNSAFETY: entry points in assembly, and an access that may fault.
#![expect(unsafe_code, reason = "entry points in assembly, accesses that may fault")]
#![no_std]
#![no_main]

use core::arch::{asm, global_asm};
use core::hint::spin_loop;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use abi::counter::Counter;
use abi::hip::{Features, ROOT_UTCB_ADDRESS};
use abi::item::{ItemFlags, ItemKind};
use abi::rights::MemoryRights;
use abi::{Crd, Hypercall, Mtd, Rights, Selector, TypedItem};
use demos::raw::{Checks, answer, call, down, hypercall, time_stamp, word};
use demos::servers::{Made, SELF, portal, server, thread};
use rt::{Environment, ExitStatus};

rt::entry!(main);

/// Cores that take part.
const CORES: usize = 4;
/// Selectors: a semaphore that nobody ups, the other domains, their servers and the portals to them, fault portals.
const NEVER: u64 = 0x50;
const DOMAINS: u64 = 0x60;
const SERVERS: u64 = 0x100;
const FAULTS: u64 = 0x200;
/// In the other domains: event portals, 32 for each core, and message pages.
const EVENTS: u64 = 0x100;
const MESSAGES: u64 = 0x4800_0000;
/// 4 MiB of physical memory, where this domain has them, and from where on others get them.
const PHYSICAL: u64 = 0x800_0000;
const OWN: u64 = 0x1_0000_0000;
const THERE: u64 = 0x2_0000_0000;
const LARGE: u64 = 2 << 20;
/// What a probe finds where nothing is mapped, and what nobody may find.
const NOTHING: u64 = u64::MAX;
const POISON: u64 = 0xDEAD_0000;
const ROUNDS: u64 = 300;
/// Ticks after which something that should happen has not.
const PATIENCE: u64 = 20_000_000_000;

type Words = [AtomicU64; CORES];
/// For each core: what its thread does next, where the server probes, what it found, and whether it stays.
static COMMAND: Words = [const { AtomicU64::new(0) }; CORES];
static PLACE: Words = [const { AtomicU64::new(0) }; CORES];
static FOUND: Words = [const { AtomicU64::new(0) }; CORES];
static STAY: Words = [const { AtomicU64::new(0) }; CORES];
static STALE: AtomicU64 = AtomicU64::new(0);
static READS: AtomicU64 = AtomicU64::new(0);
static FIXED: AtomicU64 = AtomicU64::new(0);

/// Commands: call the server of a domain, call it again and again, revoke an own page again and again.
const CALL: u64 = 1;
const CALLS: u64 = 3;
const CROSS: u64 = 4;
/// How a server stays: probing once, or all the time.
const ONCE: u64 = 1;
const LOOP: u64 = 2;

#[repr(align(4096))]
struct Stacks([[AtomicU64; 1024]; 2 * CORES]);
static STACKS: Stacks = Stacks([const { [const { AtomicU64::new(0) }; 1024] }; 2 * CORES]);

global_asm!(
    "serve_entry:", "call {serve}", "mov edi, 1", "syscall",
    "fix_entry:", "call {fix}", "mov edi, 1", "syscall",
    "probe:", "mov rax, [rdi]", "ret",
    "probe_failed:", "mov rax, -1", "ret",
    serve = sym serve, fix = sym fix,
);

// SAFETY: defined above; `probe` reads a word, or yields all ones if a handler makes it go on at `probe_failed`.
unsafe extern "C" {
    fn serve_entry();
    fn fix_entry();
    fn probe_failed();
}

fn probe(address: u64) -> u64 {
    let value;
    // SAFETY: as above; a load changes nothing.
    unsafe { asm!("call probe", in("rdi") address, out("rax") value) };
    value
}

fn entry(function: unsafe extern "C" fn()) -> u64 {
    (function as *const ()).addr() as u64
}

/// In another domain, on core `core`.
extern "C" fn serve(core: u64) {
    let core = core as usize % CORES;
    let look = || {
        let found = probe(PLACE[core].load(SeqCst));
        STALE.fetch_add(u64::from(found == POISON), SeqCst);
        READS.fetch_add(u64::from(found != NOTHING), SeqCst);
        found
    };
    let found = look();
    let stay = STAY[core].load(SeqCst);
    FOUND[core].store(found, SeqCst);
    while stay != 0 && STAY[core].load(SeqCst) != 0 {
        if stay == LOOP {
            look();
        }
        spin_loop();
    }
}

/// Makes a probe that faulted fail.
extern "C" fn fix(page: u64) {
    FIXED.fetch_add(1, SeqCst);
    word(page, 4).store(Mtd::RIP_LEN.bits(), SeqCst);
    word(page, 6).store(entry(probe_failed), SeqCst);
}

/// The thread of a core.
extern "C" fn drive() -> ! {
    let core = READY.fetch_add(1, SeqCst) as usize % CORES;
    loop {
        match COMMAND[core].load(SeqCst) {
            0 => spin_loop(),
            CALLS => {
                while COMMAND[core].load(SeqCst) == CALLS {
                    call(portal_of(0, core));
                }
            }
            CROSS => {
                cross(core, ROOT_PAGES[core].load(SeqCst));
                COMMAND[core].store(0, SeqCst);
            }
            domain => {
                call(portal_of(domain - CALL, core));
                COMMAND[core].store(0, SeqCst);
            }
        }
    }
}

/// Threads so far: they are made one after the other, and take the numbers of their cores.
static READY: AtomicU64 = AtomicU64::new(1);
/// Their message pages.
static ROOT_PAGES: Words = [const { AtomicU64::new(0) }; CORES];

fn portal_of(domain: u64, core: usize) -> u64 {
    SERVERS + 16 * domain + 2 * core as u64 + 1
}

fn memory(address: u64, order: u32) -> Crd {
    Crd::memory(address >> 12, order, MemoryRights::all()).unwrap_or(Crd::NULL)
}

/// Delegates 2^`order` pages at `from` of domain `source` to `to` of `target`, with the message page at `page`.
fn give(page: u64, (source, from): (u64, u64), order: u32, (target, to): (u64, u64), flags: ItemFlags) -> u64 {
    let [range, control] = TypedItem::new(memory(from, order), ItemKind::Delegate, flags, to >> 12).words();
    word(page, 510).store(range, SeqCst);
    word(page, 511).store(control, SeqCst);
    word(page, 0).store(1 << 16, SeqCst);
    let window = Crd::memory(0, 31, MemoryRights::all()).unwrap_or(Crd::NULL);
    hypercall(Hypercall::Misc, 1, source, [window.word(), target, 0, 0])
}

/// Gives 2^`order` pages of this domain to the first of the others.
fn lend(from: u64, order: u32, to: u64) -> u64 {
    give(ROOT_UTCB_ADDRESS, (SELF, from), order, (DOMAINS, to), ItemFlags::empty())
}

/// Takes 2^`order` pages from all to whom this domain has given them.
fn take(from: u64, order: u32) -> u64 {
    hypercall(Hypercall::Revoke, 0, 0, [memory(from, order).word(), 0, 0, 0])
}

/// A counter of a core.
fn count(core: usize, counter: Counter) -> u64 {
    answer(Hypercall::Misc, 3, core as u64, [counter as u64, 0, 0, 0])[1]
}

/// Interrupts sent, by all cores that take part.
fn sent(cores: usize) -> u64 {
    (0..cores).map(|core| count(core, Counter::InterruptsSent)).sum()
}

/// Waits until `word` is, or is not, `value`.
fn until(word: &AtomicU64, value: u64, equal: bool) {
    let end = time_stamp() + PATIENCE;
    while (word.load(SeqCst) == value) != equal && time_stamp() < end {
        spin_loop();
    }
}

/// The server of `domain` on `core` probes `place`, and stays there if asked; what it found. This thread calls on its own
/// core itself.
fn touch(domain: u64, core: usize, place: u64, stay: u64) -> u64 {
    PLACE[core].store(place, SeqCst);
    STAY[core].store(stay, SeqCst);
    FOUND[core].store(NOTHING - 1, SeqCst);
    if core == 0 {
        call(portal_of(domain, 0));
    } else {
        COMMAND[core].store(CALL + domain, SeqCst);
        until(&FOUND[core], NOTHING - 1, false);
        if stay == 0 {
            until(&COMMAND[core], 0, true);
        }
    }
    FOUND[core].load(SeqCst)
}

/// Lets the server on `core` go.
fn release(core: usize) {
    STAY[core].store(0, SeqCst);
    until(&COMMAND[core], 0, true);
}

/// A probe finds what this domain has written there.
fn sees(checks: &mut Checks, domain: u64, core: usize, place: u64, stay: u64) {
    checks.check("it is there", touch(domain, core, place, stay), 7);
}

fn gone(checks: &mut Checks, domain: u64, core: usize, place: u64) {
    checks.check("it is gone", touch(domain, core, place, 0), NOTHING);
}

fn main(environment: &Environment) -> ExitStatus {
    demos::announce("shootdown", "who is interrupted by a revocation");
    let mut checks = Checks::new("shootdown");
    let hip = environment.hip();
    let cores = hip.enabled_cpus().min(CORES);
    checks.check("counters are announced", u64::from(hip.header().features.contains(Features::COUNTERS)), 1);
    checks.check("a counter", hypercall(Hypercall::Misc, 3, 0, [0; 4]) & 0xFF, 0);
    prepare(&mut checks, cores);
    private(&mut checks, cores);
    never_used(&mut checks);
    if cores > 1 {
        away(&mut checks, 0);
        away(&mut checks, 9);
        neighbour(&mut checks, cores);
        adding(&mut checks, cores);
        shared(&mut checks, cores);
        many(&mut checks, cores);
        hunt(&mut checks, false);
        hunt(&mut checks, true);
        crossing(&mut checks);
    }
    checks.finish()
}

fn prepare(checks: &mut Checks, cores: usize) {
    checks.check("semaphore", hypercall(Hypercall::CreateSemaphore, 0, NEVER, [SELF, 0, 0, 0]), 0);
    for half in [0, LARGE] {
        let from = (SELF, PHYSICAL + half);
        let got = give(ROOT_UTCB_ADDRESS, from, 9, (SELF, OWN + half), ItemFlags::HYPERVISOR);
        checks.check("memory", got, 0);
    }
    for page in 0..1024 {
        word(OWN + (page << 12), 0).store(7, SeqCst);
    }
    let mut created = 0;
    for core in 0..cores as u64 {
        let (fixer, status) = server(core, entry(fix_entry));
        created |= status | portal(FAULTS + core, fixer.context(), entry(fix_entry), Mtd::empty(), fixer.page());
        if core > 0 {
            let (driver, status) = thread(core, (drive as *const ()).addr() as u64, 1);
            created |= status | faults_of(driver, fixer);
            ROOT_PAGES[core as usize].store(driver.page(), SeqCst);
            until(&READY, core + 1, true);
        }
    }
    checks.check("threads and fault handlers", created, 0);
    for domain in 0..2 {
        let other = DOMAINS + domain;
        let mut created = hypercall(Hypercall::CreateDomain, 0, other, [SELF, 0, 256 << 32, 0]);
        created |= give(ROOT_UTCB_ADDRESS, (SELF, 0), 10, (other, 0), ItemFlags::empty());
        for core in 0..cores as u64 {
            let context = SERVERS + 16 * domain + 2 * core;
            let stack = &raw const STACKS.0[(2 * core + domain) as usize % (2 * CORES)];
            let (page, events) = (MESSAGES + (core << 12), EVENTS + 32 * core);
            let create = [other, page | core, stack.addr() as u64 + 8192, events];
            created |= hypercall(Hypercall::CreateContext, 0, context, create);
            created |= hypercall(Hypercall::CreatePortal, 0, context + 1, [other, context, 0, entry(serve_entry)]);
            created |= hypercall(Hypercall::ControlPortal, 0, context + 1, [core, 0, 0, 0]);
            let range = |at| Crd::objects(Selector::new(at), 0, Rights::ALL).unwrap_or(Crd::NULL);
            let [from, control] = TypedItem::delegate(range(FAULTS + core), ItemFlags::empty(), 0).words();
            word(ROOT_UTCB_ADDRESS, 510).store(from, SeqCst);
            word(ROOT_UTCB_ADDRESS, 511).store(control, SeqCst);
            word(ROOT_UTCB_ADDRESS, 0).store(1 << 16, SeqCst);
            created |= hypercall(Hypercall::Misc, 1, SELF, [range(events + 14).word(), other, 0, 0]);
        }
        checks.check("a domain and its servers", created, 0);
    }
}

fn faults_of(driver: Made, fixer: Made) -> u64 {
    driver.handled_by(fixer, 14, entry(fix_entry), Mtd::empty(), fixer.page())
}

/// S1: what only one core has used interrupts nobody.
fn private(checks: &mut Checks, cores: usize) {
    let before = sent(cores);
    for round in 0..5 {
        for core in 0..cores {
            let (own, there) = (OWN + ((core as u64) << 12), THERE + core as u64 * LARGE);
            checks.check("S1: lend", lend(own, 0, there), 0);
            sees(checks, 0, core, there, if round == 4 && core > 0 { ONCE } else { 0 });
        }
        let flushes = count(0, Counter::PageFlushes);
        for core in 0..cores {
            if round < 4 || core == 0 {
                checks.check("S1: take", take(OWN + ((core as u64) << 12), 0), 0);
                gone(checks, 0, core, THERE + core as u64 * LARGE);
            }
        }
        checks.check("S1: nothing of others is forgotten", count(0, Counter::PageFlushes) - flushes, 0);
    }
    checks.check("S1: interrupts", sent(cores) - before, 0);
    for core in 1..cores {
        checks.check("S1: take from one that runs", take(OWN + ((core as u64) << 12), 0), 0);
        checks.check("S1: one interrupt", sent(cores) - before, core as u64);
        release(core);
        gone(checks, 0, core, THERE + core as u64 * LARGE);
    }
}

/// S6: what nobody has used interrupts nobody, and nothing is forgotten.
fn never_used(checks: &mut Checks) {
    let before = sent(1);
    let flushes = || count(0, Counter::FullFlushes) + count(0, Counter::PageFlushes);
    let flushed = flushes();
    checks.check("S6: lend", lend(OWN, 0, THERE), 0);
    checks.check("S6: take", take(OWN, 0), 0);
    checks.check("S6: interrupts and flushes", sent(1) - before + flushes() - flushed, 0);
    gone(checks, 0, 0, THERE);
}

/// S3, S3b: used on core 1, where another domain runs now.
fn away(checks: &mut Checks, order: u32) {
    let there = THERE + order as u64 * LARGE;
    let lazy = count(1, Counter::LazyFlushes);
    checks.check("S3: lend", lend(OWN, order, there), 0);
    sees(checks, 0, 1, there, 0);
    let before = sent(1);
    checks.check("S3: take", take(OWN, order), 0);
    checks.check("S3: interrupts", sent(1) - before, 0);
    gone(checks, 0, 1, there);
    checks.check("S3: it was noticed when the domain came back", count(1, Counter::LazyFlushes) - lazy, 1);
}

/// S4: core 1 has used another page of the same table; the page itself was used on this core.
fn neighbour(checks: &mut Checks, cores: usize) {
    checks.check("S4: lend", lend(OWN, 1, THERE), 0);
    sees(checks, 0, 0, THERE, 0);
    sees(checks, 0, 1, THERE + 4096, ONCE);
    let before = sent(cores);
    checks.check("S4: take", take(OWN, 0), 0);
    checks.check("S4: one interrupt in vain", sent(cores) - before, 1);
    release(1);
    sees(checks, 0, 1, THERE + 4096, 0);
    checks.check("S4: take the rest", take(OWN, 1), 0);
}

/// S5: giving interrupts nobody, and what is new in a table that a core has is there without a fault.
fn adding(checks: &mut Checks, cores: usize) {
    checks.check("S5: lend", lend(OWN, 0, THERE), 0);
    sees(checks, 0, 1, THERE, ONCE);
    let (before, fixed) = (sent(cores), FIXED.load(SeqCst));
    checks.check("S5: lend more", lend(OWN + 4096, 0, THERE + 4096), 0);
    checks.check("S5: interrupts", sent(cores) - before, 0);
    release(1);
    let fills = count(1, Counter::ViewFills);
    sees(checks, 0, 1, THERE + 4096, 0);
    checks.check("S5: faults", FIXED.load(SeqCst) - fixed + count(1, Counter::ViewFills) - fills, 0);
    checks.check("S5: take", take(OWN, 1), 0);
}

/// S2: exactly the cores that have used the page, of those that run the domain; pages, a large page, a part of one.
fn shared(checks: &mut Checks, cores: usize) {
    for (round, (order, taken)) in (16..).zip([(0, 0), (9, 9), (9, 0)]) {
        let there = THERE + round * LARGE;
        let users: &[usize] = if cores > 3 { &[1, 3] } else { &[1] };
        checks.check("S2: lend", lend(OWN, order, there), 0);
        checks.check("S2: lend what core 2 uses", lend(OWN + LARGE, 0, THERE + 64 * LARGE), 0);
        if cores > 3 {
            sees(checks, 0, 2, THERE + 64 * LARGE, ONCE);
        }
        for &core in users {
            sees(checks, 0, core, there, ONCE);
        }
        let interrupts = |core| count(core, Counter::FullFlushes) + count(core, Counter::PageFlushes);
        let (before, flushed) = (sent(cores), if cores > 3 { interrupts(2) } else { 0 });
        checks.check("S2: take", take(OWN, taken), 0);
        checks.check("S2: interrupts", sent(cores) - before, users.len() as u64);
        if cores > 3 {
            checks.check("S2: who has not used it forgets nothing", interrupts(2) - flushed, 0);
            release(2);
        }
        for &core in users {
            release(core);
            gone(checks, 0, core, there);
        }
        if order > taken {
            sees(checks, 0, 1, there + 4096, 0);
        }
        checks.check("S2: take all", take(OWN, order) | take(OWN + LARGE, 0), 0);
    }
}

/// S7: many pages, in this domain and two others, one of which has them from the other: one interrupt for each core.
fn many(checks: &mut Checks, cores: usize) {
    // A page that is no multiple of 2 MiB away: small pages.
    let (there, beyond) = (THERE + 4096, THERE + 4 * LARGE);
    for order in [8, 3] {
        let lent = (0..1 << order).map(|page| lend(OWN + (page << 12), 0, there + (page << 12)));
        checks.check("S7: lend", lent.sum(), 0);
        let window = (DOMAINS + 1, beyond);
        let on = (0..1 << order).map(|page| {
            let (from, to) = ((DOMAINS, there + (page << 12)), (window.0, window.1 + (page << 12)));
            give(ROOT_UTCB_ADDRESS, from, 0, to, ItemFlags::empty())
        });
        checks.check("S7: lend on", on.sum(), 0);
        sees(checks, 0, 1, there, 0);
        sees(checks, 0, 1, there + (5 << 12), ONCE);
        if cores > 2 {
            sees(checks, 1, 2, beyond, 0);
            sees(checks, 1, 2, beyond + (7 << 12), ONCE);
        }
        let before = sent(cores);
        checks.check("S7: take", take(OWN, order), 0);
        let interrupts = sent(cores) - before;
        checks.check("S7: interrupts", interrupts, cores.min(3) as u64 - 1);
        (1..cores.min(3)).for_each(release);
        gone(checks, 0, 1, there);
        gone(checks, 0, 1, there + (5 << 12));
        if cores > 2 {
            gone(checks, 1, 2, beyond + (7 << 12));
        }
    }
}

/// S8, S9: core 1 reads all the time, staying in the domain or coming and going; nothing is read after it was taken.
fn hunt(checks: &mut Checks, comes_and_goes: bool) {
    let (page, stale) = (word(OWN, 0), STALE.load(SeqCst));
    PLACE[1].store(THERE, SeqCst);
    if comes_and_goes {
        STAY[1].store(0, SeqCst);
        COMMAND[1].store(CALLS, SeqCst);
    } else {
        STAY[1].store(LOOP, SeqCst);
        COMMAND[1].store(CALL, SeqCst);
    }
    let mut seen = 0;
    for round in 0..ROUNDS {
        page.store(7, SeqCst);
        let reads = READS.load(SeqCst);
        let lent = lend(OWN, 0, THERE);
        until(&READS, reads, false);
        seen += u64::from(READS.load(SeqCst) != reads && lent == 0);
        // From anywhere in the reader's loop.
        (0..round % 16).for_each(|_| spin_loop());
        let taken = take(OWN, 0);
        page.store(POISON, SeqCst);
        (0..200).for_each(|_| spin_loop());
        seen -= u64::from(taken != 0);
    }
    page.store(7, SeqCst);
    if comes_and_goes {
        COMMAND[1].store(0, SeqCst);
    }
    release(1);
    checks.check("S8: rounds in which it was read", seen, ROUNDS);
    checks.check("S8: reads of what was taken", STALE.load(SeqCst) - stale, 0);
}

/// S12: two cores take from each other at once.
fn crossing(checks: &mut Checks) {
    COMMAND[1].store(CROSS, SeqCst);
    cross(0, ROOT_UTCB_ADDRESS);
    until(&COMMAND[1], 0, true);
    checks.check("S12: both come to an end", COMMAND[1].load(SeqCst), 0);
    checks.check("S12: rounds", FOUND[0].load(SeqCst) + FOUND[1].load(SeqCst), 2 * ROUNDS);
}

/// Gets a page of the machine, uses it and the other core's, and gives it up, again and again.
fn cross(core: usize, page: u64) {
    let at = |core: usize| OWN + 16 * LARGE + ((core as u64) << 12);
    let physical = PHYSICAL + LARGE + 0x10_0000 + ((core as u64) << 12);
    let mut done = 0;
    for _ in 0..ROUNDS {
        let got = give(page, (SELF, physical), 0, (SELF, at(core)), ItemFlags::HYPERVISOR);
        word(at(core), 0).store(1, SeqCst);
        let range = memory(at(core), 0).word();
        let given_up = hypercall(Hypercall::Revoke, 1, 0, [range, 0, 0, 0]);
        done += u64::from(got | given_up == 0);
        if core > 0 {
            down(NEVER, 1);
        }
    }
    FOUND[core].store(done, SeqCst);
}
