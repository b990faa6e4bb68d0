//! Rows of the matrix that count interrupts and flushes.
//!
//! Invariants: counters are read while the cores in question stay where they are; what is expected is exact.
//! Concurrency: the main thread revokes, on core 0, unless the row says otherwise.
//! Source: the acceptance matrix, rows S1-S7 and S11b.
use core::sync::atomic::Ordering::SeqCst;

use super::case::{Case, Form};
use super::{
    ARGUMENT, DOMAINS, FIXED, FOUND, GOOD, LARGE, LOOP, NOTHING, ONCE, PLACE, POKE, PRIVATE, REVOKE, STALE, STAY,
    chunk, command, count, counts, since, slots, take, touch, wait,
};
use crate::raw::{Checks, answer, call, hypercall};
use abi::counter::Counter;
use abi::rights::MemoryRights;
use abi::{Crd, Hypercall};

/// Rounds of row S1.
const ROUNDS: u64 = 6;

/// A probe finds what this domain has written there.
fn sees(checks: &mut Checks, domain: u64, core: usize, place: u64, stay: u64) {
    checks.check("it is there", touch(domain, core, place, stay), GOOD);
}

fn gone(checks: &mut Checks, domain: u64, core: usize, place: u64) {
    checks.check("it is gone", touch(domain, core, place, 0), NOTHING);
}

/// Ends a row: all of the chunk is taken.
fn over(checks: &mut Checks, chunk: u64) {
    checks.check("take all", Case::take_all(chunk), 0);
}

/// Interrupts sent by all cores, and what the cores from 1 on have flushed, must be as expected.
fn costs(checks: &mut Checks, cores: usize, before: super::Counts, interrupts: u64, told: &[usize], flushes: [u64; 2]) {
    let counted = since(cores, before);
    checks.check("interrupts", counted.iter().map(|core| core[0]).sum(), interrupts);
    for (core, [_, full, pages, _]) in counted.into_iter().enumerate().take(cores).skip(1) {
        let expected = if told.contains(&core) { flushes } else { [0, 0] };
        checks.check("full flushes", full, expected[0]);
        checks.check("flushes of pages", pages, expected[1]);
    }
}

/// S1: on each core at once, what only it has used is lent, used, taken: no interrupts, and nobody forgets in vain.
pub fn private(checks: &mut Checks, cores: usize, case: Case) {
    // For each round of each core, so that none has a neighbour's leaf table; a leaf can be divided once.
    let slot = slots(CORES_SLOTS);
    let before = counts(cores);
    for (core, place) in PLACE.iter().enumerate().take(cores) {
        place.store(slot + core as u64 * ROUNDS * LARGE, SeqCst);
        command(core, PRIVATE, case.number());
    }
    let ended = (0..cores).filter(|&core| wait(core)).count();
    checks.check("drivers that come to an end", ended as u64, cores as u64);
    let counted = since(cores, before);
    for core in 0..cores {
        checks.check("rounds", FOUND[core].load(SeqCst), ROUNDS);
        let [sent, full, pages, late] = counted[core];
        checks.check("interrupts", sent, 0);
        checks.check("flushes", full + pages, 0);
        checks.check("noticed when the domain came back", late, ROUNDS);
    }
}

/// Slots of row S1.
const CORES_SLOTS: u64 = super::CORES as u64 * ROUNDS;

/// What a core does in row S1.
pub fn private_part(core: usize, page: u64, case: Case) {
    let (chunk, slot) = (chunk(core as u64), PLACE[core].load(SeqCst));
    let mut good = 0;
    for round in 0..ROUNDS {
        // What has been divided once stays so.
        let slot = slot + round * LARGE;
        STAY[core].store(0, SeqCst);
        PLACE[core].store(slot + case.offset(), SeqCst);
        let found = || {
            call(super::portal_of(case.user(), core));
            FOUND[core].load(SeqCst)
        };
        let lent = case.lend_with(page, chunk, slot);
        let seen = found() == GOOD;
        let taken = case.take(chunk);
        good += u64::from(lent | taken == 0 && seen && found() == NOTHING);
        Case::take_all(chunk);
    }
    FOUND[core].store(good, SeqCst);
}

