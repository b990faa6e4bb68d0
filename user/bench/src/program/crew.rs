//! Threads on other cores that do what they are told, round by round, and wait in a loop otherwise.
//!
//! Invariants: members are on cores 1, 2, … without a gap, and exist for good once they are started; who tells a round waits
//! until all have done it before he tells the next.
//! Concurrency: one leader, on the boot core. A round is published by its number, with release and acquire.
//! Source: none.

use super::resources::{Resources, Setting};
use super::{churn, enter};
use abi::Status;
use abi::address::PAGE_SIZE;
use abi::counter::Counter;
use abi::qpd::Qpd;
use bench::line::Refusal;
use core::hint::spin_loop;
use core::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// Most members.
const MOST: usize = 31;

/// What a round is about.
#[derive(Clone, Copy, Debug)]
pub enum Job {
    /// Every page of ranges is read: of so many pages (binary logarithm) each, from an address on, with gaps as long as
    /// the ranges.
    Read(u32, u64),
    /// Pages of the member's own are mapped, read and revoked.
    Churn,
}

/// The round, what it is about (an address for [`Job::Read`], 0 for the other), how often it is done, by which members.
static ROUND: AtomicU64 = AtomicU64::new(0);
static BASE: AtomicU64 = AtomicU64::new(0);
static ORDER: AtomicU64 = AtomicU64::new(0);
static COUNT: AtomicU64 = AtomicU64::new(0);
static MEMBERS: AtomicU64 = AtomicU64::new(0);
/// The last round that each has done, and how many there are.
static DONE: [AtomicU64; MOST] = [const { AtomicU64::new(0) }; MOST];
static STARTED: AtomicU64 = AtomicU64::new(0);
/// The first status that a member did not expect.
static STATUS: AtomicU64 = AtomicU64::new(0);

/// Starts members until there are `count`.
pub fn start(resources: &mut Resources, count: u64) -> Result<(), Refusal> {
    resources.heap()?;
    let first = STARTED.load(Relaxed);
    for (core, done) in (1..).zip(&DONE).skip(first as usize).take(count.saturating_sub(first) as usize) {
        done.store(ROUND.load(Relaxed), Relaxed);
        spawn(core, Qpd::ROOT, move || member(core.into(), done))?;
        STARTED.fetch_add(1, Relaxed);
    }
    Ok(())
}

/// Starts a thread that never ends.
pub fn spawn(core: u32, parameters: Qpd, body: impl FnOnce() + Send + 'static) -> Result<(), Refusal> {
    let refused = |status: Status| Refusal { step: "thread", status: status.number() };
    rt::thread::spawn_in_root(core, parameters, body).map_err(refused)
}

fn member(core: u64, done: &AtomicU64) {
    let mut seen = done.load(Relaxed);
    loop {
        let round = ROUND.load(Acquire);
        if round != seen {
            work(core, COUNT.load(Relaxed));
            seen = round;
            done.store(round, Release);
        }
        spin_loop();
    }
}

fn work(core: u64, count: u64) {
    if core > MEMBERS.load(Relaxed) {
        return;
    }
    match (BASE.load(Relaxed), ORDER.load(Relaxed)) {
        (0, _) => {
            if let Err(refusal) = churn::work(core, count) {
                STATUS.store(u64::from(refusal.status), Relaxed);
            }
        }
        (base, order) => read(order, base, count),
    }
}

/// Reads every page of `count` ranges: see [`Job::Read`].
pub fn read(order: u64, base: u64, count: u64) {
    for range in 0..count {
        (0..1 << order).for_each(|page| enter::touch(base + ((range << (order + 1)) + page) * PAGE_SIZE));
    }
}

/// Has the first `members` do a job so often.
pub fn tell(job: Job, count: u64, members: u64) {
    let (order, base) = match job {
        Job::Read(order, base) => (order, base),
        Job::Churn => (0, 0),
    };
    BASE.store(base, Relaxed);
    ORDER.store(order.into(), Relaxed);
    COUNT.store(count, Relaxed);
    MEMBERS.store(members, Relaxed);
    ROUND.fetch_add(1, Release);
}

/// Waits until it is done.
pub fn wait() -> Result<(), Refusal> {
    let round = ROUND.load(Relaxed);
    let started = STARTED.load(Relaxed) as usize;
    while DONE.iter().take(started).any(|done| done.load(Acquire) != round) {
        spin_loop();
    }
    match STATUS.swap(0, Relaxed) {
        0 => Ok(()),
        status => Err(Refusal { step: "member", status: status as u8 }),
    }
}

/// How many interrupts operations are to send, and have sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Due {
    setting: Setting,
    others: u64,
    runs: u64,
    before: u64,
}

impl Due {
    /// One for each of so many `others`, for each operation.
    pub const fn new(setting: Setting, others: u64) -> Self {
        Self { setting, others, runs: 0, before: 0 }
    }

    /// Cores that each operation has to interrupt.
    pub const fn others(&self) -> u64 {
        self.others
    }

    /// So many operations follow.
    pub fn expect(&mut self, count: u64) {
        (self.runs, self.before) = (count, self.sent());
    }

    /// Refuses if others were sent than were due since [`Self::expect`]; the status is by how many. Where time is measured
    /// more may be sent, if any are due: a revocation that is preempted in the middle asks for what it has taken.
    pub fn judge(&mut self) -> Result<(), Refusal> {
        let runs = core::mem::take(&mut self.runs);
        let (sent, due) = (self.sent() - self.before, runs * self.others);
        let preempted = !self.setting.counting && due != 0;
        let wrong = if preempted { due.saturating_sub(sent) } else { sent.abs_diff(due) };
        if !self.setting.exact || runs == 0 || wrong == 0 {
            return Ok(());
        }
        Err(Refusal { step: "interrupts", status: u8::try_from(wrong).unwrap_or(u8::MAX) })
    }

    /// Interrupts that cores have sent because of revocations.
    fn sent(&self) -> u64 {
        (0..self.setting.cores).map(|core| enter::count(core, Counter::InterruptsSent as u64)).sum()
    }
}
