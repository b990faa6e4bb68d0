//! Device model: the real-time clock with its 128 bytes of CMOS memory, ports 0x70 and 0x71.
//!
//! Time is nanoseconds since the start of the machine, added to a date that the owner gives. An update takes no time; that
//! one is near is shown as long before as on the original. While the guest sets the clock (SET), the time it shows are the
//! bytes that are written; they become a date when it lets the clock go.
//! Invariants: no write by the guest panics.
//! Concurrency: plain value.
//! Source: Motorola MC146818A data sheet.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

use calendar::{DAY, Date};

const SECOND: u64 = 1_000_000_000;

const REGISTER_A: u8 = 0x0A;
const REGISTER_B: u8 = 0x0B;
const REGISTER_C: u8 = 0x0C;
const REGISTER_D: u8 = 0x0D;
const CENTURY: u8 = 0x32;
/// The registers of the time.
const TIME: [u8; 8] = [0, 2, 4, 6, 7, 8, 9, CENTURY];

/// Register A: an update is less than this many nanoseconds away.
const IN_PROGRESS: u8 = 1 << 7;
const NOTICE: u64 = 244_000;

const SET: u8 = 1 << 7;
const PERIODIC: u8 = 1 << 6;
const ALARM: u8 = 1 << 5;
const UPDATE: u8 = 1 << 4;
const BINARY: u8 = 1 << 2;
const HOURS_24: u8 = 1 << 1;
/// An alarm value with these bits matches always.
const ANY: u8 = 0xC0;

/// The clock.
#[derive(Debug)]
pub struct Rtc {
    index: u8,
    memory: [u8; 128],
    /// Seconds since 1970 at time 0 of the machine, as the guest has set it.
    epoch: i64,
    flags: u8,
    /// Time of the last look at interrupts.
    seen: u64,
}

impl Rtc {
    /// A clock that shows `seconds` after the start of 1970 at time 0.
    #[must_use]
    pub const fn new(seconds: u64) -> Self {
        let mut memory = [0; 128];
        memory[REGISTER_A as usize] = 0x26;
        memory[REGISTER_B as usize] = HOURS_24;
        Self { index: 0, memory, epoch: seconds as i64, flags: 0, seen: 0 }
    }

    /// Time and memory stay, since they have a battery; interrupts are off.
    pub fn reset(&mut self) {
        self.memory[REGISTER_B as usize] &= !(PERIODIC | ALARM | UPDATE);
        (self.index, self.flags) = (0, 0);
    }

