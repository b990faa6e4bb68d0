//! Signals: semaphores that count for themselves and wake whoever waits for the one they are chained to.
//!
//! Purpose: values and counts, in which order they are taken, what a down leaves alone when there is none, how signals
//! and their semaphores end, and that no signal is lost between two cores. Ends with success if every check holds.
//! Concurrency: the program's thread, one of higher priority on its core, and one on another core if there is one.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use abi::{Crd, Hypercall, Rights, Selector};
use demos::raw::{Checks, PATIENCE, answer, down, hypercall, time_stamp, up};
use demos::threads::spawn;
use rt::{Environment, ExitStatus};

rt::entry!(main);

const PLAIN: u64 = 0x50;
const FIRST: u64 = 0x51;
const SECOND: u64 = 0x52;
const OTHER: u64 = 0x53;
const DONE: u64 = 0x54;
const ENDED: u64 = 0x55;
const WAITED: u64 = 0x56;
const FAR: u64 = 0x57;
const FAR_SIGNAL: u64 = 0x58;
/// A selector without a capability.
const NOTHING: u64 = 0x5F;
/// Values of the signals.
const A: u64 = 0xAAAA_0000_1111;
const B: u64 = 0xBBBB_0000_2222;
/// How often the other core's thread is signalled.
const ROUNDS: u64 = 1000;

static SEEN: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
static WAKES: AtomicU64 = AtomicU64::new(0);
static SUM: AtomicU64 = AtomicU64::new(0);

fn create(at: u64, value: u64, chained: u64) -> u64 {
    hypercall(Hypercall::CreateSemaphore, 0, at, [32, value, chained, 0])
}

fn revoke(at: u64) -> u64 {
    let range = Crd::objects(Selector::new(at), 0, Rights::ALL).map_or(0, Crd::word);
    hypercall(Hypercall::Revoke, 1, 0, [range, 0, 0, 0])
}

/// Down with these flags until `deadline`, whose words come back if there is no signal.
fn take(semaphore: u64, flags: u8, deadline: u64) -> [u64; 3] {
    answer(Hypercall::ControlSemaphore, flags, semaphore, [deadline >> 32, deadline & 0xFFFF_FFFF, 0, 0])
}

/// Waits for signals of [`PLAIN`], with higher priority, and notes what it got.
extern "C" fn near(_: u64) -> ! {
    loop {
        let found = take(WAITED, 1, 0);
        SEEN.iter().zip(found).for_each(|(slot, value)| slot.store(value, SeqCst));
        WAKES.fetch_add(1, SeqCst);
        if found[0] != 0 {
            down(ENDED, 0);
        }
    }
}

/// Adds up what it is signalled, on another core.
extern "C" fn far(_: u64) -> ! {
    loop {
        let [status, value, count] = take(FAR, 1, 0);
        if status == 0 && value == B && SUM.fetch_add(count, SeqCst) + count == ROUNDS {
            up(DONE);
        }
    }
}

fn seen() -> [u64; 3] {
    SEEN.each_ref().map(|slot| slot.load(SeqCst))
}

fn same(checks: &mut Checks, what: &str, found: [u64; 3], expected: [u64; 3]) {
    for (found, expected) in found.into_iter().zip(expected) {
        checks.check(what, found, expected);
    }
}

fn main(environment: &Environment) -> ExitStatus {
    demos::announce("signals", "signal semaphores");
    let mut checks = Checks::new("signals");
    creation(&mut checks);
    counting(&mut checks);
    ending(&mut checks);
    waiting(&mut checks);
    if environment.hip().cpus().filter(|(_, cpu)| cpu.is_enabled()).count() > 1 {
        across(&mut checks);
    }
    checks.finish()
}

fn creation(checks: &mut Checks) {
    for semaphore in [PLAIN, DONE, ENDED, WAITED, FAR] {
        checks.check("semaphore", create(semaphore, 0, 0), 0);
    }
    checks.check("signal", create(FIRST, A, PLAIN) + create(SECOND, B, PLAIN), 0);
    checks.check("chained to a signal", create(OTHER, A, FIRST), 4);
    checks.check("chained to nothing", create(OTHER, A, NOTHING), 4);
    checks.check("chained to a domain", create(OTHER, A, 32), 4);
    checks.check("down of a signal", take(FIRST, 1, 1)[0], 4);
    checks.check("down to zero of a signal", take(FIRST, 3, 1)[0], 4);
}

