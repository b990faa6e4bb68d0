//! A hostile domain against the kernel: what it may do, who watches it, and what is checked.
//!
//! Purpose: random hypercalls, messages and faults, on all cores, from a seed. The supervisor keeps the domain going: it
//! gives back what the domain has lost, wakes who waits, replaces contexts that make no progress, and takes all of the
//! domain's own objects from time to time, while they are in use.
//! Invariants: checked all the time: a domain next to it runs on, unchanged; the hostile domain's kernel memory stays
//! within its limit; and after its end the kernel memory of everybody is what it was before.
//! Concurrency: see [`scene`] and [`attack`]; the supervisor is one thread of the highest priority on the boot core.
//! Source: design plan §6; interface.
mod attack;
mod faults;
mod layout;
mod memory;
mod scene;
mod victim;

use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use abi::Hypercall;
use abi::item::ItemFlags;
use rt::{Environment, ExitStatus, println};

use crate::raw::{Checks, down, hypercall, time_stamp, up};
use crate::threads;
use layout::*;
use memory::SHARED;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// First seed; each life of the domain takes the next.
    pub seed: u64,
    /// How often the hostile domain is made.
    pub lives: u64,
    /// Steps in each life.
    pub steps: u64,
}

/// Selectors of the semaphore that nobody ups, and of that which the supervisor ups when it is done.
const CLOCK: u64 = 0x3F00;
const DONE: u64 = 0x3F01;
/// Number of the supervisor's thread, and its message page.
const SUPERVISOR: u64 = 7;
const PAGE: u64 = 0x5000_0000 + SUPERVISOR * 0x2000 + 0x1000;
/// Turns of the supervisor without a step after which a worker is replaced.
const PATIENCE: u64 = 8;
/// Seconds for a life; one that takes longer has lost its way.
const LIFE: u64 = 300;
/// Seconds for a round of the victim, and for kernel memory to come back, on a busy host.
const PROGRESS: u64 = 60;

static PLAN: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
static CORES: AtomicU64 = AtomicU64::new(1);
static KHZ: AtomicU64 = AtomicU64::new(0);
static INTERRUPT: AtomicU64 = AtomicU64::new(0);
static FAILED: AtomicU64 = AtomicU64::new(0);

const NAMES: [&str; 16] = [
    "call",
    "reply",
    "create_pd",
    "create_ec",
    "create_sc",
    "create_pt",
    "create_sm",
    "revoke",
    "misc",
    "ec_ctrl",
    "sc_ctrl",
    "pt_ctrl",
    "sm_ctrl",
    "assign_pci",
    "assign_gsi",
    "pd_ctrl",
];
/// Assigning a device to a domain never succeeds without an IOMMU.
const NEVER: usize = 13;

/// Runs the plan and says what came of it.
pub fn run(environment: &Environment, plan: Plan) -> ExitStatus {
    crate::announce("hostile", "a domain that does what it can");
    let cores = (environment.hip().enabled_cpus() as u64).min(victim::CORES as u64);
    [plan.seed, plan.lives, plan.steps].iter().zip(&PLAN).for_each(|(value, slot)| slot.store(*value, SeqCst));
    CORES.store(cores, SeqCst);
    KHZ.store(environment.hip().header().tsc_khz.into(), SeqCst);
    INTERRUPT.store(environment.hip().cpu_slots() as u64 + 100, SeqCst);
    let mut wrong = hypercall(Hypercall::CreateSemaphore, 0, CLOCK, [SELF, 0, 0, 0]);
    wrong |= hypercall(Hypercall::CreateSemaphore, 0, DONE, [SELF, 0, 0, 0]);
    wrong |= scene::start_maker(cores) | threads::spawn(SUPERVISOR, 0, 127, supervise);
    if wrong != 0 {
        println!("hostile: what is needed for it cannot be made");
        return ExitStatus::new(3);
    }
    let _ = down(DONE, 0);
    if FAILED.load(SeqCst) == 0 { ExitStatus::SUCCESS } else { ExitStatus::new(3) }
}

