//! Two who revoke the same, or one what the other has made of it, at the same time.
//!
//! Purpose: a revoker that is preempted in the middle holds nothing that another one waits for: who is more urgent, on the
//! same core or on another one, does what is left itself, and returns while the first has not run again. And two cores that
//! revoke nested subtrees both come to an end; each finds nothing left of what it took when it returns.
//! A page is delegated to 20 000 addresses, and each of these mappings once more. Nothing is compared with a clock.
//! Written straight against the interface. Ends with success if every check holds.
//! Concurrency: the program's thread revokes; on its core a more urgent one does at a point in time, or keeps the core; on
//! another core one does when it is told to.
//! Source: lecture C:532-535 (nested unmaps), C:551-568 (helping).
#![no_std]
#![no_main]

use core::hint::spin_loop;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use abi::counter::Counter;
use abi::{Crd, Hypercall};
use demos::fan::{self, CHILDREN, MAPPINGS, SAMPLES};
use demos::raw::{Checks, answer, down, hypercall, time_stamp, up};
use demos::servers::SELF;
use demos::threads::spawn;
use rt::{Environment, ExitStatus, println};

rt::entry!(main);

/// Mappings, and log2 of the range that they are in.
const NODES: u64 = 20_000;
const ORDER: u32 = 15;
/// How often each is repeated at most, until both have met in the middle; a busy host may stop a core for as long as it takes.
const ATTEMPTS: u64 = 20;
/// Rounds of nested revocations: at least, and at most until a core has waited for the other; and mappings in them.
const ROUNDS: u64 = 20;
const PATIENCE: u64 = 400;
const FEW: u64 = 2000;
/// Semaphores: the urgent thread, the one on the other core, nobody.
const URGENT: u64 = 0x80;
const OTHER: u64 = 0x81;
const NEVER: u64 = 0x82;
/// Ticks until the urgent thread's point in time, of which there are more in later attempts.
const SOON: u64 = 2_000_000;

/// What the urgent thread does: revokes, or keeps the core until the other core's thread has.
const REVOKES: u64 = 1;
const KEEPS: u64 = 2;
static DEED: AtomicU64 = AtomicU64::new(0);
/// Ticks until then.
static DELAY: AtomicU64 = AtomicU64::new(SOON);
/// What is revoked, the word of the range and the first page that is to go; by how many mappings.
static WHAT: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
/// Samples that the second found when it began and when it was done, its status, and whether the first was still at it then.
static BEFORE: AtomicU64 = AtomicU64::new(0);
static AFTER: AtomicU64 = AtomicU64::new(0);
static STATUS: AtomicU64 = AtomicU64::new(0);
static DURING: AtomicU64 = AtomicU64::new(0);
/// Whether the first is at it, and how often the second was done.
static UNDER_WAY: AtomicU64 = AtomicU64::new(0);
static DONE: AtomicU64 = AtomicU64::new(0);

/// The second's revocation.
fn second() {
    let [range, base, nodes] = [0, 1, 2].map(|index: usize| WHAT[index].load(SeqCst));
    BEFORE.store(fan::left(base, nodes), SeqCst);
    STATUS.store(fan::revoke(Crd::from_word(range)), SeqCst);
    DURING.store(UNDER_WAY.load(SeqCst), SeqCst);
    AFTER.store(fan::left(base, nodes), SeqCst);
    DONE.fetch_add(1, SeqCst);
}

/// On the core of the first, more urgent.
extern "C" fn urgent(_: u64) -> ! {
    loop {
        down(URGENT, 0);
        down(NEVER, time_stamp() + DELAY.load(SeqCst));
        if DEED.load(SeqCst) == REVOKES {
            second();
        } else {
            let before = DONE.load(SeqCst);
            up(OTHER);
            while DONE.load(SeqCst) == before {
                spin_loop();
            }
        }
    }
}

/// On another core.
extern "C" fn other(_: u64) -> ! {
    loop {
        down(OTHER, 0);
        second();
    }
}

/// Both are to take `range`, so that nothing is there of so many pages from `base` on.
fn both(range: Crd, base: u64, nodes: u64) {
    WHAT.iter().zip([range.word(), base, nodes]).for_each(|(word, value)| word.store(value, SeqCst));
}

