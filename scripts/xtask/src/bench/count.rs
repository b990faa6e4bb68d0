//! How often something happens in one operation.
//!
//! Invariants: exact to a thousandth; what happens at all is never 0; in JSON a whole number is written as one.
//! Concurrency: plain values.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Counts by name.
pub type Counts = BTreeMap<String, Count>;

/// A number of times, in thousandths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(into = "serde_json::Number", try_from = "f64")]
pub struct Count(u64);

impl Count {
    /// Never.
    pub const ZERO: Self = Self(0);

    /// `sum` times in so many operations; rounded up, so that only what never happened is 0.
    pub const fn per(sum: u64, operations: u64) -> Self {
        Self(sum.saturating_mul(1000).div_ceil(if operations == 0 { 1 } else { operations }))
    }

    /// The number, rounded as above.
    pub fn value(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

impl From<u64> for Count {
    fn from(times: u64) -> Self {
        Self::per(times, 1)
    }
}

impl From<Count> for serde_json::Number {
    fn from(Count(thousandths): Count) -> Self {
        match thousandths % 1000 {
            0 => (thousandths / 1000).into(),
            _ => Self::from_f64(thousandths as f64 / 1000.0).unwrap_or_else(|| 0.into()),
        }
    }
}

impl TryFrom<f64> for Count {
    type Error = &'static str;

    fn try_from(value: f64) -> Result<Self, Self::Error> {
        // Beyond that, thousandths are lost.
        if !(0.0..9e12).contains(&value) {
            return Err("a count is not negative, and less than 9e12");
        }
        Ok(Self((value * 1000.0).round() as u64))
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", serde_json::Number::from(*self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_once_in_a_million_operations_did_happen() {
        assert_eq!(Count::per(1, 1_000_000).to_string(), "0.001");
        assert_eq!(Count::per(0, 1_000_000), Count::ZERO);
        assert_eq!((Count::per(192, 64).to_string(), Count::per(3, 2).to_string()), ("3".into(), "1.5".into()));
    }

    #[test]
    fn json_has_whole_numbers_where_they_are_whole() {
        let text = serde_json::to_string(&[Count::from(3), Count::per(1, 8)]).unwrap();
        assert_eq!(text, "[3,0.125]");
        assert_eq!(serde_json::from_str::<Vec<Count>>(&text).unwrap(), [Count::from(3), Count::per(1, 8)]);
        assert!(serde_json::from_str::<Count>("-1").is_err() && serde_json::from_str::<Count>("1e40").is_err());
    }
}
