//! What is wrong with a configuration, in words.
//!
//! Invariants: every error names its line and, where something has to be one of several, all of them.
//! Concurrency: plain values.

use alloc::string::String;
use core::fmt;

/// An error and its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    /// Number of the line, from 1; 0 for what is missing altogether.
    pub line: usize,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Problem {
    /// The word is none of the known ones: what it should be, the word, the known ones.
    Unknown(&'static str, String, &'static str),
    /// A line of a program before the first program.
    Outside(String),
    /// A line needs something that is not there.
    Missing(&'static str, &'static str),
    /// More words than the line has a use for.
    Surplus(String),
    /// A number that is none, or out of range: what, the word, the range.
    Number(&'static str, String, &'static str),
    /// A name that is empty, too long, or has other characters than letters, digits, `-`, `_` and `.`.
    Name(String),
    /// Said twice.
    Again(&'static str, String),
    /// Something named that does not exist: what, the name, where it would be made.
    Absent(&'static str, String, &'static str),
    /// No program at all.
    Empty,
    /// Too much of something: what, and how many are allowed.
    Many(&'static str, usize),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        match &self.problem {
            Problem::Unknown(what, word, known) => write!(f, "unknown {what} `{word}`; known: {known}"),
            Problem::Outside(word) => write!(f, "`{word}` belongs to a program; write `program NAME` before it"),
            Problem::Missing(word, what) => write!(f, "`{word}` needs {what}"),
            Problem::Surplus(word) => write!(f, "`{word}` is too much on this line"),
            Problem::Number(what, word, range) => write!(f, "`{word}` is no {what}: needs {range}"),
            Problem::Name(word) => {
                write!(f, "`{word}` is no name: needs 1 to 32 letters, digits, `-`, `_` and `.`")
            }
            Problem::Again(what, word) => write!(f, "there is a {what} `{word}` already"),
            Problem::Absent(what, word, how) => write!(f, "there is no {what} `{word}`; {how}"),
            Problem::Empty => f.write_str("no program; write `program NAME`"),
            Problem::Many(what, limit) => write!(f, "too many {what}: at most {limit}"),
        }
    }
}
