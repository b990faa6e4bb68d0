//! Long revocations and delegations, and threads of higher priority that wait meanwhile: each runs while there is still much
//! to do.
//!
//! A page is delegated to 100 000 addresses, and each of these mappings once more. First what was made of the mappings is
//! taken, a range of so many nodes with a child each, then the mappings, so many children of one node. Who wakes up meanwhile
//! looks how much is left: some of it, and never more than before. It touches these pages too: it reads the right word, or
//! faults, which its handler is told of as at any other time. Then all mappings are delegated at once, as one range and as
//! many, and whoever wakes up finds some of it, and never less than before. Nothing is compared with a clock.
//! Written straight against the interface. Ends with success if every check holds. Concurrency: one thread revokes; on its
//! core one waits for points in time, another for a semaphore that a thread of another core ups, if there is one.
#![no_std]
#![no_main]

use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use abi::counter::Counter;
use abi::hip::ROOT_UTCB_ADDRESS;
use abi::item::ItemFlags;
use abi::{Crd, Hypercall, Mtd, TypedItem};
use demos::fan::{self, CHILDREN, CONTENT, MAPPINGS, SAMPLES};
use demos::probe::{NOTHING, fix_entry, probe};
use demos::raw::{Checks, answer, down, hypercall, memory, time_stamp, up, word};
use demos::servers::SELF;
use demos::threads::{handle, spawn};
use rt::{Environment, ExitStatus, println};

rt::entry!(main);

/// Mappings, each with a child.
const NODES: u64 = 100_000;
/// Of the range with all mappings.
const ORDER: u32 = 17;
/// Of ranges that together are that one.
const PART: u32 = 10;
/// Number of the page that the mappings are delegated to.
const GIVEN: u64 = 0x600_0000;
/// The event of a page fault.
const PAGE_FAULT: u64 = 14;
/// How often the revocations are repeated at most, until somebody has looked in the middle of each.
const ATTEMPTS: usize = 10;
/// Turns of a loop between two questions of the other core: who answers is not to have the core for himself.
const PAUSE: u64 = 20_000;
/// Semaphores.
const BEGIN: u64 = 0x80;
const NEVER: u64 = 0x81;
const ASKED: u64 = 0x82;
const ASK: u64 = 0x83;
/// Ticks until the next point in time.
const PERIOD: u64 = 500_000;

/// Whether the range is given.
static GIVES: AtomicBool = AtomicBool::new(false);
/// The first page of the range that is being taken, or given, 0 for none.
static TAKEN: AtomicU64 = AtomicU64::new(0);
/// Samples that the last who looked has found, how often some were gone and some left, how often there were more than before.
static LEFT: AtomicU64 = AtomicU64::new(0);
static MIDDLE: AtomicU64 = AtomicU64::new(0);
static MORE: AtomicU64 = AtomicU64::new(0);
/// Samples that could not be read while some others were there, and what was read or known that should not be.
static FAULTS: AtomicU64 = AtomicU64::new(0);
static WRONG: AtomicU64 = AtomicU64::new(0);
/// Answers to another core.
static ANSWERS: AtomicU64 = AtomicU64::new(0);

/// Of a thread that runs: how far the revocation is, if there is one.
fn look() {
    let base = TAKEN.load(SeqCst);
    if base != 0 {
        let now = fan::left(base, NODES);
        let before = LEFT.swap(now, SeqCst);
        MORE.fetch_add(u64::from(if GIVES.load(SeqCst) { now < before } else { now > before }), SeqCst);
        MIDDLE.fetch_add(u64::from(now != 0 && now != SAMPLES), SeqCst);
        let (mut faults, mut wrong) = (0, 0);
        for page in fan::samples(base, NODES) {
            let found = probe(page << 12);
            faults += u64::from(found == NOTHING);
            // What is not there any more has gone from the tree too, or goes before anybody else runs here.
            wrong += u64::from(if found == NOTHING { fan::has(page) } else { found != CONTENT });
        }
        // Nobody has taken more meanwhile: the core is this thread's.
        wrong += u64::from(faults != SAMPLES - now);
        FAULTS.fetch_add(faults * u64::from(now != 0), SeqCst);
        WRONG.fetch_add(wrong, SeqCst);
    }
}

