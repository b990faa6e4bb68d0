//! One line of the log, in a buffer of fixed size.
//!
//! Purpose: formatting without allocation.
//! Invariants: ends with a line feed and holds no other; a cut line ends with `...`.
//! Concurrency: a value on the stack.
//! Source: none needed.
use crate::Level;
use core::fmt::{self, Write};

const SIZE: usize = 256;
const CUT: &[u8] = b"...\n";

/// A formatted line.
pub struct Line {
    bytes: [u8; SIZE],
    length: usize,
    cut: bool,
}

impl Line {
    /// `[core level] message`.
    pub fn format(core: u32, level: Level, message: fmt::Arguments<'_>) -> Self {
        let mut line = Self { bytes: [0; SIZE], length: 0, cut: false };
        // `write_str` below never fails; a `Display` that does leaves a shorter line.
        let _ = write!(line, "[{core:2} {:5}] {message}", level.name());
        let end = if line.cut { CUT } else { b"\n" };
        line.bytes[line.length..line.length + end.len()].copy_from_slice(end);
        line.length += end.len();
        line
    }

    /// The line's bytes, the line feed included.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if self.length == SIZE - CUT.len() {
                self.cut = true;
                break;
            }
            self.bytes[self.length] = if byte.is_ascii_control() { b'?' } else { byte };
            self.length += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatted(message: &str) -> String {
        String::from_utf8_lossy(Line::format(12, Level::Warn, format_args!("{message}")).bytes()).into_owned()
    }

    #[test]
    fn core_and_level_come_first() {
        assert_eq!(formatted("hello"), "[12 warn ] hello\n");
    }

    #[test]
    fn a_message_cannot_start_a_second_line() {
        assert_eq!(formatted("one\n[ 0 error] two\r"), "[12 warn ] one?[ 0 error] two?\n");
    }

    #[test]
    fn a_long_message_is_cut_and_says_so() {
        let line = formatted(&"x".repeat(1000));
        assert_eq!(line.len(), SIZE);
        assert!(line.ends_with("x...\n"));
    }
}