/// Until the second has been done so many times.
fn until_done(times: u64) {
    while DONE.load(SeqCst) < times {
        // What is less urgent than this thread is not there, and what is more so runs.
        spin_loop();
    }
}

/// The first is preempted in the middle of its revocation, and the second, wherever it is, takes what is left.
fn helped(checks: &mut Checks, what: &str, deed: u64) {
    DEED.store(deed, SeqCst);
    DELAY.store(SOON, SeqCst);
    let (mut wrong, mut met, mut early, mut found) = (0, 0, 0, 0);
    for attempt in 0..ATTEMPTS {
        wrong += fan::make(NODES);
        let range = fan::pages(fan::own(), 0);
        both(range, MAPPINGS, NODES);
        let done = DONE.load(SeqCst);
        UNDER_WAY.store(1, SeqCst);
        up(URGENT);
        let status = fan::revoke(range);
        UNDER_WAY.store(0, SeqCst);
        until_done(done + 1);
        wrong += status + STATUS.load(SeqCst) + AFTER.load(SeqCst) + fan::left(MAPPINGS, NODES);
        // The children went with the mappings.
        wrong += fan::left(CHILDREN, NODES);
        let (before, during) = (BEFORE.load(SeqCst), DURING.load(SeqCst));
        if during == 1 && before != 0 && before < SAMPLES {
            (met, found) = (met + 1, before);
            break;
        }
        // Before the first had begun, or when it was done; the latter makes it earlier next time.
        early += u64::from(before == SAMPLES);
        DELAY.store(if before == 0 { SOON >> (1 + attempt / 2) } else { SOON << (1 + attempt / 2) }, SeqCst);
    }
    println!("helping: {what}: {found} of {SAMPLES} samples left when the second began ({early} attempts too early)");
    checks.check("mappings are made, and taken by two", wrong, 0);
    checks.check("the second takes what is left in the middle of the first, which waits until that is done", met, 1);
}

/// One core takes everything, the other what is below, at the same time.
fn nested(checks: &mut Checks) {
    let waits = || {
        let of = |core| answer(Hypercall::Misc, 3, core, [Counter::RegionWaits as u64, 0, 0, 0])[1];
        of(0) + of(1)
    };
    let (mut wrong, mut left, before, start) = (0, 0, waits(), DONE.load(SeqCst));
    let mut rounds = 0;
    while rounds < ROUNDS || rounds < PATIENCE && waits() == before {
        wrong += fan::make(FEW);
        let (all, below) = ((fan::pages(fan::own(), 0), MAPPINGS), (fan::pages(MAPPINGS, ORDER), CHILDREN));
        // Whose turn it is to take the outer one.
        let (mine, others) = if rounds % 2 == 0 { (all, below) } else { (below, all) };
        both(others.0, others.1, FEW);
        up(OTHER);
        wrong += fan::revoke(mine.0);
        left += fan::left(mine.1, FEW);
        rounds += 1;
        until_done(start + rounds);
        wrong += STATUS.load(SeqCst);
        left += AFTER.load(SeqCst) + fan::left(MAPPINGS, FEW) + fan::left(CHILDREN, FEW);
    }
    let waited = waits() - before;
    println!("helping: nested: {waited} times one core waited for the other in {rounds} rounds");
    checks.check("nested: both return", wrong, 0);
    checks.check("nothing is left of what each took when it returns", left, 0);
    checks.check("they met", u64::from(waited != 0), 1);
}

fn main(environment: &Environment) -> ExitStatus {
    demos::announce("helping", "two who revoke the same");
    let mut checks = Checks::new("helping");
    for semaphore in [URGENT, OTHER, NEVER] {
        checks.check("semaphore", hypercall(Hypercall::CreateSemaphore, 0, semaphore, [SELF, 0, 0, 0]), 0);
    }
    checks.check("an urgent thread", spawn(0, 0, 3, urgent), 0);
    helped(&mut checks, "on the same core", REVOKES);
    if environment.hip().enabled_cpus() > 1 {
        checks.check("a thread on another core", spawn(1, 1, 2, other), 0);
        helped(&mut checks, "on another core", KEEPS);
        nested(&mut checks);
    }
    checks.finish()
}
