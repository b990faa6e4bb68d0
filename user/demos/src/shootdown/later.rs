//! Revocations that do not wait: a semaphore says when nobody uses what was taken.
//!
//! Invariants: as for the other rows.
//! Concurrency: the main thread revokes, on core 0.
//! Source: `docs/src/decisions/0032-revocations-that-do-not-wait.md`.
use core::hint::spin_loop;
use core::sync::atomic::Ordering::SeqCst;

use super::case::Case;
use super::{FIXED, GO, GOOD, LARGE, LOOP, NOTHING, PATIENCE, READS, chunk, counts, release, since, slots, touch};
use crate::raw::{Checks, down, time_stamp};

/// The semaphore.
pub const LATER: u64 = GO + super::CORES as u64 + 1;

/// Waits until it is upped: 0 if it is.
pub fn landed() -> u64 {
    down(LATER, time_stamp() + PATIENCE)
}

/// Waits until a reader that stays has failed a few times.
fn fails() {
    let (before, end) = (FIXED.load(SeqCst), time_stamp() + PATIENCE);
    while FIXED.load(SeqCst) < before + 3 && time_stamp() < end {
        spin_loop();
    }
}

/// What a reader that stays reads from now on; a read that is over may be counted late.
fn reads() -> u64 {
    fails();
    let before = READS.load(SeqCst);
    fails();
    READS.load(SeqCst) - before
}

/// What is taken without waiting is gone when the semaphore is upped, or when the same has been taken with waiting.
pub fn row(checks: &mut Checks, cores: usize, case: Case) {
    let (slot, user) = (slots(4), case.user());
    let place = |number: u64| slot + number * LARGE + case.offset();
    checks.check("lend", case.lend(chunk(0), slot), 0);
    checks.check("it is there", touch(user, 0, place(0), 0), GOOD);
    checks.check("take what no other core uses", case.take_later(chunk(0), LATER), 0);
    checks.check("it is over at once", down(LATER, 1), 0);
    checks.check("it is gone", touch(user, 0, place(0), 0), NOTHING);
    checks.check("take all", Case::take_all(chunk(0)), 0);
    if cores < 2 {
        return;
    }
    checks.check("lend", case.lend(chunk(0), slot + LARGE), 0);
    checks.check("it is there", touch(user, 1, place(1), LOOP), GOOD);
    let before = counts(cores);
    checks.check("take it without waiting", case.take_later(chunk(0), LATER), 0);
    checks.check("it is over", landed(), 0);
    checks.check("nobody reads it", reads(), 0);
    let counted = since(cores, before);
    checks.check("an interrupt there, and one back", counted[0][0] << 4 | counted[1][0], 0x11);
    release(1);
    checks.check("it is gone", touch(user, 1, place(1), 0), NOTHING);
    checks.check("take all", Case::take_all(chunk(0)), 0);
    checks.check("lend", case.lend(chunk(0), slot + 2 * LARGE) | case.lend(chunk(1), slot + 3 * LARGE), 0);
    checks.check("one is there", touch(user, 1, place(3), 0), GOOD);
    checks.check("the other is", touch(user, 1, place(2), LOOP), GOOD);
    let taken = case.take_later(chunk(0), LATER) | case.take_later(chunk(1), LATER);
    checks.check("take both without waiting", taken, 0);
    checks.check("take the first again, and wait", case.take(chunk(0)), 0);
    checks.check("nobody reads it", reads(), 0);
    checks.check("the semaphore is upped twice", landed() | landed(), 0);
    checks.check("and not more often", down(LATER, 1), 1);
    release(1);
    checks.check("the other is gone too", touch(user, 1, place(3), 0), NOTHING);
    checks.check("take all", Case::take_all(chunk(0)) | Case::take_all(chunk(1)), 0);
}
