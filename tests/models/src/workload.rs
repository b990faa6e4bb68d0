//! Work for wake-up queues.
//!
//! Purpose: threads that call each other with timeouts. Most calls are answered before the next tick, some never.
//! Invariants: a thread waits for one thing at a time; the same seed gives the same steps.
//! Concurrency: none.
//! Source: lecture E:789-799 (a timeout per message: insert, remove when the message came, wake up when it did not);
//! the mixture is ours.
use crate::TICK;

/// One thing that happens to a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A thread begins to wait for a time, in milliseconds.
    Insert(usize, u64),
    /// A waiting thread gets its message.
    Remove(usize),
    /// The timer interrupt at a time.
    Tick(u64),
}

/// What threads do.
#[derive(Clone, Copy, Debug)]
pub struct Mixture {
    /// Number of threads.
    pub threads: usize,
    /// How many of them wait for long.
    pub waiting: usize,
    /// Calls per tick, by the other threads. Three quarters of them are answered at once, the others with luck.
    pub calls: usize,
    /// Ticks.
    pub ticks: u64,
    /// Exponent of the longest timeout: 2^`longest` milliseconds. Those of the threads that wait for long have all
    /// orders of magnitude from 2^10 ms on.
    pub longest: u32,
}

/// A generator of pseudo-random numbers (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % below.max(1)
    }

    /// Of all orders of magnitude from 2^`from` to 2^`to` equally often.
    fn magnitude(&mut self, from: u32, to: u32) -> u64 {
        let exponent = from + self.next(u64::from(to - from)) as u32;
        (1 << exponent) + self.next(1 << exponent)
    }
}

/// The steps of a run.
#[must_use]
pub fn steps(mixture: Mixture, seed: u64) -> Vec<Step> {
    let mut random = Random(seed | 1);
    let mut steps = Vec::new();
    // What every thread waits for.
    let mut wakeups = vec![None; mixture.threads];
    for tick in 0..=mixture.ticks {
        let now = tick * TICK;
        if tick > 0 {
            steps.push(Step::Tick(now));
            wakeups.iter_mut().for_each(|wakeup| *wakeup = wakeup.filter(|time| *time > now));
        }
        for (thread, waits) in wakeups.iter_mut().enumerate().take(mixture.waiting).filter(|(_, waits)| waits.is_none())
        {
            let wakeup = now + random.magnitude(10, mixture.longest);
            *waits = Some(wakeup);
            steps.push(Step::Insert(thread, wakeup));
        }
        let callers = (mixture.threads - mixture.waiting) as u64;
        for _ in 0..if callers == 0 { 0 } else { mixture.calls } {
            let thread = mixture.waiting + random.next(callers) as usize;
            if wakeups[thread].take().is_some() {
                // The answer to an earlier call.
                steps.push(Step::Remove(thread));
                continue;
            }
            let wakeup = now + random.magnitude(2, 14.min(mixture.longest));
            steps.push(Step::Insert(thread, wakeup));
            if random.next(4) == 0 {
                wakeups[thread] = Some(wakeup);
            } else {
                steps.push(Step::Remove(thread));
            }
        }
    }
    steps
}
