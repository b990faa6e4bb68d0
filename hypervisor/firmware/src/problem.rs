//! What is wrong with an input, as a sentence.
//!
//! Purpose: one error for all parsers. Nobody acts on the kind of a fault, somebody reads it: it says what was found
//! where, with numbers, and what to do if that is not obvious. The caller puts the subject in front ("ACPI: ").
//! Invariants: small enough to be returned by value; no sentence here is too long; of one that were, the end would be
//! missing.
//! Concurrency: a plain value.
//! Source: none needed.

use arrayvec::ArrayString;
use core::fmt::{self, Write};

/// Bytes of the longest sentence.
const LENGTH: usize = 112;

/// A fault or an oddity of an input, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem(ArrayString<LENGTH>);

impl Problem {
    pub(crate) fn new(words: fmt::Arguments<'_>) -> Self {
        let mut text = ArrayString::new();
        let _ = text.write_fmt(words);
        Self(text)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A [`Problem`] from a format string and its arguments.
macro_rules! problem {
    ($($words:tt)*) => { $crate::Problem::new(format_args!($($words)*)) };
}

/// Returns a [`Problem`] unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($words:tt)*) => {
        if !$condition {
            return Err(problem!($($words)*));
        }
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_sentence_that_is_too_long_is_cut_between_pieces() {
        assert_eq!(problem!("{:>112}", 1).to_string().len(), 112);
        assert_eq!(problem!("{:>110}{}{}", 1, "öl", "tail").to_string().len(), 110);
    }
}
