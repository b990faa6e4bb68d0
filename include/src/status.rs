//! Status of a hypercall: what the kernel leaves in the first register.
//!
//! Invariants: the set is closed; user level reads the low eight bits only.
//! Concurrency: plain values.
//! Source: classic interface, "Status codes".

use core::fmt;

/// Outcome of a hypercall.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
#[must_use]
pub enum Status {
    /// The operation was done.
    Success = 0,
    /// A deadline passed, or the callee was busy and the caller would not wait (`COM_TIM`).
    Timeout = 1,
    /// The callee died while it served (`COM_ABT`).
    Aborted = 2,
    /// No such hypercall (`BAD_HYP`).
    BadHypercall = 3,
    /// A selector names no capability of the needed type and permission (`BAD_CAP`).
    BadCapability = 4,
    /// A parameter is out of range (`BAD_PAR`).
    BadParameter = 5,
    /// The machine lacks the feature (`BAD_FTR`).
    BadFeature = 6,
    /// The core is absent, or not the right one (`BAD_CPU`).
    BadCpu = 7,
    /// No such device (`BAD_DEV`).
    BadDevice = 8,
    /// The kernel-memory quota of a protection domain is used up (`QUO_OOM`).
    QuotaExhausted = 9,
}

impl Status {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::Success,
        Self::Timeout,
        Self::Aborted,
        Self::BadHypercall,
        Self::BadCapability,
        Self::BadParameter,
        Self::BadFeature,
        Self::BadCpu,
        Self::BadDevice,
        Self::QuotaExhausted,
    ];

    /// The status in the register that a hypercall returns: only the low eight bits count.
    ///
    /// # Errors
    /// The low byte, if it is no status.
    pub const fn from_register(register: u64) -> Result<Self, UnknownStatus> {
        let byte = register as u8;
        if (byte as usize) < Self::ALL.len() { Ok(Self::ALL[byte as usize]) } else { Err(UnknownStatus(byte)) }
    }

    /// The number, 0 to 9.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// `Ok` for success, the status itself as the error otherwise.
    ///
    /// # Errors
    /// Every status but [`Status::Success`].
    pub const fn ok(self) -> Result<(), Self> {
        match self {
            Self::Success => Ok(()),
            error => Err(error),
        }
    }

    /// The status in words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Timeout => "timed out, or would have to wait",
            Self::Aborted => "callee died while it served",
            Self::BadHypercall => "no such hypercall",
            Self::BadCapability => "no capability of that type and permission",
            Self::BadParameter => "parameter out of range",
            Self::BadFeature => "the machine lacks the feature",
            Self::BadCpu => "absent or wrong core",
            Self::BadDevice => "no such device",
            Self::QuotaExhausted => "kernel-memory quota used up",
        }
    }
}

/// A number that is no status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownStatus(pub u8);

impl fmt::Display for UnknownStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown status {}", self.0)
    }
}

impl TryFrom<u8> for Status {
    type Error = UnknownStatus;

    fn try_from(number: u8) -> Result<Self, UnknownStatus> {
        Self::from_register(number.into())
    }
}

impl TryFrom<u64> for Status {
    type Error = UnknownStatus;

    fn try_from(register: u64) -> Result<Self, UnknownStatus> {
        Self::from_register(register)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {} ({})", self.number(), self.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_a_status_below_ten_and_none_from_ten_on() {
        for byte in 0..=u8::MAX {
            match Status::try_from(byte) {
                Ok(status) => assert!(byte < 10 && status.number() == byte),
                Err(UnknownStatus(number)) => assert!(byte >= 10 && number == byte),
            }
        }
    }

    #[test]
    fn only_the_low_byte_of_the_register_counts() {
        assert_eq!(Status::try_from(0x1_0100_u64), Ok(Status::Success));
        assert_eq!(Status::try_from(0xFFFF_FF09_u64), Ok(Status::QuotaExhausted));
    }

    #[test]
    fn numbers_are_those_of_the_classic_interface() {
        assert_eq!(Status::ALL.map(Status::number), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(Status::BadCapability.ok(), Err(Status::BadCapability));
        assert_eq!(Status::BadParameter.to_string(), "status 5 (parameter out of range)");
    }
}
