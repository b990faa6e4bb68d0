//! A revocation misses no store: a core stores all the time, another lends and takes the page and asks what was noted.
//!
//! Invariants: what was stored between lending and the return of the revocation is in its report, and nothing is stored
//! afterwards.
//! Concurrency: core 1 stores, the main thread lends and takes, on core 0.
//! Source: trap T2; `docs/src/decisions/0030-revocations-report.md`.
use core::hint::spin_loop;
use core::sync::atomic::Ordering::SeqCst;

use super::case::{Case, Form};
use super::hunt::Random;
use super::{GOOD, LARGE, NOTHING, PATIENCE, PLACE, STORE, chunk, release, slots, touch};
use crate::raw::{Checks, time_stamp, word};

/// Rounds, and rounds where each leaves a table behind.
const ROUNDS: u64 = 60;
const FEW: u64 = 8;
/// What is told of a page that was written, above a status of 0.
const WRITTEN: u64 = 3 << 8;

/// The row.
pub fn row(checks: &mut Checks, _: usize, case: Case) {
    let divides = matches!(case.form, Form::Split | Form::Divided);
    let rounds = if divides { FEW } else { ROUNDS };
    let (first, mut random) = (slots(if divides { rounds } else { 1 }), Random::new(case.number()));
    let place = |round: u64| first + if divides { round * LARGE } else { 0 } + case.offset();
    let content = word(chunk(0) + case.offset(), 0);
    content.store(GOOD, SeqCst);
    checks.check("nothing is there", touch(case.user(), 1, place(0), STORE), NOTHING);
    let (mut lent, mut stored, mut untold, mut late) = (0, 0, 0, 0);
    for round in 0..rounds {
        let before = content.load(SeqCst);
        PLACE[1].store(place(round), SeqCst);
        lent |= case.lend(chunk(0), place(round) - case.offset());
        let end = time_stamp() + PATIENCE;
        while round % 2 == 0 && content.load(SeqCst) == before && time_stamp() < end {
            spin_loop();
        }
        (0..random.below(500)).for_each(|_| spin_loop());
        let told = case.take_telling(chunk(0));
        let after = content.load(SeqCst);
        (0..200).for_each(|_| spin_loop());
        late += u64::from(content.load(SeqCst) != after);
        stored += u64::from(after != before);
        untold += u64::from(after != before && told != WRITTEN);
        Case::take_all(chunk(0));
    }
    release(1);
    checks.check("lend", lent, 0);
    checks.check("rounds with stores, of those that wait for one", u64::from(stored >= rounds / 2), 1);
    checks.check("stores that were not told", untold, 0);
    checks.check("stores afterwards", late, 0);
    content.store(GOOD, SeqCst);
}
