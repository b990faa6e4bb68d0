//! What the hostile domain shares with the program that made it: counters, stacks, pages to play with.
//!
//! Invariants: a slot belongs to one context at a time, unless the hostile domain runs two on one stack, which is its own
//! loss. Everything the hostile domain can write to is in [`SHARED`]; the supervisor believes nothing of it but counts.
//! Concurrency: atomics.
use core::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use crate::raw::time_stamp;

/// Contexts of the hostile domain that the supervisor makes (a worker and a server for each core), and that it makes itself.
pub const SLOTS: usize = 72;
/// Slots of workers and of servers, by core.
pub const WORKERS: usize = 0;
pub const SERVERS: usize = 4;
/// First slot of what the domain makes itself.
pub const OWN: usize = 8;
/// Order of [`SHARED`] in pages.
pub const ORDER: u32 = 7;
/// Pages that are free to be handed on.
pub const PLAYGROUND: usize = 16;
/// Steps of all contexts between two turns of the supervisor.
const STEPS: i64 = 48;
/// Ticks that a context waits for the supervisor.
const WAIT: u64 = 50_000_000;

/// What one context of the hostile domain counts.
#[repr(C, align(512))]
pub struct Slot {
    random: AtomicU64,
    /// Steps that it has made.
    pub steps: AtomicU64,
    /// Not 0 while it serves a call.
    pub serves: AtomicU64,
    /// Hypercalls by number: how often, and how often with success.
    pub tried: [AtomicU64; 16],
    pub done: [AtomicU64; 16],
}

impl Slot {
    const fn new() -> Self {
        Self {
            random: AtomicU64::new(0),
            steps: AtomicU64::new(0),
            serves: AtomicU64::new(0),
            tried: [const { AtomicU64::new(0) }; 16],
            done: [const { AtomicU64::new(0) }; 16],
        }
    }

    /// Whether the counters can be true: a context that went astray may have written anything.
    pub fn is_plausible(&self) -> bool {
        let steps = self.steps.load(Relaxed);
        let pairs = self.tried.iter().zip(&self.done).map(|(tried, done)| (tried.load(Relaxed), done.load(Relaxed)));
        steps < 1 << 32 && pairs.into_iter().all(|(tried, done)| done <= tried && tried <= 2 * steps + 100)
    }

    /// Starts the sequence of random numbers anew.
    pub fn seed(&self, seed: u64) {
        self.random.store(seed, Relaxed);
    }

    /// The next random number (SplitMix64).
    pub fn next(&self) -> u64 {
        let state = self.random.load(Relaxed).wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.random.store(state, Relaxed);
        let mixed = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// A random number below `limit`.
    pub fn below(&self, limit: u64) -> u64 {
        (self.next() >> 8) % limit.max(1)
    }

    /// One of these.
    pub fn pick(&self, from: &[u64]) -> u64 {
        from.get(self.below(from.len() as u64) as usize).copied().unwrap_or(0)
    }

    /// True once in `times`.
    pub fn once_in(&self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// Adds one to a counter, which the calling context alone changes.
pub fn count(counter: &AtomicU64) {
    counter.store(counter.load(Relaxed).wrapping_add(1), Relaxed);
}

/// The pages of the hostile domain.
#[repr(C, align(0x8_0000))]
pub struct Shared {
    cores: AtomicU64,
    /// Steps that are left until the supervisor has had its turn; may fall below 0.
    left: AtomicI64,
    pub slots: [Slot; SLOTS],
    // Between the counters and what overflows.
    pub playground: [[AtomicU64; 512]; PLAYGROUND],
    pub stacks: [[AtomicU64; 512]; SLOTS],
}

const _: () = assert!(size_of::<Shared>() == 4096 << ORDER && align_of::<Shared>() == 4096 << ORDER);

impl Shared {
    /// How many cores there are.
    pub fn cores(&self) -> u64 {
        self.cores.load(Relaxed)
    }

    /// The supervisor has had its turn, and says how many cores there are: the hostile domain can write here too.
    pub fn next_turn(&self, cores: u64) {
        self.cores.store(cores, Relaxed);
        self.left.store(STEPS, Relaxed);
    }

    /// Waits until the supervisor has given back what the domain has lost, if enough was done since; not for ever. How much
    /// succeeds would depend on the machine's speed otherwise.
    pub fn pace(&self) {
        if self.left.fetch_sub(1, Relaxed) <= 0 {
            let end = time_stamp() + WAIT;
            while self.left.load(Relaxed) <= 0 && time_stamp() < end {
                core::hint::spin_loop();
            }
        }
    }
}

pub static SHARED: Shared = Shared {
    cores: AtomicU64::new(1),
    left: AtomicI64::new(STEPS),
    slots: [const { Slot::new() }; SLOTS],
    stacks: [const { [const { AtomicU64::new(0) }; 512] }; SLOTS],
    playground: [const { [const { AtomicU64::new(0) }; 512] }; PLAYGROUND],
};

/// First page of [`SHARED`].
pub fn shared_page() -> u64 {
    (&raw const SHARED).addr() as u64 >> 12
}

/// First page that is free to be handed on.
pub fn playground_page() -> u64 {
    (&raw const SHARED.playground).addr() as u64 >> 12
}

/// The stack of a slot ends here.
pub fn stack_top(slot: usize) -> u64 {
    (&raw const SHARED.stacks[slot % SLOTS]).addr() as u64 + 4096
}

/// The slot to whose stack `stack` points.
pub fn slot_of(stack: u64) -> Option<usize> {
    let base = (&raw const SHARED.stacks).addr() as u64;
    let index = stack.checked_sub(base + 1)? / 4096;
    (index < SLOTS as u64).then_some(index as usize)
}

/// Message page of a slot, in the hostile domain.
pub const fn message_page(slot: usize) -> u64 {
    0x5000_0000 + 0x1000 * slot as u64
}
