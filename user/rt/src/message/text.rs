//! Short text in a message: its length in bytes, then the bytes, eight to a word.
//!
//! Invariants: always UTF-8, at most `N` bytes; what is longer is cut at a character.
//! Concurrency: plain value.

use core::fmt;
use core::ops::Deref;

use super::{Decode, Encode, Reader, Writer};

/// At most `N` bytes of text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Text<N> {
    /// The beginning of `text` that fits.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut new = Self::default();
        new.push(text);
        new
    }

    /// Appends what fits of `text`; whether all of it did.
    pub fn push(&mut self, text: &str) -> bool {
        let room = N - self.length;
        let end = (0..=room.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        let fitting = text.as_bytes().get(..end).unwrap_or_default();
        for (slot, byte) in self.bytes.iter_mut().skip(self.length).zip(fitting) {
            *slot = *byte;
        }
        self.length += end;
        end == text.len()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.length = 0;
        self.bytes = [0; N];
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self { bytes: [0; N], length: 0 }
    }
}

impl<const N: usize> Deref for Text<N> {
    type Target = str;

    fn deref(&self) -> &str {
        // Only whole characters are ever put in.
        core::str::from_utf8(self.bytes.get(..self.length).unwrap_or_default()).unwrap_or_default()
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<const N: usize> fmt::Write for Text<N> {
    /// Appends what fits; the rest is dropped without an error.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text);
        Ok(())
    }
}

impl<const N: usize> Encode for Text<N> {
    fn encode(&self, to: &mut Writer<'_>) {
        to.word(self.length as u64);
        for chunk in self.as_bytes().chunks(8) {
            let mut word = [0; 8];
            for (slot, byte) in word.iter_mut().zip(chunk) {
                *slot = *byte;
            }
            to.word(u64::from_le_bytes(word));
        }
    }
}

impl<const N: usize> Decode for Text<N> {
    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let length = usize::try_from(from.word()?).ok().filter(|length| *length <= N)?;
        let mut bytes = [0; N];
        for chunk in bytes.get_mut(..length)?.chunks_mut(8) {
            for (slot, byte) in chunk.iter_mut().zip(from.word()?.to_le_bytes()) {
                *slot = byte;
            }
        }
        core::str::from_utf8(bytes.get(..length)?).ok()?;
        Some(Self { bytes, length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::fmt::Write;
    use proptest::prelude::*;

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(&*Text::<4>::new("abcdef"), "abcd");
        assert_eq!(&*Text::<4>::new("abcä"), "abc");
        let mut text = Text::<6>::new("ab");
        assert!(write!(text, "{}", 12345).is_ok());
        assert_eq!(&*text, "ab1234");
    }

    proptest! {
        #[test]
        fn text_is_a_prefix_of_what_it_was_made_from(text in "\\PC{0,40}") {
            let short = Text::<16>::new(&text);
            prop_assert!(text.starts_with(&*short));
            prop_assert!(short.len() <= 16 && (text.len() > 16 || text == *short));
        }
    }
}