/// S2: exactly the cores that have used it, of those that run the domain.
pub fn shared(checks: &mut Checks, cores: usize, case: Case) {
    let (slot, beside) = (slots(1), slots(1));
    let users: &[usize] = if cores > 3 { &[1, 3] } else { &[1] };
    checks.check("lend", case.lend(chunk(0), slot), 0);
    checks.check("lend what core 2 uses", case.lend(chunk(1), beside), 0);
    if cores > 3 {
        sees(checks, case.user(), 2, beside + case.offset(), ONCE);
    }
    users.iter().for_each(|&core| sees(checks, case.user(), core, slot + case.offset(), ONCE));
    let before = counts(cores);
    checks.check("take", case.take(chunk(0)), 0);
    costs(checks, cores, before, users.len() as u64, users, case.flushes());
    for &core in users {
        super::release(core);
        gone(checks, case.user(), core, slot + case.offset());
    }
    if cores > 3 {
        super::release(2);
        sees(checks, case.user(), 2, beside + case.offset(), 0);
    }
    if matches!(case.form, Form::Split | Form::Divided) {
        sees(checks, case.user(), 1, slot + Case::neighbour(), 0);
    }
    over(checks, chunk(0));
    over(checks, chunk(1));
}

/// S3, S3b: used on core 1, where another domain runs now: no interrupt, and it is noticed when the domain comes back.
pub fn away(checks: &mut Checks, cores: usize, case: Case) {
    let slot = slots(1);
    checks.check("lend", case.lend(chunk(0), slot), 0);
    sees(checks, case.user(), 1, slot + case.offset(), 0);
    let before = counts(cores);
    checks.check("take", case.take(chunk(0)), 0);
    costs(checks, cores, before, 0, &[], [0, 0]);
    gone(checks, case.user(), 1, slot + case.offset());
    checks.check("noticed once", since(cores, before)[1][3], 1);
    over(checks, chunk(0));
}

/// S4: core 1 has used another page of the same table or leaf, and core 0 the page itself.
pub fn neighbour(checks: &mut Checks, cores: usize, case: Case) {
    let slot = slots(1);
    checks.check("lend", case.lend(chunk(0), slot) | case.lend_neighbour(chunk(0), slot), 0);
    sees(checks, case.user(), 0, slot + case.offset(), 0);
    sees(checks, case.user(), 1, slot + Case::neighbour(), ONCE);
    let before = counts(cores);
    checks.check("take", case.take(chunk(0)), 0);
    // In vain, unless it is one leaf.
    costs(checks, cores, before, 1, &[1], case.flushes());
    super::release(1);
    if case.form == Form::Large {
        gone(checks, case.user(), 1, slot + Case::neighbour());
    } else {
        sees(checks, case.user(), 1, slot + Case::neighbour(), 0);
    }
    over(checks, chunk(0));
}

/// S5: giving interrupts nobody and flushes nothing, and what is new in a table that a core has is there without a fault.
pub fn adding(checks: &mut Checks, cores: usize, case: Case) {
    let slot = slots(2);
    let mut lent = if case.form == Form::Small { 0 } else { case.lend(chunk(0), slot) };
    lent |= case.lend_neighbour(chunk(0), slot);
    if case.form == Form::Split {
        lent |= case.take(chunk(0));
    }
    checks.check("lend", lent, 0);
    sees(checks, case.user(), 1, slot + Case::neighbour(), ONCE);
    let (before, fixed, fills) = (counts(cores), FIXED.load(SeqCst), count(1, Counter::ViewFills));
    checks.check("lend more", case.lend_more(chunk(0), slot), 0);
    costs(checks, cores, before, 0, &[], [0, 0]);
    super::release(1);
    let (place, filled) = if case.form == Form::Large { (slot + LARGE, 1) } else { (slot + case.offset(), 0) };
    sees(checks, case.user(), 1, place, 0);
    checks.check("faults that the pager sees", FIXED.load(SeqCst) - fixed, 0);
    checks.check("entries brought in", count(1, Counter::ViewFills) - fills, filled);
    over(checks, chunk(0));
    over(checks, chunk(1));
}

