//! The timer: counts down from a value, once or again and again, or waits for a time.
//!
//! Invariants: at most one deadline; a periodic timer that was not looked at for long does not catch up.
//! Concurrency: plain value.

/// The shortest period in ticks: what is shorter would only keep the processor from its work.
const SHORTEST_PERIOD: u64 = 20_000;

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Mode {
    #[default]
    OneShot,
    Periodic,
    Deadline,
}

/// The timer.
#[derive(Default, Debug)]
pub struct Timer {
    mode: Mode,
    initial: u32,
    /// The divide register: bits 3, 1 and 0.
    divide: u32,
    /// When it is due, 0 for never.
    due: u64,
}

impl Timer {
    pub const fn deadline(&self) -> Option<u64> {
        if self.due == 0 { None } else { Some(self.due) }
    }

    /// What a read of the register TSC_DEADLINE gives.
    pub fn time(&self) -> u64 {
        if self.mode == Mode::Deadline { self.due } else { 0 }
    }

    /// Sets the time, if it is in that mode; 0 stops it.
    pub fn set_time(&mut self, due: u64) {
        if self.mode == Mode::Deadline {
            self.due = due;
        }
    }

    pub const fn initial(&self) -> u32 {
        self.initial
    }

    pub const fn divide(&self) -> u32 {
        self.divide
    }

    /// What is left, in counts.
    pub fn current(&self, now: u64) -> u32 {
        if self.mode == Mode::Deadline || self.due == 0 {
            return 0;
        }
        let left = self.due.saturating_sub(now) >> self.shift();
        u32::try_from(left).unwrap_or(u32::MAX).min(self.initial)
    }

    pub fn set_mode(&mut self, bits: u32) {
        let mode = match bits {
            0 => Mode::OneShot,
            1 => Mode::Periodic,
            _ => Mode::Deadline,
        };
        if (mode == Mode::Deadline) != (self.mode == Mode::Deadline) {
            (self.due, self.initial) = (0, 0);
        }
        self.mode = mode;
    }

    pub fn start(&mut self, count: u32, now: u64) {
        if self.mode != Mode::Deadline {
            self.initial = count;
            self.due = if count == 0 { 0 } else { now.saturating_add(self.period()) };
        }
    }

    pub fn set_divide(&mut self, value: u32, now: u64) {
        let left = self.current(now);
        self.divide = value & 0b1011;
        if self.mode != Mode::Deadline && self.due != 0 {
            self.due = now.saturating_add(u64::from(left) << self.shift());
        }
    }

    /// Whether it was due; a periodic one starts again.
    pub fn expire(&mut self, now: u64) -> bool {
        if self.due == 0 || now < self.due {
            return false;
        }
        self.due = match self.mode {
            Mode::Periodic => {
                let period = self.period().max(SHORTEST_PERIOD);
                let next = self.due.saturating_add(period);
                if next > now { next } else { now.saturating_add(period) }
            }
            _ => 0,
        };
        true
    }

    fn period(&self) -> u64 {
        u64::from(self.initial) << self.shift()
    }

    /// Logarithm of the divisor.
    const fn shift(&self) -> u32 {
        ((self.divide & 3 | self.divide >> 1 & 4) + 1) & 7
    }
}