fn pause(microseconds: u64) {
    let _ = down(CLOCK, time_stamp() + KHZ.load(SeqCst) * microseconds / 1000);
}

extern "C" fn supervise(_thread: u64) -> ! {
    let [seed, lives, steps] = [0, 1, 2].map(|index| PLAN[index].load(SeqCst));
    let mut checks = Checks::new("hostile");
    SHARED.next_turn(CORES.load(SeqCst));
    checks.check("the interrupts", scene::hold_interrupts(PAGE, INTERRUPT.load(SeqCst)), 0);
    // Tables for what is taken stay once they are there.
    touch_windows(&mut checks);
    let [limit, _] = scene::quota(SELF);
    let _ = live(&mut checks, seed, 200);
    // What a domain was given comes back when nothing else of it is left.
    settle(|[limit_now, _]| limit_now == limit);
    let [_, start] = scene::quota(SELF);
    let mut totals = [[0; 16]; 2];
    let mut life = 0;
    while life < lives * 8 && totals[0].iter().sum::<u64>() < steps * lives {
        life += 1;
        let done = live(&mut checks, seed + life, steps);
        totals.iter_mut().flatten().zip(done.into_iter().flatten()).for_each(|(total, more)| *total += more);
        settle(|now| now == [limit, start]);
        let [limit_now, usage] = scene::quota(SELF);
        checks.check("kernel memory afterwards", usage, start);
        checks.check("its limit afterwards", limit_now, limit);
    }
    report(&mut checks, &totals);
    if checks.finish() != ExitStatus::SUCCESS {
        FAILED.store(1, SeqCst);
    }
    let _ = up(DONE);
    loop {
        pause(1_000_000);
    }
}

/// Waits until limit and usage of the program's kernel memory are as they should be, at most [`PROGRESS`]. What was under way on
/// another core when both domains ended, a message to the maker or an interrupt to be chained, is taken back here.
fn settle(are_right: impl Fn([u64; 2]) -> bool) {
    for _ in 0..100 * PROGRESS {
        pause(10_000);
        let _ = scene::unchain() | scene::forget_taken();
        if are_right(scene::quota(SELF)) {
            return;
        }
    }
}

/// Has the tables made for where the maker takes what it is sent.
fn touch_windows(checks: &mut Checks) {
    let crd = |base| abi::Crd::objects(abi::Selector::new(base), 0, abi::Rights::ALL).unwrap_or(abi::Crd::NULL);
    let pages = |page| abi::Crd::memory(page, 0, abi::rights::MemoryRights::READ).unwrap_or(abi::Crd::NULL);
    let none = ItemFlags::empty();
    let mut wrong = scene::give(PAGE, SELF, crd(CLOCK), crd(TAKEN), none, 0);
    for flags in [none, ItemFlags::GUEST] {
        wrong |= scene::give(PAGE, SELF, pages(memory::playground_page()), pages(TAKEN_PAGES), flags, 0);
        wrong |= scene::forget_taken();
    }
    checks.check("places to take things", wrong, 0);
}

/// The slots whose counters can be true.
fn believed() -> impl Iterator<Item = &'static memory::Slot> {
    SHARED.slots.iter().filter(|slot| slot.is_plausible())
}

