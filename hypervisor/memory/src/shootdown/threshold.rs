//! Up to how many pages it costs less to forget them one by one than to forget everything.
//!
//! Invariants: the result is 1 to [`MOST`].
//! Concurrency: plain values.
//! Source: lecture E:532-539 (constants of a processor are measured, not assumed); `docs/src/shootdown.md`.
use super::MOST;
use core::fmt;

/// What the boot core has measured, in ticks; each the least of several.
#[derive(Clone, Copy, Debug, Default)]
pub struct Costs {
    /// To forget [`Self::PAGES`] pages, one by one.
    pub single: u64,
    /// To forget everything.
    pub all: u64,
    /// To read from each of these pages after they were forgotten,
    pub cold: u64,
    /// and once more.
    pub warm: u64,
}

impl Costs {
    /// Pages that a program is taken to go on with, whose translations it has to find again.
    pub const PAGES: u64 = 32;
    /// The result where nothing can be told from the measurement.
    pub const USUAL: u64 = 16;

    /// So many pages are forgotten one by one; of more, everything is.
    #[must_use]
    pub fn threshold(&self) -> u64 {
        // Where instructions are counted, not their time, a page that was forgotten is found again in less than a tick.
        match self.cold.checked_sub(self.warm) {
            Some(refill @ Self::PAGES..) if self.single != 0 => {
                let pages =
                    u128::from(self.all.saturating_add(refill)) * u128::from(Self::PAGES) / u128::from(self.single);
                pages.clamp(1, MOST.into()) as u64
            }
            _ => Self::USUAL,
        }
    }
}

impl fmt::Display for Costs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { single, all, cold, warm } = self;
        write!(
            f,
            "{} of them cost {single} ticks, everything {all}, reading {cold} afterwards, else {warm}",
            Self::PAGES
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threshold(single: u64, all: u64, cold: u64, warm: u64) -> u64 {
        Costs { single, all, cold, warm }.threshold()
    }

    #[test]
    fn as_many_pages_as_cost_no_more_than_everything_with_what_is_found_again() {
        // 100 ticks a page; 300 for everything, and 32 pages at 20 to be found again.
        assert_eq!(threshold(3200, 300, 740, 100), 9);
        assert_eq!(threshold(3200, 260, 740, 100), 9);
        assert_eq!(threshold(3200, 259, 740, 100), 8);
    }

    #[test]
    fn it_stays_within_its_bounds() {
        assert_eq!(threshold(1 << 40, 1, 33, 1), 1);
        assert_eq!(threshold(1, 1 << 40, 33, 1), MOST);
        assert_eq!(threshold(1, u64::MAX, u64::MAX, 0), MOST);
    }

    #[test]
    fn a_measurement_without_sense_says_nothing() {
        for (single, cold, warm) in [(96, 160, 160), (96, 191, 160), (96, 100, 200), (0, 300, 100)] {
            assert_eq!(threshold(single, 1, cold, warm), Costs::USUAL);
        }
    }
}
