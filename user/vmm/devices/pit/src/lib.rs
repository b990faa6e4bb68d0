//! Device model: the 8254 interval timer and the speaker's port 0x61, through which channel 2 is gated and seen.
//!
//! Time is in nanoseconds since the start of the machine; counters are computed from it, nothing ticks.
//! Invariants: no write by the guest panics; the counter never stands at a time before it was loaded.
//! Concurrency: plain value.
//! Source: Intel 8254 data sheet; ICH9 data sheet, "NMI Status and Control Register".
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

/// Frequency of the clock in Hz.
pub const FREQUENCY: u64 = 1_193_182;
const SECOND: u64 = 1_000_000_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Access {
    #[default]
    Low,
    High,
    Both,
}

/// A channel.
#[derive(Clone, Copy, Debug)]
struct Channel {
    mode: u8,
    decimal: bool,
    access: Access,
    /// Counts per period, 1 to 65536.
    reload: u32,
    /// Whether it has a count since its mode was set.
    has_count: bool,
    /// When it was loaded; `None` before.
    loaded: Option<u64>,
    /// Since when it stands because of its gate.
    paused: Option<u64>,
    gate: bool,
    low: Option<u8>,
    latched: Option<u16>,
    status: Option<u8>,
    read_high: bool,
}

impl Channel {
    const NEW: Self = Self {
        mode: 3,
        decimal: false,
        access: Access::Both,
        reload: 0x1_0000,
        has_count: false,
        loaded: None,
        paused: None,
        gate: true,
        low: None,
        latched: None,
        status: None,
        read_high: false,
    };

    /// Clock ticks since it was loaded.
    fn elapsed(&self, now: u64) -> u64 {
        let now = self.paused.map_or(now, |since| since.min(now));
        self.loaded.map_or(0, |then| ticks(now.saturating_sub(then)))
    }

    /// Whether it starts when its gate is opened, and not when it gets a count.
    const fn is_triggered(&self) -> bool {
        matches!(self.mode, 1 | 5)
    }

    fn set_gate(&mut self, gate: bool, now: u64) {
        if gate == self.gate {
            return;
        }
        self.gate = gate;
        if !gate {
            // One that was triggered goes on.
            self.paused = Some(now).filter(|_| !self.is_triggered());
        } else if self.has_count {
            let stood = self.paused.take().map_or(0, |since| now.saturating_sub(since));
            self.loaded = match (self.mode, self.loaded) {
                (0 | 4, Some(then)) => Some(then.saturating_add(stood)),
                _ => Some(now),
            };
        }
    }

    fn is_periodic(&self) -> bool {
        matches!(self.mode, 2 | 3)
    }

    fn count(&self, now: u64) -> u16 {
        let (elapsed, reload) = (self.elapsed(now), u64::from(self.reload));
        let value = match self.mode {
            2 => reload - elapsed % reload,
            3 => (reload - (elapsed * 2) % reload) & !1,
            _ => reload.wrapping_sub(elapsed) & 0xFFFF,
        };
        let value = value as u32;
        if !self.decimal {
            return value as u16;
        }
        (0..4).fold(0, |digits, place| digits | ((value / 10_u32.pow(place) % 10) as u16) << (4 * place))
    }

    fn output(&self, now: u64) -> bool {
        if self.loaded.is_none() {
            return self.mode != 0;
        }
        let (elapsed, reload) = (self.elapsed(now), u64::from(self.reload));
        match self.mode {
            0 | 1 => elapsed >= reload,
            2 | 3 if !self.gate => true,
            2 => elapsed % reload != reload - 1,
            3 => elapsed % reload < reload.div_ceil(2),
            _ => true,
        }
    }

    fn write(&mut self, value: u8, now: u64) {
        let (low, high) = match (self.access, self.low) {
            (Access::Low, _) => (value, 0),
            (Access::High, _) => (0, value),
            (Access::Both, None) => {
                self.low = Some(value);
                return;
            }
            (Access::Both, Some(low)) => (low, value),
        };
        self.low = None;
        let mut count = u32::from(high) << 8 | u32::from(low);
        if self.decimal {
            count = (0..4).map(|place| (count >> (4 * place) & 0xF) * 10_u32.pow(place)).sum();
        }
        let full = if self.decimal { 10_000 } else { 0x1_0000 };
        self.reload = match (count, self.is_periodic()) {
            (0, _) => full,
            // A period of 1 is not allowed.
            (1, true) => 2,
            (count, _) => count,
        };
        self.has_count = true;
        if !self.is_triggered() {
            self.loaded = Some(now);
            self.paused = Some(now).filter(|_| !self.gate);
        }
    }

