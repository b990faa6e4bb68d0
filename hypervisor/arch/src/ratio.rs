//! Ratios of frequencies.
//!
//! Purpose: from a calibration to kHz, and from TSC ticks to timer ticks without a division per deadline.
//! Invariants: no overflow for frequencies up to 2^40 Hz; a deadline in the past or at once becomes one tick, because
//! a timer count of 0 means "never".
//! Concurrency: pure functions.
//! Source: none needed.

/// Frequency in kHz of a counter that made `ticks` while a reference of `hertz` made `reference` ticks; `None` if the
/// reference did not move.
pub fn kilohertz(ticks: u64, reference: u64, hertz: u64) -> Option<u32> {
    let product = u128::from(ticks) * u128::from(hertz);
    let khz = product.checked_div(u128::from(reference) * 1000)?;
    u32::try_from(khz).ok().filter(|&khz| khz != 0)
}

/// A factor between two counters, 32 bits after the binary point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Factor(pub u64);

impl Factor {
    /// Converts ticks of a counter of `from` kHz (not 0) to ticks of one of `to` kHz.
    pub fn new(from: u32, to: u32) -> Self {
        Self((u64::from(to) << 32) / u64::from(from.max(1)))
    }

    /// Timer ticks for `ticks`, between 1 and the 32-bit timer's maximum; longer waits are chained by the caller.
    pub fn timer_ticks(self, ticks: u64) -> u32 {
        let scaled = (u128::from(ticks) * u128::from(self.0)) >> 32;
        scaled.clamp(1, u128::from(u32::MAX)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calibration_gives_kilohertz() {
        assert_eq!(kilohertz(20_000_000, 35_795, 3_579_545), Some(2_000_025));
        assert_eq!(kilohertz(20_000_000, 0, 3_579_545), None);
        assert_eq!(kilohertz(0, 35_795, 3_579_545), None);
    }

    #[test]
    fn deadlines_become_timer_ticks_within_bounds() {
        let factor = Factor::new(2_000_000, 62_500);
        assert_eq!(factor.timer_ticks(2_000_000_000), 62_500_000);
        assert_eq!(factor.timer_ticks(0), 1);
        assert_eq!(factor.timer_ticks(u64::MAX), u32::MAX);
    }
}
