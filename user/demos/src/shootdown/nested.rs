//! Row S13: two cores take the same at once, or what one has taken contains what the other has.
//!
//! Core 0 lends a page, waits until the reader on the last core has read it, and takes it, while on core 1 the child takes it
//! from the grandchild, or another thread of this domain takes the same. Whoever comes second finds the entry gone, but the
//! reader may still remember it: each may return only when it does not.
//! Invariants: a probe that begins after either has returned fails; both return.
//! Concurrency: the main thread, the driver of core 1, a server that reads all the time.
//! Source: lecture C:532-535; the acceptance matrix.
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::case::{Case, Form};
use super::{
    ARGUMENT, CALL, FOUND, LARGE, LOOP, NESTED, PLACE, READS, REVOKE, STALE, STAY, chunk, command, hunt, portal_of,
    release, slots, take, until, wait,
};
use crate::raw::{Checks, call};

/// Rounds, and rounds where each leaves a table behind.
const ROUNDS: u64 = 50;
const FEW: u64 = 10;
/// Rounds that have begun for core 1, those that are over, and what it is to take: where the child has it, where this domain has.
static BEGUN: AtomicU64 = AtomicU64::new(0);
static OVER: AtomicU64 = AtomicU64::new(0);
static FROM: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
/// Statuses of core 1, whether one of both is at it, and how often the other was when one began or ended.
static WRONG: AtomicU64 = AtomicU64::new(0);
static BUSY: AtomicU64 = AtomicU64::new(0);
static MET: AtomicU64 = AtomicU64::new(0);

const fn rounds(case: Case) -> u64 {
    if matches!(case.form, Form::Split | Form::Divided) { FEW } else { ROUNDS }
}

/// Takes, and notes when it is taken; the status.
fn taking(round: u64, frame: u64, take: impl FnOnce() -> u64) -> u64 {
    let others = BUSY.fetch_add(1, SeqCst);
    let status = take();
    hunt::taken(round, frame);
    let others = others | (BUSY.fetch_sub(1, SeqCst) - 1);
    MET.fetch_add(others, SeqCst);
    status
}

/// What core 1 does.
pub fn part(core: usize, case: Case) {
    let (mut random, order) = (hunt::Random::new(core as u64), if case.form == Form::Large { 9 } else { 0 });
    for round in 0..rounds(case) {
        until(&BEGUN, round + 1, true);
        random.pause();
        let [place, frame] = [0, 1].map(|index: usize| FROM[index].load(SeqCst));
        let status = taking(round, frame, || {
            if !case.grandchild {
                return take(frame, order);
            }
            PLACE[core].store(place, SeqCst);
            ARGUMENT[core].store(order.into(), SeqCst);
            STAY[core].store(REVOKE, SeqCst);
            let called = call(portal_of(0, core)) & 0xFF;
            called | FOUND[core].load(SeqCst)
        });
        WRONG.fetch_or(status, SeqCst);
        OVER.store(round + 1, SeqCst);
    }
    STAY[core].store(0, SeqCst);
}

/// Both, and the reader on the last core.
pub fn row(checks: &mut Checks, cores: usize, case: Case) {
    let (rounds, reader, mut random) = (rounds(case), cores - 1, hunt::Random::new(case.number()));
    let divides = matches!(case.form, Form::Split | Form::Divided);
    let (mut slot, stale, mut good) = (slots(if divides { rounds } else { 1 }), STALE.load(SeqCst), 0);
    [&BEGUN, &OVER, &WRONG].into_iter().for_each(|word| word.store(0, SeqCst));
    PLACE[reader].store(0x7000_0000_0000, SeqCst);
    STAY[reader].store(LOOP, SeqCst);
    command(reader, CALL, case.user());
    command(1, NESTED, case.number());
    for round in 0..rounds {
        let chunk = chunk(round % 2);
        let frame = chunk + case.offset();
        hunt::filled(round, frame);
        PLACE[reader].store(slot + case.offset(), SeqCst);
        let reads = READS.load(SeqCst);
        let lent = case.lend(chunk, slot);
        until(&READS, reads, false);
        let read = READS.load(SeqCst) != reads;
        FROM.iter().zip([slot + case.offset(), frame]).for_each(|(word, value)| word.store(value, SeqCst));
        BEGUN.store(round + 1, SeqCst);
        random.pause();
        let taken = taking(round, frame, || case.take(chunk));
        until(&OVER, round + 1, true);
        good += u64::from(read && lent | taken == 0 && OVER.load(SeqCst) == round + 1);
        if case.form != Form::Small && case.form != Form::Large {
            Case::take_all(chunk);
            slot += LARGE;
        }
    }
    checks.check("core 1 comes to an end", wait(1).into(), 1);
    release(reader);
    hunt::over(case);
    checks.check("rounds in which it was read, and both returned", good, rounds);
    checks.check("statuses of core 1", WRONG.load(SeqCst), 0);
    checks.check("reads of what either had taken", STALE.load(SeqCst) - stale, 0);
    // In the last case: a busy host may keep them apart for long.
    if case == Case::ALL[Case::ALL.len() - 1] {
        checks.check("they met", u64::from(MET.load(SeqCst) != 0), 1);
    }
}
