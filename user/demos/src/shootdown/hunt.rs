//! The hunt for stale translations.
//!
//! Purpose: a core lends a page, waits until a reader on another core has read it, takes it, fills it with poison, and
//! lends another frame at the same address. The reader probes all the time, or comes and goes. Delays are random.
//! Invariants: a probe that begins after a revocation has returned, and ends before the page is lent again, faults; no
//! probe ever finds poison.
//! Concurrency: one core revokes, one reads; see the module above.
//! Source: the acceptance matrix, rows S8 and S9.
use core::hint::{black_box, spin_loop};
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use abi::hip::ROOT_UTCB_ADDRESS;
use rt::{Environment, ExitStatus, println};

use super::case::{Case, Form};
use super::{
    CALL, CALLS, COMMAND, CORES, ENOUGH, GO, GOOD, HUNT, LARGE, LOOP, NOISE, NOTHING, PATIENCE, PLACE, POISON, READS,
    STALE, STAY, chunk, command, later, portal_of, prepare, probe, release, slots, wait,
};
use crate::raw::{Checks, call, down, time_stamp, word};

/// Even while a page is lent, odd from when its revocation has returned.
static EPOCH: AtomicU64 = AtomicU64::new(0);
/// Which case, how many rounds, the reader's core, and the seed, for the part of the driver; rounds in which it was read.
static PLAN: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
static SEEN: AtomicU64 = AtomicU64::new(0);
/// Rounds of the matrix, and of those where each leaves a table behind.
const ROUNDS: u64 = 100;
const FEW: u64 = 20;

/// Numbers that look random: Marsaglia's xorshift.
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(0x9E37_79B9_7F4A_7C15))
    }

    /// Below `bound`.
    pub const fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 8) % bound
    }

    /// Most often short, sometimes long; now and then another core may go first, where an emulator runs one at a time.
    pub fn pause(&mut self) {
        let longest = [1, 64, 64, 1024][self.below(4) as usize];
        (0..self.below(longest)).for_each(|step| _ = black_box(step));
        (0..self.below(8) / 6).for_each(|_| spin_loop());
    }
}

/// A probe of the server on `core`, where it is told to; notes what may not be found.
pub fn look(core: usize) -> u64 {
    let place = PLACE[core].load(SeqCst);
    let epoch = EPOCH.load(SeqCst);
    let found = probe(place);
    let taken = epoch % 2 == 1 && EPOCH.load(SeqCst) == epoch;
    STALE.fetch_add(u64::from(found == POISON || taken && found != NOTHING), SeqCst);
    READS.fetch_add(u64::from(found == GOOD), SeqCst);
    found
}

/// A page that is about to be lent in `round`, for which this domain has `frame`, gets its content.
pub fn filled(round: u64, frame: u64) {
    word(frame, 0).store(GOOD, SeqCst);
    EPOCH.store(2 * round, SeqCst);
}

/// A revocation of it has returned: nobody may read it.
pub fn taken(round: u64, frame: u64) {
    EPOCH.store(2 * round + 1, SeqCst);
    word(frame, 0).store(POISON, SeqCst);
}

/// Nothing is lent any more; what was gets its content.
pub fn over(case: Case) {
    EPOCH.store(0, SeqCst);
    (0..2).for_each(|frame| word(chunk(frame) + case.offset(), 0).store(GOOD, SeqCst));
}

/// The revoker's part, with the message page at `page`.
pub fn part(page: u64) {
    let [case, rounds, reader, seed] = [0, 1, 2, 3].map(|index: usize| PLAN[index].load(SeqCst));
    let (case, reader, mut random) = (Case::numbered(case), reader as usize % CORES, Random::new(seed));
    let divides = matches!(case.form, Form::Split | Form::Divided);
    let mut slot = slots(if divides { rounds } else { 1 });
    let (mut seen, stale) = (0, STALE.load(SeqCst));
    for round in 0..rounds {
        let frame = chunk(round % 2);
        filled(round, frame + case.offset());
        PLACE[reader].store(slot + case.offset(), SeqCst);
        let reads = READS.load(SeqCst);
        let lent = case.lend_with(page, frame, slot);
        let (end, stale) = (time_stamp() + PATIENCE, || STALE.load(SeqCst) != stale);
        while READS.load(SeqCst) == reads && !stale() && time_stamp() < end {
            spin_loop();
        }
        let read = READS.load(SeqCst) != reads;
        // One is enough.
        if stale() {
            break;
        }
        random.pause();
        // Now and then without waiting at once.
        let taken =
            if round % 3 == 2 { case.take_later(frame, later::LATER) | later::landed() } else { case.take(frame) };
        self::taken(round, frame + case.offset());
        random.pause();
        seen += u64::from(read && lent | taken == 0);
        if case.form != Form::Small && case.form != Form::Large {
            Case::take_all(frame);
            slot += LARGE;
        }
    }
    // Until the reader has looked once more.
    random.pause();
    over(case);
    SEEN.store(seen, SeqCst);
}