/// One life of the hostile domain. Hypercalls tried, and done.
fn live(checks: &mut Checks, seed: u64, steps: u64) -> [[u64; 16]; 2] {
    let cores = CORES.load(SeqCst);
    for (index, slot) in SHARED.slots.iter().enumerate() {
        slot.seed(seed << 32 | index as u64);
        slot.steps.store(0, SeqCst);
        slot.tried.iter().chain(&slot.done).for_each(|counter| counter.store(0, SeqCst));
    }
    (0..cores).for_each(|core| victim::own(core).wrong.store(0, SeqCst));
    let begun = scene::begin(PAGE, cores, INTERRUPT.load(SeqCst));
    checks.check("both domains", begun, 0);
    let served = || (0..cores).map(|core| victim::own(core).rounds.load(SeqCst)).fold(u64::MAX, u64::min);
    let made = || believed().map(|slot| slot.steps.load(SeqCst)).sum::<u64>();
    let mut last = [(0, 0); victim::CORES];
    let (mut most, mut replaced, mut stripped) = (0, 0, 0);
    let end = time_stamp() + LIFE * 1000 * KHZ.load(SeqCst);
    let (mut turn, mut exhausted) = (0, false);
    while made() < steps && !exhausted && time_stamp() < end {
        turn += 1;
        SHARED.next_turn(cores);
        pause(1_000);
        let [limit, usage] = scene::quota(HOSTILE);
        if limit > scene::LIMIT || usage > limit {
            checks.check("usage within the limit", usage << 32 | limit, scene::LIMIT);
        }
        most = usage.max(most);
        scene::wake_all();
        if turn % 4 == 0 {
            let _ = scene::forget_taken();
        }
        if turn % 64 == 0 {
            stripped += 1;
            let _ = scene::strip();
            let _ = (0..cores).fold(0, |wrong, core| wrong | scene::replace_server(core));
            // Without memory for what it should have, it is over.
            exhausted |= scene::replenish(PAGE) != 0;
        }
        let _ = scene::replenish(PAGE);
        for (core, (steps, turns)) in (0..cores).zip(&mut last) {
            let now = SHARED.slots[memory::WORKERS + core as usize].steps.load(SeqCst);
            *turns = if now == *steps { *turns + 1 } else { 0 };
            *steps = now;
            if *turns >= PATIENCE {
                *turns = 0;
                replaced += 1;
                let _ = scene::end_worker(core);
                if scene::start_worker(core) != 0 {
                    // Most of what a domain pays for it gets back; tables of its spaces stay as long as it does.
                    let _ = scene::strip() | scene::replenish(PAGE) | scene::end_worker(core);
                    exhausted |= scene::start_worker(core) != 0;
                }
            }
        }
    }
    let all = made();
    checks.check("steps made in time", u64::from(all >= steps || exhausted), 1);
    let before = served();
    let end = time_stamp() + PROGRESS * 1000 * KHZ.load(SeqCst);
    while served() <= before && time_stamp() < end {
        pause(10_000);
    }
    checks.check("the victim goes on", u64::from(served() > before), 1);
    for core in 0..cores {
        let own = victim::own(core);
        let [wrong, what, found] = [&own.wrong, &own.what, &own.found].map(|it| it.load(SeqCst));
        if wrong != 0 {
            println!("hostile: {wrong} things wrong with the victim, first check {what}: found {found:#x}");
        }
        checks.check("the victim is as it was", wrong, 0);
    }
    checks.check("the victim never faulted", scene::UNEXPECTED.load(SeqCst), 0);
    let handled = scene::HANDLED.load(SeqCst);
    println!(
        "hostile: seed {seed}: {all} steps, {handled} events so far, {replaced} workers replaced, {stripped} times \
         stripped, at most {most} of {} pages",
        scene::LIMIT
    );
    checks.check("both domains end", scene::end(), 0);
    let sum = |which: fn(&memory::Slot) -> &[AtomicU64; 16]| {
        core::array::from_fn(|number| believed().map(|slot| which(slot)[number].load(SeqCst)).sum())
    };
    [sum(|slot| &slot.tried), sum(|slot| &slot.done)]
}

fn report(checks: &mut Checks, [tried, done]: &[[u64; 16]; 2]) {
    let steps: u64 = tried.iter().sum();
    for (number, name) in NAMES.iter().enumerate() {
        let (tried, done) = (tried[number], done[number]);
        println!("hostile: {name}: {tried} tried, {done} succeeded, {} of 1000 steps", done * 1000 / steps.max(1));
        if number != NEVER {
            checks.check("one of a hundred steps succeeds so", u64::from(done * 100 >= steps), 1);
        }
    }
}