fn counting(checks: &mut Checks) {
    let soon = || time_stamp() + 100_000;
    same(checks, "no signal", take(PLAIN, 1, 7), [1, 0, 7]);
    checks.check("ups", up(FIRST) + up(FIRST) + up(SECOND) + up(FIRST) + up(PLAIN), 0);
    same(checks, "three ups are one signal", take(PLAIN, 1, 1), [0, A, 3]);
    checks.check("and up again", up(FIRST), 0);
    same(checks, "the second signal", take(PLAIN, 1, 1), [0, B, 1]);
    same(checks, "the first signal again", take(PLAIN, 1, 1), [0, A, 1]);
    same(checks, "the up without a signal", take(PLAIN, 1, 1), [0, 0, 1]);
    checks.check("no more", down(PLAIN, soon()), 1);
    checks.check("ups", up(PLAIN) + up(FIRST) + up(PLAIN) + up(SECOND), 0);
    same(checks, "down to zero takes a signal", take(PLAIN, 3, 1), [0, A, 1]);
    same(checks, "and leaves the other", take(PLAIN, 1, 1), [0, B, 1]);
    checks.check("but no up without a signal", down(PLAIN, soon()), 1);
}

fn ending(checks: &mut Checks) {
    let soon = time_stamp() + 100_000;
    checks.check("ups", up(FIRST) + up(SECOND), 0);
    checks.check("a queued signal goes", revoke(FIRST), 0);
    same(checks, "the other is still there", take(PLAIN, 1, 1), [0, B, 1]);
    checks.check("and nothing else", down(PLAIN, soon), 1);
    checks.check("its selector is free", create(FIRST, A, PLAIN) + up(FIRST), 0);
    same(checks, "a new one", take(PLAIN, 1, 1), [0, A, 1]);
    checks.check(
        "a signal outlives the capability",
        create(OTHER, 0, 0) + create(NOTHING, A, OTHER) + revoke(OTHER),
        0,
    );
    checks.check("of its semaphore", up(NOTHING) + up(NOTHING), 0);
    checks.check("both go", revoke(NOTHING) + up(PLAIN), 0);
    checks.check("an up of nothing", up(NOTHING), 4);
    checks.check("others stay", down(PLAIN, 1), 0);
}

fn waiting(checks: &mut Checks) {
    checks.check("thread", spawn(0, 0, 2, near), 0);
    checks.check("its signal", create(OTHER, B, WAITED), 0);
    checks.check("it waits", WAKES.load(SeqCst), 0);
    for round in 1..=3 {
        checks.check("up", up(OTHER), 0);
        same(checks, "it was woken by the signal", seen(), [0, B, 1]);
        checks.check("once", WAKES.load(SeqCst), round);
    }
    checks.check("up without a signal", up(WAITED), 0);
    same(checks, "leaves its registers", seen(), [0, 0, 0]);
    checks.check("the semaphore goes", revoke(OTHER) + revoke(WAITED), 0);
    // The signal's reference goes after a grace period; an idle core has time for that.
    let end = time_stamp() + PATIENCE;
    while seen()[0] == 0 && time_stamp() < end {
        down(PLAIN, time_stamp() + 1_000_000);
    }
    same(checks, "and it is told", seen(), [4, 0, 0]);
    let (deadline, late) = (time_stamp() + 200_000, time_stamp() + PATIENCE);
    same(checks, "a deadline without a signal", take(PLAIN, 1, deadline), [1, deadline >> 32, deadline & 0xFFFF_FFFF]);
    checks.check("no sooner", u64::from(time_stamp() >= deadline), 1);
    checks.check("up", up(SECOND), 0);
    same(checks, "a deadline with one", take(PLAIN, 1, late), [0, B, 1]);
}

fn across(checks: &mut Checks) {
    checks.check("thread on core 1", spawn(1, 1, 2, far), 0);
    checks.check("its signal", create(FAR_SIGNAL, B, FAR), 0);
    for round in 0..ROUNDS {
        up(FAR_SIGNAL);
        (0..round % 64 * 50).for_each(|_| core::hint::spin_loop());
    }
    checks.check("all arrived", down(DONE, time_stamp() + PATIENCE), 0);
    checks.check("none too many", SUM.load(SeqCst), ROUNDS);
}