/// A hunt: `rounds` of `case`, with the revoker and the reader on these cores. Rounds in which it was read.
fn pair(case: Case, (revoker, reader): (usize, usize), comes_and_goes: bool, (rounds, seed): (u64, u64)) -> u64 {
    for (word, value) in PLAN.iter().zip([case.number(), rounds, reader as u64, seed]) {
        word.store(value, SeqCst);
    }
    EPOCH.store(0, SeqCst);
    PLACE[reader].store(0x7000_0000_0000, SeqCst);
    STAY[reader].store(if comes_and_goes { 0 } else { LOOP }, SeqCst);
    command(reader, if comes_and_goes { CALLS } else { CALL }, case.user());
    if revoker == 0 && reader != 0 {
        part(ROOT_UTCB_ADDRESS);
    } else {
        command(revoker, HUNT, 0);
        wait(revoker);
    }
    if comes_and_goes {
        until_it_ends(reader);
    }
    release(reader);
    SEEN.load(SeqCst)
}

fn row(checks: &mut Checks, case: Case, comes_and_goes: bool) {
    let rounds = if matches!(case.form, Form::Split | Form::Divided) { FEW } else { ROUNDS };
    let stale = STALE.load(SeqCst);
    let seen = pair(case, (0, 1), comes_and_goes, (rounds, case.number()));
    checks.check("rounds in which it was read", seen, rounds);
    checks.check("reads of what was taken", STALE.load(SeqCst) - stale, 0);
}

/// S8: the reader stays in its domain.
pub fn staying(checks: &mut Checks, _: usize, case: Case) {
    row(checks, case, false);
}

/// S9: the reader comes and goes.
pub fn coming(checks: &mut Checks, _: usize, case: Case) {
    row(checks, case, true);
}

/// The reader comes and goes: it calls the server of `domain` until it is told otherwise. Now and then another core may go
/// first; an emulator that runs one at a time would not let the revoker go on before its own turn is over.
pub fn come_and_go(core: usize, domain: u64) {
    let mut random = Random::new(core as u64);
    while COMMAND[core].load(SeqCst) == CALLS {
        call(portal_of(domain, core));
        if random.below(4) == 0 {
            spin_loop();
        }
    }
}

/// Makes turns random, where an emulator runs one core at a time: this core's clock ends the turn of whichever runs, wherever
/// that is. Most times are short, of the order of a turn.
pub fn noise(core: usize) {
    let mut random = Random::new(core as u64);
    while COMMAND[core].load(SeqCst) == NOISE {
        let longest = 1 << (10 + random.below(12));
        down(GO + CORES as u64, time_stamp() + 200 + random.below(longest));
    }
}

/// `count` revocations while another core reads: core 0 and core 1, or all pairs of cores in turn with noise from a third.
pub fn run(environment: &Environment, count: u64, all_pairs: bool) -> ExitStatus {
    crate::announce("hunter", "whether anybody reads what was taken");
    let mut checks = Checks::new("hunter");
    let cores = environment.hip().enabled_cpus().min(CORES);
    prepare(&mut checks, cores);
    let ends = if all_pairs { cores } else { 1 };
    let pairs = (0..ends).flat_map(|from| (0..cores).map(move |to| (from, to))).filter(|(from, to)| from != to);
    let pairs = pairs.filter(|&(_, to)| all_pairs || to == 1);
    let kinds = [(Form::Small, false), (Form::Small, true), (Form::Large, false), (Form::Large, true)];
    let number = (pairs.clone().count() * 2 * kinds.len()) as u64;
    let (each, mut done, mut seen) = (count.div_ceil(number.max(1)), 0, 0);
    for (revoker, reader) in pairs {
        let third = (1..cores).find(|core| all_pairs && ![revoker, reader].contains(core));
        third.into_iter().for_each(|core| command(core, NOISE, 0));
        for (form, grandchild) in kinds {
            for comes_and_goes in [false, true] {
                if STALE.load(SeqCst) != 0 {
                    break;
                }
                seen += pair(Case { form, grandchild }, (revoker, reader), comes_and_goes, (each, done));
                done += each;
            }
        }
        third.into_iter().for_each(|core| _ = until_it_ends(core));
        let stale = STALE.load(SeqCst);
        println!("hunter: core {revoker} takes, core {reader} reads: {done} revocations so far, {stale} stale reads");
    }
    checks.check("rounds in which it was read", seen, done);
    checks.check("reads of what was taken", STALE.load(SeqCst), 0);
    println!("hunter: {done} revocations, {} reads, {} stale", READS.load(SeqCst), STALE.load(SeqCst));
    checks.finish()
}

/// Ends what a driver does until it is enough.
fn until_it_ends(core: usize) -> bool {
    COMMAND[core].store(ENOUGH, SeqCst);
    wait(core)
}
