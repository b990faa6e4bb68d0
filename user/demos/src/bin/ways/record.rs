//! What happens, in order, as words that can be compared; and the random numbers that decide what happens.
//!
//! Invariants: as long as the same happens, the same numbers are drawn.
//! Concurrency: contexts of one core that take turns.
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use demos::raw::word;

/// Ways in which each round is gone through.
pub const WAYS: usize = 3;
/// Most words of one way through a round.
const LENGTH: usize = 8192;

static WORDS: [[AtomicU64; LENGTH]; WAYS] = [const { [const { AtomicU64::new(0) }; LENGTH] }; WAYS];
static LABELS: [[AtomicU64; LENGTH]; WAYS] = [const { [const { AtomicU64::new(0) }; LENGTH] }; WAYS];
static COUNTS: [AtomicU64; WAYS] = [const { AtomicU64::new(0) }; WAYS];
static WAY: AtomicU64 = AtomicU64::new(0);
static SEED: AtomicU64 = AtomicU64::new(0);

/// Begins to go through a round.
pub fn begin(way: usize) {
    WAY.store(way as u64, Relaxed);
    COUNTS[way].store(0, Relaxed);
}

/// Starts a sequence of random numbers.
pub fn seed(seed: u64) {
    SEED.store(seed, Relaxed);
}

/// Which way this is.
pub fn way() -> usize {
    WAY.load(Relaxed) as usize % WAYS
}

/// A random number (splitmix64).
pub fn random() -> u64 {
    let state = SEED.load(Relaxed).wrapping_add(0x9E37_79B9_7F4A_7C15);
    SEED.store(state, Relaxed);
    let state = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let state = (state ^ state >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^ state >> 31
}

/// A random number below `limit`.
pub fn below(limit: u64) -> u64 {
    random() % limit.max(1)
}

/// One of several.
pub fn one_of(choices: &[u64]) -> u64 {
    choices.get(below(choices.len() as u64) as usize).copied().unwrap_or(0)
}

/// Notes a word; the label says what it is.
pub fn note(actor: usize, what: u64, value: u64) {
    let way = way();
    let at = COUNTS[way].fetch_add(1, Relaxed) as usize % LENGTH;
    WORDS[way][at].store(value, Relaxed);
    LABELS[way][at].store((actor as u64) << 32 | what, Relaxed);
}

/// Notes a message page.
pub fn note_page(actor: usize, what: u64, page: u64) {
    let mut sum = 0_u64;
    for index in 0..512 {
        sum = (sum ^ word(page, index).load(Relaxed)).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(23);
    }
    note(actor, what, sum);
}

/// Words that were noted on this way.
pub fn length(way: usize) -> u64 {
    COUNTS[way].load(Relaxed)
}

/// The first place where another way was different from the first: index, labels and words of both.
pub fn difference(way: usize) -> Option<(usize, [u64; 2], [u64; 2])> {
    let of = |way: usize, at: usize| (LABELS[way][at].load(Relaxed), WORDS[way][at].load(Relaxed));
    let end = (length(0).max(length(way)) as usize).min(LENGTH);
    let at = (0..end).find(|&at| of(0, at) != of(way, at));
    let at = at.or((length(0) != length(way)).then_some(end.saturating_sub(1)))?;
    let (left, right) = (of(0, at), of(way, at));
    Some((at, [left.0, right.0], [left.1, right.1]))
}