/// On the core of the revocation: looks at points in time while there is one.
extern "C" fn watch(_: u64) -> ! {
    loop {
        down(BEGIN, 0);
        while TAKEN.load(SeqCst) != 0 {
            down(NEVER, time_stamp() + PERIOD);
            look();
        }
    }
}

/// On the core of the revocation: looks when it is asked.
extern "C" fn respond(_: u64) -> ! {
    loop {
        down(ASKED, 0);
        look();
        ANSWERS.fetch_add(1, SeqCst);
    }
}

/// On another core: asks, and waits for the answer before it asks again.
extern "C" fn ask(_: u64) -> ! {
    loop {
        down(ASK, 0);
        while TAKEN.load(SeqCst) != 0 {
            (0..PAUSE).for_each(|_| spin_loop());
            let before = ANSWERS.load(SeqCst);
            up(ASKED);
            while ANSWERS.load(SeqCst) == before && TAKEN.load(SeqCst) != 0 {
                spin_loop();
            }
        }
    }
}

/// Preemptions of this core's threads by more urgent ones so far.
fn preemptions() -> u64 {
    answer(Hypercall::Misc, 3, 0, [Counter::Preemptions as u64, 0, 0, 0])[1]
}

/// Does something to the range from page `base` on, of which so many samples are there, while those who wait for `begin` look.
/// How often some was there and some not; and what it says.
fn watched<T>((base, there): (u64, u64), begin: u64, work: impl FnOnce() -> T) -> (u64, T) {
    let before = MIDDLE.load(SeqCst);
    LEFT.store(there, SeqCst);
    TAKEN.store(base, SeqCst);
    up(begin);
    // Whoever asks from another core runs when it has an answer.
    let answers = ANSWERS.load(SeqCst);
    while begin == ASK && ANSWERS.load(SeqCst) == answers {
        spin_loop();
    }
    let done = work();
    TAKEN.store(0, SeqCst);
    (MIDDLE.load(SeqCst) - before, done)
}

/// Takes what was made of `range`, which is what is there from page `base` on. How often somebody looked in the middle; and
/// how much was not as it should be.
fn revoke((range, base): (Crd, u64), begin: u64) -> [u64; 2] {
    let missing = SAMPLES - fan::left(base, NODES);
    let (looks, status) = watched((base, SAMPLES), begin, || fan::revoke(range));
    [looks, missing + status + fan::left(base, NODES)]
}

/// Delegates the mappings by items of this order, and takes them again. How often somebody looked in the middle; how much was
/// not as it should be; and how many registers were not.
fn give(order: u32, begin: u64) -> [u64; 3] {
    let (window, items) = (memory(0, abi::crd::MAX_ORDER), 1 << (ORDER - order));
    for at in 0..items {
        let (from, to) = (MAPPINGS + (at << order), GIVEN + (at << order));
        let words = TypedItem::delegate(fan::pages(from, order), ItemFlags::empty(), to).words();
        (0..).zip(words).for_each(|(second, value)| {
            word(ROOT_UTCB_ADDRESS, 510 + second - 2 * at as usize).store(value, SeqCst);
        });
    }
    word(ROOT_UTCB_ADDRESS, 0).store(items << 16, SeqCst);
    GIVES.store(true, SeqCst);
    let (looks, [status, range, target]) =
        watched((GIVEN, 0), begin, || answer(Hypercall::Misc, 1, SELF, [window.word(), SELF, 0, 0]));
    GIVES.store(false, SeqCst);
    word(ROOT_UTCB_ADDRESS, 0).store(0, SeqCst);
    let missing = (GIVEN..GIVEN + NODES).filter(|&page| !fan::has(page)).count() as u64;
    let wrong = status + missing + fan::revoke(fan::pages(MAPPINGS, ORDER)) + fan::left(GIVEN, NODES);
    [looks, wrong, u64::from(range != window.word()) + u64::from(target != SELF)]
}

