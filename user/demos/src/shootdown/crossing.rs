//! Row S12: two cores that take from each other at once.
//!
//! Each lends a page, through the child and for some forms the grandchild, back to its own domain, where both use it, and
//! takes it. So each revocation interrupts the other core, in the middle of its own.
//! Invariants: ends; every round takes what it lent.
//! Concurrency: a driver on each of two cores.
//! Source: the acceptance matrix, row S12.
use core::sync::atomic::Ordering::SeqCst;

use abi::item::ItemFlags;

use super::case::{Case, Form};
use super::{
    CROSS, DOMAINS, FOUND, GOOD, LARGE, PLACE, READS, STALE, chunk, command, count, give, hunt, probe, slots, wait,
};
use crate::raw::Checks;
use crate::servers::SELF;
use abi::counter::Counter;

/// Rounds, and rounds where each leaves a table behind.
const ROUNDS: u64 = 150;
const FEW: u64 = 20;

const fn rounds(case: Case) -> u64 {
    if matches!(case.form, Form::Split | Form::Divided) { FEW } else { ROUNDS }
}

/// Both drivers at once.
pub fn crossing(checks: &mut Checks, _: usize, case: Case) {
    let (slot, stale, reads) = (slots(2 * ROUNDS), STALE.load(SeqCst), READS.load(SeqCst));
    let sent = || count(0, Counter::InterruptsSent) + count(1, Counter::InterruptsSent);
    let before = sent();
    let places = PLACE.iter().zip(0..2);
    places.for_each(|(place, core)| place.store(slot + core * ROUNDS * LARGE, SeqCst));
    (0..2).for_each(|core| command(core, CROSS, case.number()));
    checks.check("both come to an end", (0..2).filter(|&core| wait(core)).count() as u64, 2);
    checks.check("rounds of core 0", FOUND[0].load(SeqCst), rounds(case));
    checks.check("rounds of core 1", FOUND[1].load(SeqCst), rounds(case));
    checks.check("reads of what was taken", STALE.load(SeqCst) - stale, 0);
    checks.check(
        "reads, and at most one interrupt for each",
        u64::from(sent() - before <= READS.load(SeqCst) - reads),
        1,
    );
}

/// What one of them does.
pub fn part(core: usize, page: u64, case: Case) {
    let (mut random, other, start) = (hunt::Random::new(core as u64), 1 - core % 2, PLACE[core].load(SeqCst));
    let (mut slot, mut good) = (start, 0);
    for _ in 0..rounds(case) {
        let (from, order) = (chunk(core as u64), if case.form == Form::Small { 0 } else { 9 });
        let mut lent = case.lend_with(page, from, slot);
        // Back to this domain, at the same address.
        lent |= give(page, (DOMAINS + case.user(), slot), order, (SELF, slot), ItemFlags::empty());
        PLACE[core].store(slot + case.offset(), SeqCst);
        let mut seen = probe(slot + case.offset());
        for _ in 0..random.below(4) {
            let found = probe(PLACE[other].load(SeqCst));
            READS.fetch_add(u64::from(found != super::NOTHING), SeqCst);
        }
        READS.fetch_add(1, SeqCst);
        let taken = case.take(from);
        if probe(slot + case.offset()) != super::NOTHING {
            STALE.fetch_add(1, SeqCst);
            seen = 0;
        }
        good += u64::from(lent | taken == 0 && seen == GOOD);
        Case::take_all(from);
        if matches!(case.form, Form::Split | Form::Divided) {
            slot += LARGE;
        }
    }
    FOUND[core].store(good, SeqCst);
}
