//! From the ticks of several batches to one figure.
//!
//! Invariants: a figure is rounded to the nearest whole tick per operation; the minimum of a cost is at most the median.
//! Concurrency: plain values.

/// Most batches of one operation.
pub const MAX_BATCHES: usize = 32;

/// The ticks of the batches of one operation.
#[derive(Clone, Copy, Debug)]
pub struct Batches {
    ticks: [u64; MAX_BATCHES],
    count: usize,
}

/// Ticks per operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Figure {
    /// Of the quickest batch; of a latency, the longest.
    pub minimum: u64,
    /// Of the middle one; of two, the slower.
    pub median: u64,
}

impl Batches {
    /// No batches.
    #[must_use]
    pub const fn new() -> Self {
        Self { ticks: [0; MAX_BATCHES], count: 0 }
    }

    /// Adds a batch; those beyond [`MAX_BATCHES`] are dropped.
    pub const fn add(&mut self, ticks: u64) {
        if self.count < MAX_BATCHES {
            self.ticks[self.count] = ticks;
            self.count += 1;
        }
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// The figure for batches of `repetitions` operations each; `None` without batches or operations.
    #[must_use]
    pub fn figure(&self, repetitions: u64) -> Option<Figure> {
        let mut sorted = self.ticks;
        let sorted = sorted.get_mut(..self.count)?;
        sorted.sort_unstable();
        let each = |ticks: &u64| ticks.saturating_add(repetitions / 2).checked_div(repetitions);
        Some(Figure { minimum: each(sorted.first()?)?, median: each(sorted.get(self.count / 2)?)? })
    }

    /// The figure for batches whose ticks are each the longest that something took: the longest of all, and the middle one.
    #[must_use]
    pub fn longest(&self) -> Option<Figure> {
        let longest = *self.ticks.get(..self.count)?.iter().max()?;
        self.figure(1).map(|figure| Figure { minimum: longest, ..figure })
    }
}

impl Default for Batches {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn batches(ticks: &[u64]) -> Batches {
        let mut batches = Batches::new();
        ticks.iter().for_each(|&ticks| batches.add(ticks));
        batches
    }

    #[test]
    fn a_figure_is_the_nearest_whole_tick_per_operation() {
        let figure = batches(&[1_499, 1_500, 9_000]).figure(1000);
        assert_eq!(figure, Some(Figure { minimum: 1, median: 2 }));
    }

    #[test]
    fn without_batches_or_operations_there_is_no_figure() {
        assert_eq!(batches(&[]).figure(10), None);
        assert_eq!(batches(&[5]).figure(0), None);
    }

    #[test]
    fn of_a_latency_the_longest_counts() {
        assert_eq!(batches(&[300, 900, 200]).longest(), Some(Figure { minimum: 900, median: 300 }));
        assert_eq!(batches(&[]).longest(), None);
    }

    proptest! {
        #[test]
        fn the_minimum_is_at_most_the_median(ticks in proptest::collection::vec(0..1_u64 << 60, 1..40), each in 1..10_000_u64) {
            let batches = batches(&ticks);
            prop_assert_eq!(batches.count(), ticks.len().min(MAX_BATCHES));
            prop_assert!(batches.figure(each).is_some_and(|figure| figure.minimum <= figure.median));
        }
    }
}
