//! The date that the machine's clock shows.
//!
//! Invariants: a clock that is not there, or shows what is no date, gives [`UNKNOWN`], after a bounded time.
//! Concurrency: for one at a time: a register is chosen, then read.
//! Source: Motorola MC146818A data sheet.
use calendar::Date;

/// Seconds from 1970 to the beginning of 2026: for machines whose clock shows nothing.
pub const UNKNOWN: u64 = 1_767_225_600;

/// Readings before the clock is given up.
const PATIENCE: u32 = 100_000;
/// Second, minute, hour, day, month, year of the century.
const FIELDS: [u8; 6] = [0, 2, 4, 7, 8, 9];
const STATUS: u8 = 0x0A;
const CONTROL: u8 = 0x0B;
const IN_PROGRESS: u8 = 1 << 7;
const BINARY: u8 = 1 << 2;
const HOURS_24: u8 = 1 << 1;
const AFTERNOON: u8 = 1 << 7;

/// Seconds since 1970 by a clock whose registers `register` reads.
pub fn read(mut register: impl FnMut(u8) -> u8) -> u64 {
    let mut last = None;
    for _ in 0..PATIENCE {
        if register(STATUS) & IN_PROGRESS != 0 {
            continue;
        }
        // Two readings that are the same are not of different times.
        let fields = FIELDS.map(&mut register);
        if last == Some(fields) {
            return seconds(fields, register(CONTROL)).unwrap_or(UNKNOWN);
        }
        last = Some(fields);
    }
    UNKNOWN
}

/// Seconds since 1970; `None` if this is no date.
fn seconds([second, minute, hour, day, month, year]: [u8; 6], control: u8) -> Option<u64> {
    let number = |value: u8, range: core::ops::RangeInclusive<u64>| {
        let number = match value {
            value if control & BINARY != 0 => value.into(),
            value if value >> 4 > 9 || value & 0xF > 9 => return None,
            value => u64::from(value >> 4) * 10 + u64::from(value & 0xF),
        };
        range.contains(&number).then_some(number)
    };
    let hour = if control & HOURS_24 != 0 {
        number(hour, 0..=23)?
    } else {
        number(hour & !AFTERNOON, 1..=12)? % 12 + if hour & AFTERNOON != 0 { 12 } else { 0 }
    };
    let (minute, second) = (number(minute, 0..=59)?, number(second, 0..=59)?);
    let (day, month, year) = (number(day, 1..=31)?, number(month, 1..=12)?, 2000 + number(year, 0..=99)?);
    Some(Date { year, month, day, second_of_day: (hour * 60 + minute) * 60 + second }.seconds())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_counted_from_1970() {
        let decimal = |fields| seconds(fields, HOURS_24);
        assert_eq!(decimal([0x42, 0x12, 0x14, 0x21, 0x11, 0x26]), Some(1_795_270_362));
        assert_eq!(decimal([0, 0, 0, 1, 1, 0x26]), Some(UNKNOWN));
        assert_eq!(decimal([0x59, 0x59, 0x23, 0x29, 2, 0x24]), Some(1_709_251_199));
        // 2 in the afternoon, in binary; midnight and noon.
        assert_eq!(seconds([42, 12, 0x82, 21, 11, 26], BINARY), Some(1_795_270_362));
        assert_eq!(
            [0x12, 0x92].map(|hour| seconds([0, 0, hour, 1, 1, 0x26], 0)),
            [Some(UNKNOWN), Some(UNKNOWN + 43_200)]
        );
        for wrong in
            [[0x60, 0, 0, 1, 1, 0], [0, 0, 0x24, 1, 1, 0], [0, 0, 0, 0, 1, 0], [0, 0, 0, 1, 0x13, 0], [0xFF; 6]]
        {
            assert_eq!(decimal(wrong), None);
        }
    }

    #[test]
    fn a_clock_is_read_between_updates_or_given_up() {
        let mut readings = 0;
        let clock = |index| {
            readings += 1;
            match (index, readings) {
                (STATUS, 1..5) => IN_PROGRESS | 0x26,
                (STATUS, _) => 0x26,
                (CONTROL, _) => HOURS_24,
                // The first look is torn.
                (0, ..10) => 0x59,
                (7 | 8, _) => 1,
                (9, _) => 0x26,
                _ => 0,
            }
        };
        assert_eq!(read(clock), UNKNOWN);
        assert_eq!(read(|_| 0xFF), UNKNOWN);
        let mut count = 0;
        assert_eq!(
            read(|index| {
                count += 1;
                if index == STATUS { 0 } else { count as u8 }
            }),
            UNKNOWN
        );
    }
}