/// S5: more rights to what is there interrupt nobody and flush nothing, and who remembers fewer goes on without its pager;
/// but a part of a large leaf is mapped anew.
pub fn raising(checks: &mut Checks, cores: usize, case: Case) {
    let (slot, user) = (slots(1), case.user());
    let place = slot + case.offset();
    checks.check("lend", case.lend(chunk(0), slot), 0);
    let writes = Crd::memory(chunk(0) >> 12, 9, MemoryRights::WRITE).unwrap_or(Crd::NULL);
    checks.check("take the right to write", hypercall(Hypercall::Revoke, 0, 0, [writes.word(), 0, 0, 0]), 0);
    let store = || {
        let found = touch(user, 1, place, POKE);
        wait(1);
        found
    };
    checks.check("a store fails", store(), NOTHING);
    sees(checks, user, 1, place, ONCE);
    let (before, fixed) = (counts(cores), FIXED.load(SeqCst));
    checks.check("raise", case.raise(chunk(0), slot), 0);
    let told = u64::from(case.form == Form::Split);
    costs(checks, cores, before, told, &[1][..told as usize], [1, 0]);
    super::release(1);
    checks.check("a store", store(), GOOD);
    checks.check("faults that the pager sees", FIXED.load(SeqCst) - fixed, 0);
    over(checks, chunk(0));
    gone(checks, user, 1, place);
}

/// What is noted of a page is cleared together with a flush: the core that remembers it is interrupted, and its next access is
/// noted again.
pub fn noted(checks: &mut Checks, cores: usize, case: Case) {
    let (slot, user) = (slots(1), case.user());
    let place = slot + case.offset();
    let evidence = |clear: u64| {
        let page = Crd::memory(place >> 12, 0, MemoryRights::READ).unwrap_or(Crd::NULL);
        answer(Hypercall::Misc, 4, DOMAINS + user, [page.word(), clear, 0, 0])
    };
    checks.check("lend", case.lend(chunk(0), slot), 0);
    checks.check("nothing is noted", evidence(0)[1], 0);
    sees(checks, user, 1, place, ONCE);
    checks.check("it is noted", evidence(0)[1], 1);
    let before = counts(cores);
    checks.check("clear it", evidence(1)[1], 1);
    // A large leaf is one: all of its pages are forgotten.
    costs(checks, cores, before, 1, &[1], case.flushes());
    checks.check("nothing is noted any more", evidence(0)[1], 0);
    super::release(1);
    sees(checks, user, 1, place, 0);
    checks.check("it is noted again", evidence(0)[1], 1);
    checks.check("and not written", evidence(0)[2], 0);
    over(checks, chunk(0));
}

/// A revocation tells what was noted of what it takes, on whatever core: of what nobody has used nothing, of what a core
/// reads that stays an access, of what another has written that has left a store too.
pub fn told(checks: &mut Checks, cores: usize, case: Case) {
    let (slot, user) = (slots(3), case.user());
    let place = |number: u64| slot + number * LARGE + case.offset();
    checks.check("lend", case.lend(chunk(0), slot), 0);
    checks.check("take what nobody has used", case.take_telling(chunk(0)), 0);
    over(checks, chunk(0));
    checks.check("lend", case.lend(chunk(0), slot + LARGE), 0);
    sees(checks, user, 1, place(1), ONCE);
    let before = counts(cores);
    checks.check("take what is read", case.take_telling(chunk(0)), 1 << 8);
    costs(checks, cores, before, 1, &[1], case.flushes());
    super::release(1);
    gone(checks, user, 1, place(1));
    over(checks, chunk(0));
    checks.check("lend", case.lend(chunk(0), slot + 2 * LARGE), 0);
    checks.check("store", touch(user, 1, place(2), POKE), GOOD);
    wait(1);
    let before = counts(cores);
    checks.check("take what was written", case.take_telling(chunk(0)), 3 << 8);
    costs(checks, cores, before, 0, &[], [0, 0]);
    gone(checks, user, 1, place(2));
    over(checks, chunk(0));
}