    fn read(&mut self, now: u64) -> u8 {
        if let Some(status) = self.status.take() {
            return status;
        }
        let count = self.latched.unwrap_or_else(|| self.count(now));
        let high = match self.access {
            Access::Low => false,
            Access::High => true,
            Access::Both => {
                self.read_high = !self.read_high;
                !self.read_high
            }
        };
        if high || self.access != Access::Both {
            self.latched = None;
        }
        if high { (count >> 8) as u8 } else { count as u8 }
    }

    fn latch_status(&mut self, now: u64) {
        let access = match self.access {
            Access::Low => 1,
            Access::High => 2,
            Access::Both => 3,
        };
        let empty = u8::from(self.loaded.is_none());
        let output = u8::from(self.output(now));
        self.status = Some(output << 7 | empty << 6 | access << 4 | self.mode << 1 | u8::from(self.decimal));
    }
}

/// Clock ticks in `nanoseconds`.
const fn ticks(nanoseconds: u64) -> u64 {
    (nanoseconds as u128 * FREQUENCY as u128 / SECOND as u128) as u64
}

/// The timer.
#[derive(Debug)]
pub struct Pit {
    channels: [Channel; 3],
    /// Bit 1 of port 0x61: the speaker listens.
    speaker: bool,
    /// Ticks of channel 0 that were reported.
    reported: u64,
}

impl Default for Pit {
    fn default() -> Self {
        let mut channels = [Channel::NEW; 3];
        channels[2].gate = false;
        Self { channels, speaker: false, reported: 0 }
    }
}

impl Pit {
    /// Reads port 0x40 to 0x42 or 0x61; others are 0xFF.
    pub fn read(&mut self, port: u16, now: u64) -> u8 {
        match port {
            0x40..=0x42 => self.channels.get_mut(usize::from(port & 3)).map_or(0xFF, |channel| channel.read(now)),
            0x61 => {
                let [_, _, channel] = &self.channels;
                // Bit 4 follows the memory refresh: every 15 microseconds.
                let refresh = !(now / 15_085).is_multiple_of(2);
                u8::from(channel.gate)
                    | u8::from(self.speaker) << 1
                    | u8::from(refresh) << 4
                    | u8::from(channel.output(now)) << 5
            }
            _ => 0xFF,
        }
    }

    /// Writes port 0x40 to 0x43 or 0x61.
    pub fn write(&mut self, port: u16, value: u8, now: u64) {
        match port {
            0x40..=0x42 => {
                if let Some(channel) = self.channels.get_mut(usize::from(port & 3)) {
                    channel.write(value, now);
                }
                if port == 0x40 {
                    self.reported = 0;
                }
            }
            0x43 => self.command(value, now),
            0x61 => {
                let [_, _, channel] = &mut self.channels;
                channel.set_gate(value & 1 != 0, now);
                self.speaker = value & 2 != 0;
            }
            _ => {}
        }
    }

    fn command(&mut self, value: u8, now: u64) {
        if value >> 6 == 3 {
            for (number, channel) in self.channels.iter_mut().enumerate() {
                if value & 2 << number == 0 {
                    continue;
                }
                if value & 0x20 == 0 && channel.latched.is_none() {
                    channel.latched = Some(channel.count(now));
                }
                if value & 0x10 == 0 && channel.status.is_none() {
                    channel.latch_status(now);
                }
            }
            return;
        }
        let Some(channel) = self.channels.get_mut(usize::from(value >> 6)) else { return };
        channel.access = match value >> 4 & 3 {
            0 => {
                if channel.latched.is_none() {
                    channel.latched = Some(channel.count(now));
                }
                return;
            }
            1 => Access::Low,
            2 => Access::High,
            _ => Access::Both,
        };
        let mode = value >> 1 & 7;
        let gate = channel.gate;
        *channel =
            Channel { mode: if mode > 5 { mode & 3 } else { mode }, access: channel.access, gate, ..Channel::NEW };
        channel.decimal = value & 1 != 0;
    }

