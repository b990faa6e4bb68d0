//! Typed items: what a message or a delegation carries besides words.
//!
//! An item is two words: a range descriptor, and a word of kind, flags and hotspot. Second word: bits 1:0 kind, 2 to 6
//! flags that only Vela has ([`crate::hip::Features::ITEM_FORMS`], [`crate::hip::Features::OVERMAPPING`]), 7 too
//! ([`crate::hip::Features::LIMITS`]), 8 to 11 flags, 63:12 hotspot (page number or selector), of which 63:59, which no
//! order reaches, are a limit. Items fill the UTCB from its end downwards ([`crate::utcb::item_offset`]).
//! Invariants: every pair of words decodes and encodes to itself.
//! Concurrency: plain values.
//! Source: classic interface, "Typed item".

use bitflags::bitflags;

use crate::crd::Crd;

/// What is to happen with an item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ItemKind {
    /// Name a capability that the receiver gave out earlier.
    Translate = 0,
    /// Hand the range on.
    Delegate = 1,
    /// Translate, and if that yields nothing, delegate.
    TranslateOrDelegate = 2,
    /// Without meaning: the result is null.
    Invalid = 3,
}

bitflags! {
    /// Flags of a delegation, at their bits of the second word.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct ItemFlags: u64 {
        /// Extension: the receiver must not hand the range on, except by a grant.
        const LAST = 1 << 2;
        /// Extension: the receiver's mapping is a sibling of the sender's. Who gave to the sender can take it back, the
        /// sender cannot. What comes from nobody cannot be copied: nothing arrives.
        const COPY = 1 << 3;
        /// Extension: the sender's mapping becomes the receiver's, with what was delegated from it. With [`ItemFlags::COPY`]
        /// it is a grant.
        const GRANT = 1 << 4;
        /// Extension: where the receiver has the same from the same mapping of the sender already, it gets the rights that
        /// it lacks, and nobody is interrupted for it. Without meaning for copies and grants.
        const RAISE = 1 << 5;
        /// Extension: as [`ItemFlags::RAISE`], and what else the receiver has there goes, with all that was delegated from
        /// it. Ignored in messages between contexts: a window says where there is room, not what may go.
        const REPLACE = 1 << 6;
        /// Extension: the receiver's mapping and all that is made of it may be so many mappings at most: bits 63:59, see
        /// [`TypedItem::limited`]. What has a limit gives away of it: who has nothing left passes nothing on.
        const LIMITED = 1 << 7;
        /// Enter the memory also into the table that the domain's devices use.
        const DEVICE = 1 << 8;
        /// Enter the memory or the ports also into the guest's table.
        const GUEST = 1 << 9;
        /// Map write-combining; honoured together with [`ItemFlags::HYPERVISOR`] and inherited by further delegations.
        const WRITE_COMBINING = 1 << 10;
        /// The source is the hypervisor's own space; honoured for the root domain only.
        const HYPERVISOR = 1 << 11;
    }
}

/// An item: a range and what to do with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct TypedItem {
    /// The range in the sender's space.
    pub range: Crd,
    control: u64,
}

const _: () = assert!(size_of::<TypedItem>() == 16 && core::mem::offset_of!(TypedItem, control) == 8);

impl TypedItem {
    /// An item of `kind` for `range`; `hotspot` is a page number, port or selector of at most 52 bits, the rest is cut off.
    #[must_use]
    pub const fn new(range: Crd, kind: ItemKind, flags: ItemFlags, hotspot: u64) -> Self {
        Self { range, control: kind as u64 | flags.bits() & ItemFlags::all().bits() | hotspot << 12 }
    }

    /// Hands on `range`, placed by `hotspot` where source and window differ in size.
    #[must_use]
    pub const fn delegate(range: Crd, flags: ItemFlags, hotspot: u64) -> Self {
        Self::new(range, ItemKind::Delegate, flags, hotspot)
    }

    /// The same with a limit to the number of mappings of the receiver and of all who have it from there, 1 to 31.
    #[must_use]
    pub const fn limited(self, limit: u8) -> Self {
        Self { control: self.control << 5 >> 5 | ItemFlags::LIMITED.bits() | (limit as u64) << 59, ..self }
    }

    /// The limit, 0 for none.
    #[must_use]
    pub const fn limit(self) -> u8 {
        if self.flags().contains(ItemFlags::LIMITED) { (self.control >> 59) as u8 } else { 0 }
    }

    /// The item in the two words of a UTCB.
    #[must_use]
    pub const fn from_words(range: u64, control: u64) -> Self {
        Self { range: Crd::from_word(range), control }
    }

    /// The two words, the range first.
    #[must_use]
    pub const fn words(self) -> [u64; 2] {
        [self.range.word(), self.control]
    }

    /// What is to happen.
    #[must_use]
    pub const fn kind(self) -> ItemKind {
        match self.control & 3 {
            0 => ItemKind::Translate,
            1 => ItemKind::Delegate,
            2 => ItemKind::TranslateOrDelegate,
            _ => ItemKind::Invalid,
        }
    }

    /// The flags that have a meaning.
    #[must_use]
    pub const fn flags(self) -> ItemFlags {
        ItemFlags::from_bits_truncate(self.control)
    }

    /// Whether it is a delegation without flags other than [`ItemFlags::LAST`].
    #[must_use]
    pub const fn is_plain(self) -> bool {
        self.control & 0xFFF & !ItemFlags::LAST.bits() == ItemKind::Delegate as u64
    }

    /// Where in the window, or of the source, the range is placed: page number, port or selector.
    #[must_use]
    pub const fn hotspot(self) -> u64 {
        self.control >> 12
    }

    /// In a received item: whether the range was delegated rather than translated.
    #[must_use]
    pub const fn was_delegated(self) -> bool {
        self.control & 1 != 0
    }

    /// The item as the receiver finds it: `range` is what arrived, and the kind says how.
    #[must_use]
    pub const fn received(self, range: Crd, delegated: bool) -> Self {
        Self { range, control: self.control | delegated as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ports_from_the_hypervisor_are_these_words() {
        let item = TypedItem::delegate(Crd::ALL_PORTS, ItemFlags::HYPERVISOR, 0);
        assert_eq!(item.words(), [0x87E, 0x801]);
    }

    #[test]
    fn a_translation_that_fell_back_says_delegated() {
        let item = TypedItem::new(Crd::NULL, ItemKind::TranslateOrDelegate, ItemFlags::empty(), 3);
        assert!(!item.received(Crd::NULL, false).was_delegated());
        let received = item.received(Crd::ALL_PORTS, true);
        assert!(received.was_delegated() && received.hotspot() == 3 && received.range == Crd::ALL_PORTS);
    }

    proptest! {
        #[test]
        fn every_pair_of_words_decodes_and_encodes_to_itself(range: u64, control: u64) {
            let item = TypedItem::from_words(range, control);
            prop_assert_eq!(item.words(), [range, control]);
            let rebuilt = TypedItem::new(item.range, item.kind(), item.flags(), item.hotspot());
            prop_assert_eq!(rebuilt.words(), [range, control]);
            let limited = item.limited(range as u8 & 31);
            prop_assert_eq!((limited.limit(), limited.hotspot() << 17 >> 17), (range as u8 & 31, control << 5 >> 17));
        }
    }
}
