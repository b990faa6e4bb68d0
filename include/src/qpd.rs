//! Quantum and priority of a scheduling context (QPD), in one word.
//!
//! Layout: bits 7:0 priority, bits 63:12 quantum in microseconds.
//! Invariants: a [`Qpd`] has a priority of 1 to 127 and a quantum of 1 to 2^52 - 1 microseconds.
//! Concurrency: plain values.
//! Source: classic interface, `create_sc`.

/// Number of priorities; 0 belongs to the idle contexts.
pub const PRIORITIES: u8 = 128;

/// Quantum and priority.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Qpd {
    priority: u8,
    quantum: u64,
}

impl Qpd {
    /// What the first scheduling context of the root domain has: priority 1, 10 ms.
    pub const ROOT: Self = Self { priority: 1, quantum: 10_000 };

    /// `priority` 1 to 127 (127 is the most urgent), `quantum` in microseconds, more than 0; `None` otherwise.
    #[must_use]
    pub const fn new(priority: u8, quantum: u64) -> Option<Self> {
        if priority == 0 || priority >= PRIORITIES || quantum == 0 || quantum >> 52 != 0 {
            None
        } else {
            Some(Self { priority, quantum })
        }
    }

    /// Reads the word; bits 11:8 are ignored. `None` means [`crate::Status::BadParameter`].
    #[must_use]
    pub const fn from_word(word: u64) -> Option<Self> {
        Self::new(word as u8, word >> 12)
    }

    /// The word.
    #[must_use]
    pub const fn word(self) -> u64 {
        self.priority as u64 | self.quantum << 12
    }

    /// Priority, 1 to 127.
    #[must_use]
    pub const fn priority(self) -> u8 {
        self.priority
    }

    /// Quantum in microseconds.
    #[must_use]
    pub const fn quantum(self) -> u64 {
        self.quantum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn priority_0_and_128_and_an_empty_quantum_are_refused() {
        assert_eq!(Qpd::from_word(10_000 << 12), None);
        assert_eq!(Qpd::from_word(10_000 << 12 | 128), None);
        assert_eq!(Qpd::from_word(1), None);
        assert_eq!(Qpd::from_word(10_000 << 12 | 1), Some(Qpd::ROOT));
    }

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_word(word: u64) {
            if let Some(qpd) = Qpd::from_word(word) {
                prop_assert_eq!(qpd.word(), word & !0xF00);
            }
        }
    }
}
