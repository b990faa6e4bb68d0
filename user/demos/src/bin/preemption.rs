//! Long revocations, and threads of higher priority that wait meanwhile: each runs while there is still much to take.
//!
//! A page is delegated to 100 000 addresses, and each of these mappings once more. First what was made of the mappings is
//! taken, a range of so many nodes with a child each, then the mappings, so many children of one node. Who wakes up meanwhile
//! looks how much is left: some of it, and never more than before. It touches these pages too: it reads the right word, or
//! faults, which its handler is told of as at any other time. Nothing is compared with a clock.
//! Written straight against the interface. Ends with success if every check holds. Concurrency: one thread revokes; on its
//! core one waits for points in time, another for a semaphore that a thread of another core ups, if there is one.
#![no_std]
#![no_main]

use core::hint::spin_loop;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use abi::counter::Counter;
use abi::{Crd, Hypercall, Mtd};
use demos::fan::{self, CHILDREN, CONTENT, MAPPINGS, SAMPLES};
use demos::probe::{NOTHING, fix_entry, probe};
use demos::raw::{Checks, answer, down, hypercall, time_stamp, up};
use demos::servers::SELF;
use demos::threads::{handle, spawn};
use rt::{Environment, ExitStatus, println};

rt::entry!(main);

/// Mappings, each with a child.
const NODES: u64 = 100_000;
/// Of the range with all mappings.
const ORDER: u32 = 17;
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

/// The first page of the range that is being taken, 0 for none.
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
        MORE.fetch_add(u64::from(now > LEFT.swap(now, SeqCst)), SeqCst);
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

/// Takes what was made of `range`, which is what is there from page `base` on, while those who wait for `begin` look. How often
/// some was gone and some left; and how much was not as it should be.
fn revoke((range, base): (Crd, u64), begin: u64) -> [u64; 2] {
    let (before, missing) = (MIDDLE.load(SeqCst), SAMPLES - fan::left(base, NODES));
    LEFT.store(SAMPLES, SeqCst);
    TAKEN.store(base, SeqCst);
    up(begin);
    // Whoever asks from another core runs when it has an answer.
    let answers = ANSWERS.load(SeqCst);
    while begin == ASK && ANSWERS.load(SeqCst) == answers {
        spin_loop();
    }
    let status = fan::revoke(range);
    TAKEN.store(0, SeqCst);
    [MIDDLE.load(SeqCst) - before, missing + status + fan::left(base, NODES)]
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
    if environment.hip().enabled_cpus() > 1 {
        checks.check("a thread that is asked", spawn(1, 0, 3, respond) + handled(1), 0);
        checks.check("a thread that asks", spawn(2, 1, 2, ask), 0);
        revocations(&mut checks, "by another core", ASK);
    }
    checks.finish()
}