/// Delegations, while those who wait for `begin` look.
fn delegations(checks: &mut Checks, what: &str, begin: u64) {
    let (mut looks, mut wrong, mut changed) = ([0; 2], 0, 0);
    for _ in 0..ATTEMPTS {
        wrong += fan::make(NODES) + fan::revoke(fan::pages(MAPPINGS, ORDER));
        for (looks, order) in looks.iter_mut().zip([ORDER, PART]) {
            let [more, failed, registers] = give(order, begin);
            (*looks, wrong, changed) = (*looks + more, wrong + failed, changed + registers);
        }
        wrong += fan::revoke(fan::pages(fan::own(), 0));
        if !looks.contains(&0) {
            break;
        }
    }
    println!("preemption: {what}: {looks:?} looks in the middle of delegations");
    checks.check("100 000 mappings are delegated, and taken", wrong, 0);
    checks.check("who waits runs while a range is delegated", (looks[0] != 0).into(), 1);
    checks.check("and while many items are", (looks[1] != 0).into(), 1);
    checks.check("registers are as before", changed, 0);
    checks.check("nothing goes again", MORE.load(SeqCst), 0);
    checks.check("it touches what is being given: faults", u64::from(FAULTS.swap(0, SeqCst) != 0), 1);
    checks.check("exactly what is there can be read", WRONG.load(SeqCst), 0);
}

/// Both revocations, while those who wait for `begin` look.
fn revocations(checks: &mut Checks, what: &str, begin: u64) {
    let (mut looks, mut wrong, before) = ([0; 2], 0, preemptions());
    // A busy host may stop the machine's other core, or its clock, for as long as a revocation takes.
    for _ in 0..ATTEMPTS {
        wrong += fan::make(NODES);
        let ranges = [(fan::pages(MAPPINGS, ORDER), CHILDREN), (fan::pages(fan::own(), 0), MAPPINGS)];
        for (looks, range) in looks.iter_mut().zip(ranges) {
            let [more, failed] = revoke(range, begin);
            *looks += more;
            wrong += failed;
        }
        if !looks.contains(&0) {
            break;
        }
    }
    let preempted = preemptions() - before;
    println!("preemption: {what}: {looks:?} looks in the middle, {preempted} preemptions");
    checks.check("100 000 mappings, and one more of each, are made and taken", wrong, 0);
    checks.check("who waits runs while children are taken", (looks[0] != 0).into(), 1);
    checks.check("and while the children of one node are", (looks[1] != 0).into(), 1);
    checks.check("because who revokes is preempted", (begin != BEGIN || preempted >= looks[0] + looks[1]).into(), 1);
    checks.check("nothing comes back", MORE.load(SeqCst), 0);
    checks.check("it touches what is being taken: faults", u64::from(FAULTS.swap(0, SeqCst) != 0), 1);
    checks.check("exactly what has gone faults, the rest is what it was", WRONG.load(SeqCst), 0);
}

fn main(environment: &Environment) -> ExitStatus {
    demos::announce("preemption", "threads that wait while mappings are revoked");
    let mut checks = Checks::new("preemption");
    for semaphore in [BEGIN, NEVER, ASKED, ASK] {
        checks.check("semaphore", hypercall(Hypercall::CreateSemaphore, 0, semaphore, [SELF, 0, 0, 0]), 0);
    }
    let handled = |number| handle(number, PAGE_FAULT, fix_entry(), Mtd::empty());
    checks.check("a thread that waits for points in time", spawn(0, 0, 2, watch) + handled(0), 0);
    revocations(&mut checks, "by the timer", BEGIN);
    delegations(&mut checks, "by the timer", BEGIN);
    // Positions that nobody has reached; the bit that says that there is one, with a window.
    let forged = |selector: u64, window: u64, target: u64| {
        word(ROOT_UTCB_ADDRESS, 0).store(1 << 16, SeqCst);
        answer(Hypercall::Misc, 1, selector, [window, target, 0, 0])
    };
    let (window, sign) = (memory(0, abi::crd::MAX_ORDER).word(), 1 << 55);
    let beyond = SELF | !0 << 32;
    checks.check("beyond the items", forged(SELF | sign | 1 << 45 | 0xFF << 47, window & !3, SELF)[0], 0);
    checks.check("beyond the units", forged(SELF | sign | 1 << 45, window & !3, beyond)[0], 0);
    checks.check(
        "they are no position otherwise",
        u64::from(forged(SELF | sign, window, beyond) != [0, window, beyond]),
        0,
    );
    if environment.hip().enabled_cpus() > 1 {
        checks.check("a thread that is asked", spawn(1, 0, 3, respond) + handled(1), 0);
        checks.check("a thread that asks", spawn(2, 1, 2, ask), 0);
        revocations(&mut checks, "by another core", ASK);
        delegations(&mut checks, "by another core", ASK);
    }
    checks.finish()
}
