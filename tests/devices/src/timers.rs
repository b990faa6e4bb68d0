//! Devices that live by time: the interval timer, the clock, power management.
//!
//! Invariants: what is due comes not before the present moment by more than a step.
//! Concurrency: plain values.

use vm_pit::Pit;
use vm_power::{Outcome, Power};
use vm_rtc::Rtc;

use crate::Driven;

/// The longest that a step lets pass, in nanoseconds.
const STEP: u64 = 1 << 34;

/// Time that passes, mostly little, sometimes much.
fn pass(now: &mut u64, first: u64) {
    let length = first >> 32 & 0xFFFF_FFFF;
    *now = now.saturating_add(if first >> 8 & 7 == 0 { length << 3 & (STEP - 1) } else { length & 0xFFFF });
}

struct Timer(Pit, u64);

pub fn pit() -> Box<dyn Driven> {
    Box::new(Timer(Pit::default(), 0))
}

impl Driven for Timer {
    fn step(&mut self, first: u64, second: u64) {
        let Self(pit, now) = self;
        pass(now, first);
        let port = [0x40, 0x41, 0x42, 0x43, 0x61][(first & 7) as usize % 5];
        if first >> 3 & 1 != 0 {
            pit.write(port, second as u8, *now);
        } else {
            let _ = pit.read(port, *now);
        }
        let _ = pit.interrupt(*now);
        let _ = pit.deadline();
    }
}

struct Clock(Rtc, u64);

pub fn rtc() -> Box<dyn Driven> {
    Box::new(Clock(Rtc::new(1_700_000_000), 0))
}

impl Driven for Clock {
    fn step(&mut self, first: u64, second: u64) {
        let Self(rtc, now) = self;
        pass(now, first);
        match first & 3 {
            0 => rtc.write(0x70, second as u8, *now),
            1 => rtc.write(0x71, second as u8, *now),
            kind => _ = rtc.read(0x70 + (kind as u16 & 1), *now),
        }
        let _ = rtc.interrupt(*now);
        assert!(rtc.deadline(*now).is_none_or(|due| due.saturating_add(2_000_000_000) >= *now), "due long ago");
    }
}

struct Management(Power, u64);

pub fn power() -> Box<dyn Driven> {
    Box::new(Management(Power::default(), 0))
}

impl Driven for Management {
    fn step(&mut self, first: u64, second: u64) {
        let Self(power, now) = self;
        pass(now, first);
        const OTHERS: [u16; 5] = [0xCF9, 0x64, 0x60, 0xF4, 0xE9];
        let port = if first & 8 != 0 { 0x600 + (first >> 12 & 15) as u16 } else { OTHERS[(first & 7) as usize % 5] };
        let size = 1 << (first >> 4 & 3).min(2);
        if first >> 6 & 1 != 0 {
            let outcome = power.write(port, size, second as u32);
            assert!(outcome != Some(Outcome::Reset) || matches!(port, 0xCF9 | 0x64), "a reset by port {port:#x}");
        }
        let value = power.read(port, size, *now);
        assert!(size == 4 || value >> (8 * size) == 0, "port {port:#x} has {value:#x}");
        if first >> 7 & 1 != 0 {
            power.press();
        }
        let _ = power.interrupt(*now);
        assert!(power.deadline(*now).is_none_or(|due| due > *now), "due already");
    }
}