    /// Seconds since 1970 at time 0.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch as u64
    }

    /// Reads port 0x70 or 0x71.
    pub fn read(&mut self, port: u16, now: u64) -> u8 {
        if port & 1 == 0 {
            return 0xFF;
        }
        self.interrupt(now);
        match self.index {
            REGISTER_A => {
                let near = !self.is_stopped() && now % SECOND >= SECOND - NOTICE;
                self.memory[usize::from(REGISTER_A)] | if near { IN_PROGRESS } else { 0 }
            }
            REGISTER_C => core::mem::take(&mut self.flags),
            REGISTER_D => 0x80,
            index if TIME.contains(&index) && !self.is_stopped() => self.shown(index, now),
            index => self.memory.get(usize::from(index)).copied().unwrap_or(0xFF),
        }
    }

    /// A register of the time, as it goes.
    fn shown(&self, index: u8, now: u64) -> u8 {
        let date = self.date(now);
        match index {
            0 => self.show(date.second_of_day % 60),
            2 => self.show(date.second_of_day / 60 % 60),
            4 => self.show_hour(date.second_of_day / 3600),
            6 => self.show(date.weekday()),
            7 => self.show(date.day),
            8 => self.show(date.month),
            9 => self.show(date.year % 100),
            _ => self.show(date.year / 100),
        }
    }

    /// Writes port 0x70 or 0x71.
    pub fn write(&mut self, port: u16, value: u8, now: u64) {
        if port & 1 == 0 {
            self.index = value & 0x7F;
            return;
        }
        self.interrupt(now);
        let index = self.index;
        match index {
            6 | REGISTER_C | REGISTER_D => {}
            index if TIME.contains(&index) && !self.is_stopped() => self.set(index, value, now),
            REGISTER_A => self.memory[usize::from(REGISTER_A)] = value & 0x7F,
            REGISTER_B => self.set_control(value, now),
            _ => {
                if let Some(slot) = self.memory.get_mut(usize::from(index)) {
                    *slot = value;
                }
            }
        }
    }

    /// Stops the clock, or lets it go on from what was written meanwhile.
    fn set_control(&mut self, value: u8, now: u64) {
        let was_stopped = self.is_stopped();
        if !was_stopped {
            for index in TIME {
                self.memory[usize::from(index)] = self.shown(index, now);
            }
        }
        // Who sets the clock hears of no updates.
        self.memory[usize::from(REGISTER_B)] = if value & SET != 0 { value & !UPDATE } else { value };
        if was_stopped && !self.is_stopped() {
            // From the year on, and from a day that all months have.
            for (index, value) in [(7, 1), (CENTURY, 0), (9, 0), (8, 0), (7, 0), (4, 0), (2, 0), (0, 0)] {
                let value = if value == 0 { self.memory[usize::from(index)] } else { value };
                self.set(index, value, now);
            }
        }
    }

    const fn is_stopped(&self) -> bool {
        self.control() & SET != 0
    }

    /// Whether its interrupt line is asserted now.
    pub fn interrupt(&mut self, now: u64) -> bool {
        let control = self.control();
        let (before, after) = (self.seen, now.max(self.seen));
        self.seen = after;
        if after / SECOND != before / SECOND && !self.is_stopped() {
            self.flags |= UPDATE;
            // More than a day ago is as good as a day ago.
            let (first, last) = ((before / SECOND + 1).max((after / SECOND).saturating_sub(DAY)), after / SECOND);
            if control & ALARM != 0 && self.alarm_in(first, last) {
                self.flags |= ALARM;
            }
        }
        if let Some(period) = self.period()
            && after / period != before / period
        {
            self.flags |= PERIODIC;
        }
        let asserted = self.flags & control & (PERIODIC | ALARM | UPDATE) != 0;
        self.flags = self.flags & !0x80 | u8::from(asserted) << 7;
        asserted
    }

    /// When the line may be asserted next; `None` if no interrupt is enabled.
    #[must_use]
    pub fn deadline(&self, now: u64) -> Option<u64> {
        let control = self.control();
        let second = (control & (ALARM | UPDATE) != 0).then(|| (now / SECOND + 1) * SECOND);
        let period = self.period().filter(|_| control & PERIODIC != 0).map(|period| (now / period + 1) * period);
        second.into_iter().chain(period).min()
    }

    const fn control(&self) -> u8 {
        self.memory[REGISTER_B as usize]
    }

    /// Nanoseconds of the periodic interrupt.
    fn period(&self) -> Option<u64> {
        let rate = match self.memory[REGISTER_A as usize] & 0xF {
            0 => return None,
            rate @ 1..=2 => rate + 7,
            rate => rate,
        };
        Some(SECOND * (1 << (rate - 1)) / 32_768)
    }

    fn alarm_in(&self, first: u64, last: u64) -> bool {
        let field = |index: usize| self.memory.get(index).copied().unwrap_or(ANY);
        let (second, minute, hour) = (field(1), field(3), field(5));
        (first..=last).any(|time| {
            let of_day = self.date(time.saturating_mul(SECOND)).second_of_day;
            let matches = |value: u8, shown: u8| value & ANY == ANY || value == shown;
            matches(second, self.show(of_day % 60))
                && matches(minute, self.show(of_day / 60 % 60))
                && matches(hour, self.show_hour(of_day / 3600))
        })
    }

    fn date(&self, now: u64) -> Date {
        let seconds = self.epoch.saturating_add_unsigned(now / SECOND).max(0) as u64;
        Date::of(seconds)
    }

    fn show(&self, value: u64) -> u8 {
        let value = (value % 100) as u8;
        if self.control() & BINARY != 0 { value } else { ((value / 10) << 4) | (value % 10) }
    }

    fn show_hour(&self, hour: u64) -> u8 {
        if self.control() & HOURS_24 != 0 {
            return self.show(hour);
        }
        let afternoon = if hour >= 12 { 0x80 } else { 0 };
        self.show((hour + 11) % 12 + 1) | afternoon
    }

    fn understand(&self, value: u8) -> u64 {
        u64::from(if self.control() & BINARY != 0 { value } else { (value >> 4) * 10 + (value & 0xF) })
    }

    /// Sets one field of the time; what makes no sense is taken modulo its range.
    fn set(&mut self, index: u8, value: u8, now: u64) {
        let old = self.date(now);
        let mut new = old;
        let (hour, rest) = (old.second_of_day / 3600, old.second_of_day % 3600);
        let number = self.understand(value & if index == 4 { 0x7F } else { 0xFF });
        match index {
            0 => new.second_of_day = old.second_of_day / 60 * 60 + number % 60,
            2 => new.second_of_day = hour * 3600 + number % 60 * 60 + rest % 60,
            4 if self.control() & HOURS_24 != 0 => new.second_of_day = number % 24 * 3600 + rest,
            4 => new.second_of_day = (number % 12 + if value & 0x80 != 0 { 12 } else { 0 }) * 3600 + rest,
            7 => new.day = number.clamp(1, 31),
            8 => new.month = number.clamp(1, 12),
            9 => new.year = old.year / 100 * 100 + number % 100,
            _ => new.year = number.clamp(19, 99) * 100 + old.year % 100,
        }
        self.epoch = self.epoch.saturating_add(new.seconds() as i64 - old.seconds() as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn get(rtc: &mut Rtc, index: u8, now: u64) -> u8 {
        rtc.write(0x70, index, now);
        rtc.read(0x71, now)
    }

    fn put(rtc: &mut Rtc, index: u8, value: u8, now: u64) {
        rtc.write(0x70, index, now);
        rtc.write(0x71, value, now);
    }

    #[test]
    fn it_shows_the_date_in_decimal_digits_or_binary() {
        // 2026-11-21 14:12:42, a Saturday.
        let mut rtc = Rtc::new(1_795_270_362);
        let shown: Vec<_> = [CENTURY, 9, 8, 7, 6, 4, 2, 0].map(|index| get(&mut rtc, index, 0)).into();
        assert_eq!(shown, [0x20, 0x26, 0x11, 0x21, 0x07, 0x14, 0x12, 0x42]);
        put(&mut rtc, REGISTER_B, BINARY, 0);
        assert_eq!((get(&mut rtc, 9, 0), get(&mut rtc, 4, 0)), (26, 0x82), "2 in the afternoon");
        assert_eq!(get(&mut rtc, 0, 18 * SECOND), 0);
    }

    #[test]
    fn it_goes_on_from_what_the_guest_sets() {
        let mut rtc = Rtc::new(0);
        for (index, value) in [(CENTURY, 0x20), (9, 0x24), (8, 2), (7, 0x29), (4, 0x23), (2, 0x59), (0, 0x59)] {
            put(&mut rtc, index, value, 0);
        }
        assert_eq!([9, 8, 7, 4].map(|index| get(&mut rtc, index, 0)), [0x24, 2, 0x29, 0x23]);
        assert_eq!([9, 8, 7, 4].map(|index| get(&mut rtc, index, SECOND)), [0x24, 3, 1, 0]);
    }

    #[test]
    fn enabled_interrupts_hold_the_line_until_they_are_read() {
        let mut rtc = Rtc::new(0);
        assert_eq!(rtc.deadline(0), None);
        put(&mut rtc, REGISTER_B, HOURS_24 | UPDATE, 0);
        assert_eq!(rtc.deadline(0), Some(SECOND));
        assert!(!rtc.interrupt(SECOND - 1) && rtc.interrupt(SECOND));
        assert_eq!(get(&mut rtc, REGISTER_C, SECOND) & 0x90, 0x90);
        assert!(!rtc.interrupt(SECOND));
        put(&mut rtc, REGISTER_B, HOURS_24 | ALARM, SECOND);
        for (index, value) in [(1, 5), (3, 0), (5, 0xFF)] {
            put(&mut rtc, index, value, SECOND);
        }
        assert!(!rtc.interrupt(4 * SECOND) && rtc.interrupt(5 * SECOND));
        put(&mut rtc, REGISTER_B, HOURS_24 | PERIODIC, 6 * SECOND);
        let _ = get(&mut rtc, REGISTER_C, 6 * SECOND);
        assert!(rtc.interrupt(6 * SECOND + 1_000_000), "1024 in a second");
    }

    #[test]
    fn a_clock_that_is_stopped_takes_the_fields_in_any_order() {
        // 31 January 2026, as Linux sets another date: the month is written while the day is still one that it lacks.
        let mut rtc = Rtc::new(1_769_817_600);
        put(&mut rtc, REGISTER_B, HOURS_24 | UPDATE | SET, 0);
        for (index, value) in [(9, 0x28), (8, 2), (7, 0x29), (4, 0x12), (2, 0x34), (0, 0x56)] {
            put(&mut rtc, index, value, SECOND / 2);
        }
        assert_eq!([0, 7].map(|index| get(&mut rtc, index, 5 * SECOND)), [0x56, 0x29], "it stands");
        assert!(!rtc.interrupt(6 * SECOND));
        put(&mut rtc, REGISTER_B, HOURS_24, 6 * SECOND);
        let shown = [CENTURY, 9, 8, 7, 4, 2, 0].map(|index| get(&mut rtc, index, 6 * SECOND));
        assert_eq!(shown, [0x20, 0x28, 2, 0x29, 0x12, 0x34, 0x56]);
        assert_eq!((get(&mut rtc, 6, 6 * SECOND), get(&mut rtc, 0, 8 * SECOND)), (3, 0x58), "a Tuesday");
    }

    #[test]
    fn an_update_is_announced() {
        let mut rtc = Rtc::new(0);
        for (now, near) in [(0, 0), (SECOND - NOTICE - 1, 0), (SECOND - NOTICE, IN_PROGRESS), (SECOND, 0)] {
            assert_eq!(get(&mut rtc, REGISTER_A, now) & IN_PROGRESS, near);
        }
        put(&mut rtc, REGISTER_B, SET, SECOND);
        assert_eq!(get(&mut rtc, REGISTER_A, 2 * SECOND - 1) & IN_PROGRESS, 0);
    }

    #[test]
    fn memory_keeps_what_is_written() {
        let mut rtc = Rtc::new(0);
        put(&mut rtc, 0x0F, 0xA5, 0);
        assert_eq!((get(&mut rtc, 0x0F, 0), get(&mut rtc, REGISTER_D, 0), rtc.read(0x70, 0)), (0xA5, 0x80, 0xFF));
    }

    proptest! {
        #[test]
        fn no_guest_makes_it_panic(steps in proptest::collection::vec((any::<u8>(), any::<u8>(), any::<u64>()), 0..100)) {
            let mut rtc = Rtc::new(1 << 31);
            let mut now = 0_u64;
            for (index, value, step) in steps {
                now = now.saturating_add(step >> 20);
                put(&mut rtc, index, value, now);
                let _ = (get(&mut rtc, index, now), rtc.interrupt(now), rtc.deadline(now));
            }
        }
    }
}
