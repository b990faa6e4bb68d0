//! How long a scheduling context may run before others of its priority get their turn.
//!
//! Purpose: the arithmetic of quanta in TSC ticks; the caller keeps the time at which a context was put on the core.
//! Invariants: at least one tick and at most the quantum is left, except between the charge that uses it up and the
//! release that follows. Nothing wraps: times saturate, and a clock that steps back charges nothing.
//! Concurrency: plain values.
//! Source: interface §5 (create_sc, yield, reschedule) and §8 (the quantum restarts when it is used up).

/// Where a context goes in the list of its priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before the others: it goes on as soon as its priority has its turn again.
    Head,
    /// Behind the others.
    Tail,
}

/// A quantum and what is left of it, in TSC ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Ticks of a full quantum.
    pub quantum: u64,
    /// Ticks that are left.
    pub left: u64,
}

impl Budget {
    /// A full quantum of so many microseconds at a TSC of `khz` kHz. It has at least one tick, and lasts at most as long
    /// as 64 bits count.
    pub fn new(microseconds: u64, khz: u32) -> Self {
        let ticks = match microseconds.checked_mul(khz.into()) {
            Some(product) => product / 1000,
            None => u64::try_from(u128::from(microseconds) * u128::from(khz) / 1000).unwrap_or(u64::MAX),
        };
        let quantum = ticks.max(1);
        Self { quantum, left: quantum }
    }

    /// What is left after a run from `since` to `now`, both TSC values; also the ticks of that run, which may be more
    /// than were left, for the account of run time.
    #[must_use]
    pub fn charge(self, since: u64, now: u64) -> (Self, u64) {
        let used = now.saturating_sub(since);
        (Self { left: self.left.saturating_sub(used), ..self }, used)
    }

    /// The TSC value at which a context that is put on the core at `now` will have used up what is left.
    pub fn deadline(self, now: u64) -> u64 {
        now.saturating_add(self.left)
    }

    /// Whether nothing is left.
    pub fn is_spent(self) -> bool {
        self.left == 0
    }

    /// For a context that leaves the core and can still run: where it goes, and with what. Without anything left it
    /// gets a full quantum and goes to the tail. Otherwise it keeps what is left, and goes to the tail only if it
    /// yields; one that is preempted, or has the choice made anew, stays at the head.
    #[must_use]
    pub fn release(self, yields: bool) -> (Self, Place) {
        let place = if yields || self.is_spent() { Place::Tail } else { Place::Head };
        (if self.is_spent() { Self { left: self.quantum, ..self } } else { self }, place)
    }
}

#[cfg(test)]
#[cfg(not(any(loom, shuttle)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 10 ms at 2 GHz.
    fn budget() -> Budget {
        Budget::new(10_000, 2_000_000)
    }

    #[test]
    fn a_quantum_is_microseconds_times_frequency_and_at_least_one_tick() {
        assert_eq!(budget(), Budget { quantum: 20_000_000, left: 20_000_000 });
        assert_eq!(Budget::new(1, 999).quantum, 1);
        assert_eq!(Budget::new((1 << 52) - 1, u32::MAX).quantum, u64::MAX);
    }

    #[test]
    fn yield_goes_to_the_tail_with_what_is_left() {
        let (left, used) = budget().charge(1000, 6_001_000);
        assert_eq!(used, 6_000_000);
        assert_eq!(left.release(true), (Budget { left: 14_000_000, ..budget() }, Place::Tail));
    }

    #[test]
    fn reschedule_and_preemption_stay_at_the_head_with_what_is_left() {
        let (left, _) = budget().charge(1000, 6_001_000);
        assert_eq!(left.release(false), (left, Place::Head));
    }

    #[test]
    fn a_used_up_quantum_restarts_at_the_tail() {
        let (spent, used) = budget().charge(0, 20_000_001);
        assert!(spent.is_spent());
        assert_eq!(used, 20_000_001);
        assert_eq!(spent.release(false), (budget(), Place::Tail));
        assert_eq!(spent.release(true), (budget(), Place::Tail));
    }

    #[test]
    fn times_saturate_instead_of_wrapping() {
        assert_eq!(budget().charge(50, 40), (budget(), 0));
        assert_eq!(budget().deadline(u64::MAX - 1), u64::MAX);
        assert!(budget().charge(0, u64::MAX).0.is_spent());
    }

    proptest! {
        #[test]
        fn a_quantum_is_spent_exactly_when_its_deadline_has_come(
            microseconds in 1..1u64 << 52, khz in 1u32.., since in 0..u64::MAX / 2, run in 0..u64::MAX / 2,
        ) {
            let full = Budget::new(microseconds, khz);
            let (left, used) = full.charge(since, since + run);
            prop_assert_eq!(used, run);
            prop_assert_eq!(left.is_spent(), full.deadline(since) <= since + run);
            let (next, _) = left.release(false);
            prop_assert!(next.left > 0 && next.left <= next.quantum);
        }

        #[test]
        fn a_run_in_pieces_costs_what_it_costs_in_one(runs in prop::collection::vec(0u64..1 << 20, 0..20)) {
            let total: u64 = runs.iter().sum();
            let pieces = runs.iter().fold((budget(), 0), |(budget, now), run| (budget.charge(now, now + run).0, now + run));
            prop_assert_eq!(pieces.0, budget().charge(0, total).0);
        }
    }
}
