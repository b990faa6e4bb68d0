//! Exit status of a program.
//!
//! Invariants: at most 127, because the emulator's exit device reports twice the value plus one in a byte.
//! Concurrency: plain values.

/// How a program ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct ExitStatus(u8);

impl ExitStatus {
    /// All went well.
    pub const SUCCESS: Self = Self(0);
    /// Something failed; what is in the log.
    pub const FAILURE: Self = Self(1);
    /// Greatest number.
    pub const MAX: u8 = 127;

    /// The status with this number; numbers above [`ExitStatus::MAX`] become that.
    pub const fn new(number: u8) -> Self {
        Self(if number > Self::MAX { Self::MAX } else { number })
    }

    /// The number, 0 to 127.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Whether it stands for success.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_failure_looks_like_success_at_the_exit_device() {
        for number in 0..=u8::MAX {
            let reported = ExitStatus::new(number).number() << 1 | 1;
            assert_eq!(reported == 1, number == 0);
            assert_eq!(ExitStatus::new(number).is_success(), number == 0);
        }
    }
}
