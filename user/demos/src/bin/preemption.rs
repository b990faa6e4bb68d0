//! Long revocations, and threads of higher priority that wait meanwhile: each runs while there is still much to take.
//!
//! A page is delegated to 100 000 addresses, and each of these mappings once more. First what was made of the mappings is
//! taken, a range of so many nodes with a child each, then the mappings, so many children of one node. Who wakes up meanwhile
//! looks how much is left: some of it, and never more than before. Nothing is compared with a clock.
//! Written straight against the interface. Ends with success if every check holds. Concurrency: one thread revokes; on its
//! core one waits for points in time, another for a semaphore that a thread of another core ups, if there is one.
#![no_std]
#![no_main]

use core::hint::spin_loop;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use abi::counter::Counter;
use abi::hip::ROOT_UTCB_ADDRESS;
use abi::item::ItemFlags;
use abi::rights::MemoryRights;
use abi::{Crd, Hypercall, TypedItem};
use demos::raw::{Checks, answer, down, hypercall, time_stamp, up, word};
use demos::threads::spawn;
use rt::{Environment, ExitStatus, println};

rt::entry!(main);

const SELF: u64 = 32;
/// Page numbers: the mappings, and what is made of each.
const MAPPINGS: u64 = 0x400_0000;
const CHILDREN: u64 = 0x500_0000;
const NODES: u64 = 100_000;
/// Of the range with all mappings.
const ORDER: u32 = 17;
/// Pages that are looked at, of the range that is taken.
const SAMPLES: u64 = 32;
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

#[repr(align(4096))]
struct Page(AtomicU64);
static PAGE: Page = Page(AtomicU64::new(0));

/// The first page of the range that is being taken, 0 for none.
static TAKEN: AtomicU64 = AtomicU64::new(0);
/// Samples that the last who looked has found, how often some were gone and some left, how often there were more than before.
static LEFT: AtomicU64 = AtomicU64::new(0);
static MIDDLE: AtomicU64 = AtomicU64::new(0);
static MORE: AtomicU64 = AtomicU64::new(0);
/// Answers to another core.
static ANSWERS: AtomicU64 = AtomicU64::new(0);

fn page(number: u64, order: u32) -> Crd {
    Crd::memory(number, order, MemoryRights::READ).unwrap_or(Crd::NULL)
}

/// Samples of the range from `base` on that are still there.
fn left(base: u64) -> u64 {
    let has = |sample| {
        let at = page(base + sample * (NODES / SAMPLES), 0).word();
        let [status, found, _] = answer(Hypercall::Misc, 0, SELF, [at, 0, 0, 0]);
        u64::from(status & 0xFF == 0 && !Crd::from_word(found).is_null())
    };
    (0..SAMPLES).map(has).sum()
}

/// Of a thread that runs: how far the revocation is, if there is one.
fn look() {
    let base = TAKEN.load(SeqCst);
    if base != 0 {
        let now = left(base);
        MORE.fetch_add(u64::from(now > LEFT.swap(now, SeqCst)), SeqCst);
        MIDDLE.fetch_add(u64::from(now != 0 && now != SAMPLES), SeqCst);
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

/// Hands the page `from` on to `to`, within the domain.
fn give(from: u64, to: u64) -> u64 {
    let words = TypedItem::delegate(page(from, 0), ItemFlags::empty(), to).words();
    for (index, value) in [(510, words[0]), (511, words[1]), (0, 1 << 16)] {
        word(ROOT_UTCB_ADDRESS, index).store(value, SeqCst);
    }
    hypercall(
        Hypercall::Misc,
        1,
        SELF,
        [Crd::memory(0, abi::crd::MAX_ORDER, MemoryRights::all()).unwrap_or(Crd::NULL).word(), SELF, 0, 0],
    )
}

/// Preemptions of this core's threads by more urgent ones so far.
fn preemptions() -> u64 {
    answer(Hypercall::Misc, 3, 0, [Counter::Preemptions as u64, 0, 0, 0])[1]
}

/// Takes what was made of `range`, which is what is there from page `base` on, while those who wait for `begin` look. How often
/// some was gone and some left; and how much was not as it should be.
fn revoke((range, base): (Crd, u64), begin: u64) -> [u64; 2] {
    let (before, missing) = (MIDDLE.load(SeqCst), SAMPLES - left(base));
    LEFT.store(SAMPLES, SeqCst);
    TAKEN.store(base, SeqCst);
    up(begin);
    // Whoever asks from another core runs when it has an answer.
    let answers = ANSWERS.load(SeqCst);
    while begin == ASK && ANSWERS.load(SeqCst) == answers {
        spin_loop();
    }
    let status = hypercall(Hypercall::Revoke, 0, 0, [range.word(), 0, 0, 0]);
    TAKEN.store(0, SeqCst);
    [MIDDLE.load(SeqCst) - before, missing + (status & 0xFF) + left(base)]
}

/// Both revocations, while those who wait for `begin` look.
fn revocations(checks: &mut Checks, what: &str, begin: u64) {
    let own = (&raw const PAGE.0).addr() as u64 / 4096;
    let (mut looks, mut wrong, before) = ([0; 2], 0, preemptions());
    // A busy host may stop the machine's other core, or its clock, for as long as a revocation takes.
    for _ in 0..ATTEMPTS {
        let given = |at| give(own, MAPPINGS + at) | give(MAPPINGS + at, CHILDREN + at);
        wrong += (0..NODES).map(given).sum::<u64>();
        let ranges = [(page(MAPPINGS, ORDER), CHILDREN), (page(own, 0), MAPPINGS)];
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
}

fn main(environment: &Environment) -> ExitStatus {
    demos::announce("preemption", "threads that wait while mappings are revoked");
    let mut checks = Checks::new("preemption");
    for semaphore in [BEGIN, NEVER, ASKED, ASK] {
        checks.check("semaphore", hypercall(Hypercall::CreateSemaphore, 0, semaphore, [SELF, 0, 0, 0]), 0);
    }
    checks.check("a thread that waits for points in time", spawn(0, 0, 2, watch), 0);
    revocations(&mut checks, "by the timer", BEGIN);
    if environment.hip().enabled_cpus() > 1 {
        checks.check("a thread that is asked", spawn(1, 0, 3, respond), 0);
        checks.check("a thread that asks", spawn(2, 1, 2, ask), 0);
        revocations(&mut checks, "by another core", ASK);
    }
    checks.finish()
}
