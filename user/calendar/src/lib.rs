//! The civil calendar: dates, and seconds since 1970.
//!
//! Purpose: what a clock with registers for year, month and day takes, on either side of them.
//! Invariants: dates from 1970 on and seconds are each other's inverse; what lies before is the beginning of 1970.
//! Concurrency: plain values.
//! Source: Hinnant's algorithms: years begin in March, so that a leap day is the last of one; 400 years repeat.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

/// Seconds of a day.
pub const DAY: u64 = 86_400;
/// Days from 1 March of year 0 to the start of 1970, and of 400 years.
const BEFORE: u64 = 719_468;
const ERA: u64 = 146_097;

/// A date in the civil calendar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Date {
    /// From year 0 on.
    pub year: u64,
    /// 1 to 12.
    pub month: u64,
    /// 1 to 31; more than the month has are days of the next.
    pub day: u64,
    /// 0 to 86 399.
    pub second_of_day: u64,
}

impl Date {
    /// The date of a time in seconds since 1970.
    #[must_use]
    pub const fn of(seconds: u64) -> Self {
        let day = seconds / DAY + BEFORE;
        let (era, of_era) = (day / ERA, day % ERA);
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / (ERA - 1)) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        Self {
            year: era * 400 + year + (month >= 10) as u64,
            month: if month < 10 { month + 3 } else { month - 9 },
            day: of_year - (153 * month + 2) / 5 + 1,
            second_of_day: seconds % DAY,
        }
    }

    /// Seconds since 1970.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        let year = self.year.saturating_sub((self.month <= 2) as u64);
        let (era, of_era) = (year / 400, year % 400);
        let month = if self.month > 2 { self.month - 3 } else { self.month + 9 };
        let of_year = (153 * month + 2) / 5 + self.day.saturating_sub(1);
        let days = era * ERA + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
        days.saturating_sub(BEFORE) * DAY + self.second_of_day
    }

    /// Day of the week, 1 for Sunday to 7.
    #[must_use]
    pub const fn weekday(self) -> u64 {
        (self.seconds() / DAY + 4) % 7 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn days_that_are_known() {
        let date = |year, month, day| Date { year, month, day, second_of_day: 0 };
        assert_eq!(date(1970, 1, 1).seconds(), 0);
        assert_eq!((date(2026, 1, 1).seconds(), date(2026, 1, 1).weekday()), (1_767_225_600, 5));
        assert_eq!((date(2024, 2, 29).seconds(), date(2024, 3, 1).seconds()), (1_709_164_800, 1_709_251_200));
        assert_eq!(date(1900, 3, 1).seconds(), 0, "before 1970");
    }

    proptest! {
        #[test]
        fn dates_and_seconds_are_inverse(seconds in 0..253_402_300_800_u64) {
            prop_assert_eq!(Date::of(seconds).seconds(), seconds);
        }
    }
}
