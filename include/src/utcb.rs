//! User thread control block (UTCB): the page through which a thread and the kernel pass messages and state.
//!
//! Layout: a head of four words, then either 508 message words, which typed items fill from the end downwards
//! ([`item_offset`]), or the architectural state ([`crate::arch_state::ArchState`]).
//! Invariants: exactly one page; words and items may overlap, nobody checks.
//! Concurrency: the owner may write its UTCB while the kernel works on it on behalf of someone else: the kernel copies,
//! it never holds a reference.
//! Source: classic interface, "UTCB".

use core::mem::offset_of;

use crate::address::PAGE_SIZE;
use crate::crd::Crd;

/// Message words of a UTCB.
pub const WORDS: usize = 508;
/// Typed items that a message can carry.
pub const MAX_ITEMS: usize = 254;

/// The UTCB with a message in it.
#[derive(Clone, Copy)]
#[repr(C, align(4096))]
pub struct Utcb {
    /// Counts of words and items: a [`Header`].
    pub items: u64,
    /// Window for translation.
    pub translate_window: Crd,
    /// Window for delegation.
    pub delegate_window: Crd,
    /// Free for the owner; `donate` compares it.
    pub tls: u64,
    /// Message words, or the architectural state.
    pub words: [u64; WORDS],
}

const _: () = {
    assert!(size_of::<Utcb>() == PAGE_SIZE as usize);
    assert!(offset_of!(Utcb, items) == 0x00);
    assert!(offset_of!(Utcb, translate_window) == 0x08);
    assert!(offset_of!(Utcb, delegate_window) == 0x10);
    assert!(offset_of!(Utcb, tls) == 0x18);
    assert!(offset_of!(Utcb, words) == 0x20);
};

/// How much a message carries: the first word of the UTCB.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Header {
    words: u16,
    items: u16,
}

impl Header {
    /// What the kernel writes when it delivers an exception: all words, no items.
    pub const STATE: Self = Self { words: WORDS as u16, items: 0 };

    /// A message of `words` words and `items` typed items, clamped to 508 and 254.
    #[must_use]
    pub const fn new(words: usize, items: usize) -> Self {
        Self {
            words: if words > WORDS { WORDS } else { words } as u16,
            items: if items > MAX_ITEMS { MAX_ITEMS } else { items } as u16,
        }
    }

    /// Reads the word, clamping both counts; the upper half is ignored.
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        Self::new((word & 0xFFFF) as usize, (word >> 16 & 0xFFFF) as usize)
    }

    /// The word.
    #[must_use]
    pub const fn word(self) -> u64 {
        self.words as u64 | (self.items as u64) << 16
    }

    /// Number of message words, 0 to 508.
    #[must_use]
    pub const fn words(self) -> usize {
        self.words as usize
    }

    /// Number of typed items, 0 to 254.
    #[must_use]
    pub const fn items(self) -> usize {
        self.items as usize
    }
}

/// Byte offset of typed item `index` in the UTCB; its range descriptor comes first. `None` from [`MAX_ITEMS`] on.
#[must_use]
pub const fn item_offset(index: usize) -> Option<usize> {
    if index < MAX_ITEMS { Some(PAGE_SIZE as usize - 16 * (index + 1)) } else { None }
}

/// Index of typed item `index` in [`Utcb::words`]. `None` from [`MAX_ITEMS`] on.
#[must_use]
pub const fn item_word(index: usize) -> Option<usize> {
    match item_offset(index) {
        Some(offset) => Some((offset - offset_of!(Utcb, words)) / 8),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn items_fill_the_page_from_its_end_and_stay_behind_the_head() {
        assert_eq!(item_offset(0), Some(0xFF0));
        assert_eq!(item_word(0), Some(506));
        assert_eq!(item_offset(MAX_ITEMS - 1), Some(0x20));
        assert_eq!(item_word(MAX_ITEMS - 1), Some(0));
        assert_eq!(item_offset(MAX_ITEMS), None);
        assert_eq!(item_offset(usize::MAX), None);
    }

    #[test]
    fn one_item_and_no_words_is_this_word() {
        assert_eq!(Header::new(0, 1).word(), 0x1_0000);
    }

    proptest! {
        #[test]
        fn counts_are_clamped_and_the_upper_half_is_ignored(word: u64) {
            let header = Header::from_word(word);
            prop_assert!(header.words() <= WORDS && header.items() <= MAX_ITEMS);
            prop_assert_eq!(Header::from_word(header.word()), header);
            prop_assert_eq!(Header::from_word(word & 0xFFFF_FFFF), header);
        }
    }
}