    /// When channel 0 next gives an interrupt, in nanoseconds; `None` if never.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        let [channel, _, _] = &self.channels;
        let next = match channel.mode {
            2 | 3 => self.reported + 1,
            0 | 4 if self.reported == 0 => 1,
            _ => return None,
        };
        let ticks = u128::from(next) * u128::from(channel.reload);
        let after = ticks * u128::from(SECOND) / u128::from(FREQUENCY) + 1;
        u64::try_from(after).ok()?.checked_add(channel.loaded?)
    }

    /// Whether channel 0 has given an interrupt since the last call; several count as one.
    pub fn interrupt(&mut self, now: u64) -> bool {
        let [channel, _, _] = &self.channels;
        if channel.loaded.is_none() {
            return false;
        }
        let passed = channel.elapsed(now) / u64::from(channel.reload);
        let passed = if channel.is_periodic() { passed } else { passed.min(1) };
        let due = passed > self.reported && matches!(channel.mode, 0 | 2..=4);
        self.reported = self.reported.max(passed);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_periodic_channel_interrupts_once_per_period_and_does_not_catch_up() {
        let mut pit = Pit::default();
        assert_eq!((pit.deadline(), pit.interrupt(MS)), (None, false));
        pit.write(0x43, 0x34, 0);
        pit.write(0x40, 0xA9, 0);
        pit.write(0x40, 0x04, 0); // 1193: a millisecond
        let due = pit.deadline().unwrap_or(0);
        assert!((999_000..1_001_000).contains(&due), "{due}");
        assert!(!pit.interrupt(due - 1000));
        assert!(pit.interrupt(due));
        assert!(!pit.interrupt(due + 1000));
        assert!(pit.interrupt(10 * MS) && !pit.interrupt(10 * MS));
    }

    #[test]
    fn one_shot_interrupts_once() {
        let mut pit = Pit::default();
        pit.write(0x43, 0x30, 0);
        pit.write(0x40, 0xA9, 0);
        pit.write(0x40, 0x04, 0);
        assert!(pit.deadline().is_some());
        assert!(pit.interrupt(5 * MS) && !pit.interrupt(50 * MS));
        assert_eq!(pit.deadline(), None);
    }

    #[test]
    fn channel_2_counts_down_and_its_output_shows_at_port_61() {
        let mut pit = Pit::default();
        pit.write(0x61, 1, 0);
        pit.write(0x43, 0xB0, 0);
        pit.write(0x42, 0xFF, 0);
        pit.write(0x42, 0xFF, 0);
        assert_eq!(pit.read(0x61, 0) & 0x21, 1);
        let low = pit.read(0x42, MS);
        let high = pit.read(0x42, MS);
        let count = u16::from(high) << 8 | u16::from(low);
        assert!((0xFFFF - 1200..0xFFFF - 1190).contains(&count), "{count:#x}");
        assert_eq!(pit.read(0x61, 60 * MS) & 0x20, 0x20);
    }

    #[test]
    fn the_gate_holds_the_count_and_triggers() {
        let load = |mode: u8| {
            let mut pit = Pit::default();
            pit.write(0x43, 0xB0 | mode << 1, 0);
            pit.write(0x42, 0xA9, 0);
            pit.write(0x42, 0x04, 0); // a millisecond
            pit
        };
        let out = |pit: &mut Pit, now| pit.read(0x61, now) & 0x20 != 0;
        // Down to nothing, with a break.
        let mut pit = load(0);
        assert!(!out(&mut pit, 9 * MS));
        pit.write(0x61, 1, 10 * MS);
        pit.write(0x61, 0, 10 * MS + MS / 2);
        assert!(!out(&mut pit, 20 * MS));
        pit.write(0x61, 1, 30 * MS);
        assert!(!out(&mut pit, 30 * MS + MS / 4) && out(&mut pit, 31 * MS));
        // A pulse for each opening; a gate that is open already does nothing.
        let mut pit = load(1);
        assert!(out(&mut pit, 5 * MS));
        pit.write(0x61, 1, 10 * MS);
        pit.write(0x61, 0, 10 * MS + 1);
        assert!(!out(&mut pit, 10 * MS + MS / 2) && out(&mut pit, 12 * MS));
        pit.write(0x61, 1, 20 * MS);
        assert!(!out(&mut pit, 20 * MS + MS / 2) && out(&mut pit, 22 * MS));
        // A wave.
        let mut pit = load(3);
        assert!(out(&mut pit, MS * 3 / 4));
        pit.write(0x61, 1, 10 * MS);
        assert!(out(&mut pit, 10 * MS + MS / 4) && !out(&mut pit, 10 * MS + MS * 3 / 4));
    }

    #[test]
    fn a_latched_count_stands_still() {
        let mut pit = Pit::default();
        pit.write(0x43, 0x34, 0);
        pit.write(0x40, 0, 0);
        pit.write(0x40, 0, 0);
        pit.write(0x43, 0x00, MS);
        let first = (pit.read(0x40, 5 * MS), pit.read(0x40, 6 * MS));
        assert_eq!(u16::from(first.1) << 8 | u16::from(first.0), (0x1_0000_u32 - 1193) as u16);
        pit.write(0x43, 0xE2, MS);
        assert_eq!(pit.read(0x40, MS) & 0x3F, 0x34, "the status: both bytes, mode 2");
    }

    proptest! {
        #[test]
        fn no_guest_makes_it_panic(steps in proptest::collection::vec((0..5_usize, any::<u8>(), any::<u32>()), 0..200), far: bool) {
            let mut pit = Pit::default();
            let mut now = if far { u64::MAX / 2 } else { 0 };
            for (port, value, step) in steps {
                let port = [0x40, 0x41, 0x42, 0x43, 0x61][port];
                now += u64::from(step);
                pit.write(port, value, now);
                let _ = (pit.read(port, now), pit.interrupt(now));
                prop_assert!(pit.deadline().is_none_or(|due| due > 0));
            }
        }
    }
}
