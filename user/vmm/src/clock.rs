//! The clock that the hypervisor's interface offers: a page says how the time-stamp counter and the time hang together.
//!
//! With it a guest need not measure how fast the counter is, which takes thousands of exits, and need not read the date from
//! the real-time clock. The counter is the same on all processors and has one speed, so what is written once stays true.
//! Invariants: the page says what [`Clock`] holds; nothing else is written.
//! Concurrency: plain values.
//! Source: Linux, Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW and MSR_KVM_WALL_CLOCK_NEW.

/// Model-specific register: where to write the date of time 0.
pub const WALL_CLOCK: u32 = 0x4B56_4D00;
/// Model-specific register: where to write how to compute the time; bit 0 switches it on.
pub const SYSTEM_TIME: u32 = 0x4B56_4D01;
const ENABLED: u64 = 1;
/// Of the version: even while nothing is being written.
const VERSION: u32 = 2;
/// Of the flags: the same on all processors.
const STABLE: u8 = 1;

/// What the time is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clock {
    /// The counter at time 0.
    pub start: u64,
    /// Its ticks per millisecond.
    pub khz: u64,
    /// Seconds since 1970 at time 0.
    pub date: u64,
}

impl Clock {
    /// What a write of `value` to the register `number` has the monitor write, and where; `None` for another register.
    /// Nothing if it is switched off.
    #[must_use]
    pub fn answer(&self, number: u32, value: u64) -> Option<(u64, [u8; 32], usize)> {
        match number {
            WALL_CLOCK => {
                let (mut bytes, date) = ([0; 32], self.date as u32);
                bytes[..4].copy_from_slice(&VERSION.to_le_bytes());
                bytes[4..8].copy_from_slice(&date.to_le_bytes());
                Some((value, bytes, 12))
            }
            SYSTEM_TIME => Some((value & !ENABLED, self.page(), if value & ENABLED != 0 { 32 } else { 0 })),
            _ => None,
        }
    }

    fn page(&self) -> [u8; 32] {
        let (factor, shift) = self.factor();
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.start.to_le_bytes());
        // The time at that counter is 0.
        bytes[24..28].copy_from_slice(&factor.to_le_bytes());
        bytes[28] = shift.to_le_bytes()[0];
        bytes[29] = STABLE;
        bytes
    }

    /// Nanoseconds are ticks, shifted left by the second, times the first, divided by 2^32.
    fn factor(&self) -> (u32, i8) {
        // Nanoseconds per tick, times 2^64.
        let exact = (1_000_000_u128 << 64) / u128::from(self.khz.max(1));
        let bits = u128::BITS - exact.leading_zeros();
        ((exact >> (bits - 32)) as u32, (bits as i8).wrapping_sub(64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As a guest computes it.
    fn nanoseconds(page: &[u8; 32], counter: u64) -> u64 {
        let word = |at: usize| page[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
        let (ticks, factor, shift) = (counter - word(8), word(24) as u32, page[28] as i8);
        let ticks = if shift < 0 { ticks >> -shift } else { ticks << shift };
        word(16) + ((u128::from(ticks) * u128::from(factor)) >> 32) as u64
    }

    proptest! {
        #[test]
        fn the_page_tells_the_time(khz in 10_000_u64..10_000_000, start in 0..1_u64 << 60, milliseconds in 0..1_000_000_u64) {
            let clock = Clock { start, khz, date: 0 };
            let (at, page, length) = clock.answer(SYSTEM_TIME, 0x1235).unwrap_or_default();
            prop_assert_eq!((at, length), (0x1234, 32));
            let found = nanoseconds(&page, start + milliseconds * khz);
            prop_assert!(found.abs_diff(milliseconds * 1_000_000) <= 2 + milliseconds, "{}", found);
        }
    }

    #[test]
    fn what_is_off_is_not_written_and_other_registers_are_not_the_clocks() {
        let clock = Clock { start: 1, khz: 1, date: 0x1234_5678 };
        assert!(clock.answer(SYSTEM_TIME, 0x1000).is_some_and(|(.., length)| length == 0));
        let (at, bytes, length) = clock.answer(WALL_CLOCK, 0x2000).unwrap_or_default();
        assert_eq!((at, length, &bytes[..8]), (0x2000, 12, &[2, 0, 0, 0, 0x78, 0x56, 0x34, 0x12][..]));
        assert_eq!(clock.answer(0x10, 0), None);
    }
}