/// S6: what nobody has used interrupts nobody, and nothing is forgotten, also where the domain runs.
pub fn never_used(checks: &mut Checks, cores: usize, case: Case) {
    let (slot, beside) = (slots(1), slots(1));
    checks.check("lend", case.lend(chunk(0), slot) | case.lend(chunk(1), beside), 0);
    (1..cores).for_each(|core| sees(checks, case.user(), core, beside + case.offset(), ONCE));
    let before = counts(cores);
    checks.check("take", case.take(chunk(0)), 0);
    costs(checks, cores, before, 0, &[], [0, 0]);
    checks.check("own flushes", since(cores, before)[0][1..3].iter().sum(), 0);
    (1..cores).for_each(super::release);
    gone(checks, case.user(), 0, slot + case.offset());
    over(checks, chunk(0));
    over(checks, chunk(1));
}

/// S7: many pages, from the child and, if it has them, the grandchild, each of which uses them on other cores: one
/// interrupt for each core.
pub fn many(checks: &mut Checks, cores: usize, case: Case) {
    // Small pages do not lie as in the chunk.
    let slot = slots(2);
    let (from, to) = if case.form == Form::Small { (chunk(0), slot + 4096) } else { (chunk(0), slot) };
    let pages = if case.form == Form::Small { 512 } else { 1 };
    let small = Case { form: Form::Small, ..case };
    let lend = |page| if case.form == Form::Small { small.lend(from + page, to + page) } else { case.lend(from, to) };
    checks.check("lend", (0..pages).map(|page| lend(page << 12)).sum(), 0);
    let far = |core: usize| (100 + core as u64) << 12;
    let domain = |core: usize| if core.is_multiple_of(2) { case.user() } else { 0 };
    for core in 1..cores {
        sees(checks, domain(core), core, to + ((core as u64) << 12), 0);
        sees(checks, domain(core), core, to + far(core), ONCE);
    }
    let before = counts(cores);
    let order = if matches!(case.form, Form::Split | Form::Divided) { 8 } else { 9 };
    checks.check("take", take(from, order), 0);
    let told: [usize; super::CORES] = core::array::from_fn(|core| core);
    costs(checks, cores, before, cores as u64 - 1, &told, [1, 0]);
    for core in 1..cores {
        super::release(core);
        gone(checks, domain(core), core, to + ((core as u64) << 12));
        gone(checks, domain(core), core, to + far(core));
    }
    if order == 8 {
        sees(checks, case.user(), 1, to + (300 << 12), 0);
    }
    over(checks, from);
}

/// S11b, trap T4: who revokes has run on core 0 only, who uses it on the last core only.
pub fn apart(checks: &mut Checks, cores: usize, case: Case) {
    let (slot, last) = (slots(1), cores - 1);
    let grandchild = Case { grandchild: true, ..case };
    checks.check("lend", grandchild.lend(chunk(0), slot), 0);
    let place = slot + case.offset();
    sees(checks, 1, last, place, if case.grandchild { LOOP } else { ONCE });
    let (before, stale) = (counts(cores), STALE.load(SeqCst));
    ARGUMENT[0].store(if case.form == Form::Large { 9 } else { 0 }, SeqCst);
    checks.check("the child takes", touch(0, 0, place, REVOKE), 0);
    let counted = since(cores, before);
    checks.check("interrupts", counted.iter().map(|core| core[0]).sum(), 1);
    let [full, pages] = case.flushes();
    // A reader that stays notices at each probe; one flush is all there is.
    checks.check("full flushes", counted[last][1], full);
    checks.check("flushes of pages", counted[last][2], pages);
    super::release(last);
    gone(checks, 1, last, place);
    checks.check("reads of what was taken", STALE.load(SeqCst) - stale, 0);
    over(checks, chunk(0));
}
