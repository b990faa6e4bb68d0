//! Capability range descriptor (CRD): 2^order pages, ports or selectors with rights, in one word.
//!
//! Layout: bits 1:0 type, 6:2 rights, 11:7 order (log2 of the count, 0 to 31), 63:12 base (page, port or selector number).
//! Invariants: every word decodes and encodes to itself. The base need not be a multiple of the size: whoever uses the
//! range aligns it first ([`Crd::aligned_base`]).
//! Concurrency: plain values.
//! Source: classic interface, "CRD, typed items, windows".

use core::fmt;

use crate::rights::{MemoryRights, Rights};
use crate::selector::Selector;

/// log2 of the number of I/O ports.
pub const PORT_BITS: u32 = 16;
/// Greatest order of a range.
pub const MAX_ORDER: u32 = 31;

/// Which space a range lies in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum Kind {
    /// None: the range is empty.
    Null = 0,
    /// Pages of memory.
    Memory = 1,
    /// I/O ports.
    Ports = 2,
    /// Capabilities to kernel objects.
    Objects = 3,
}

/// A capability range descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct Crd(u64);

const _: () = assert!(size_of::<Crd>() == 8);

impl Crd {
    /// The empty range.
    pub const NULL: Self = Self(0);
    /// All I/O ports, with every right.
    pub const ALL_PORTS: Self = Self::pack(Kind::Ports, Rights::ALL, PORT_BITS, 0);

    /// Any word is a descriptor.
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The descriptor as a word.
    #[must_use]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// 2^`order` items from `base` on; `None` if `order` exceeds 31 or `base` 52 bits.
    #[must_use]
    pub const fn new(kind: Kind, rights: Rights, order: u32, base: u64) -> Option<Self> {
        if order > MAX_ORDER || base >> 52 != 0 { None } else { Some(Self::pack(kind, rights, order, base)) }
    }

    /// 2^`order` pages from page number `page` on; `None` if a number is out of range.
    #[must_use]
    pub const fn memory(page: u64, order: u32, rights: MemoryRights) -> Option<Self> {
        Self::new(Kind::Memory, Rights::new(rights.bits()), order, page)
    }

    /// 2^`order` I/O ports from `port` on; `None` if `order` exceeds 16.
    #[must_use]
    pub const fn ports(port: u16, order: u32) -> Option<Self> {
        if order > PORT_BITS { None } else { Self::new(Kind::Ports, Rights::ALL, order, port as u64) }
    }

    /// 2^`order` capabilities from `base` on; `None` if a number is out of range.
    #[must_use]
    pub const fn objects(base: Selector, order: u32, rights: Rights) -> Option<Self> {
        Self::new(Kind::Objects, rights, order, base.number())
    }

    const fn pack(kind: Kind, rights: Rights, order: u32, base: u64) -> Self {
        Self(kind as u64 | (rights.bits() as u64) << 2 | (order as u64) << 7 | base << 12)
    }

    /// The space the range lies in.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self.0 & 3 {
            0 => Kind::Null,
            1 => Kind::Memory,
            2 => Kind::Ports,
            _ => Kind::Objects,
        }
    }

    /// The five right bits.
    #[must_use]
    pub const fn rights(self) -> Rights {
        Rights::new((self.0 >> 2) as u8)
    }

    /// log2 of the number of items, 0 to 31.
    #[must_use]
    pub const fn order(self) -> u32 {
        (self.0 >> 7) as u32 & MAX_ORDER
    }

    /// Number of items: pages, ports or selectors.
    #[must_use]
    pub const fn count(self) -> u64 {
        1 << self.order()
    }

    /// Number of the first page, port or selector as written, 52 bits.
    #[must_use]
    pub const fn base(self) -> u64 {
        self.0 >> 12
    }

    /// The base cut down to a multiple of the count: where the range really starts.
    #[must_use]
    pub const fn aligned_base(self) -> u64 {
        self.base() & !(self.count() - 1)
    }

    /// The same range with the rights that `mask` has too.
    #[must_use]
    pub const fn masked(self, mask: Rights) -> Self {
        Self::pack(self.kind(), self.rights().and(mask), self.order(), self.base())
    }

    /// Whether the descriptor names nothing: null type, or no rights.
    #[must_use]
    pub const fn is_null(self) -> bool {
        matches!(self.kind(), Kind::Null) || self.rights().is_none()
    }
}

impl fmt::Debug for Crd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:#x}+2^{} rights {:#04x}", self.kind(), self.base(), self.order(), self.rights().bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_those_of_the_classic_interface() {
        assert_eq!(Crd::ALL_PORTS.word(), 0x87E);
        assert_eq!(Crd::memory(0x100, 0, MemoryRights::READ | MemoryRights::WRITE).map(Crd::word), Some(0x10_000D));
        assert_eq!(Crd::objects(Selector::ROOT_DOMAIN, 0, Rights::ALL).map(Crd::word), Some(0x2_007F));
        // Genode's window for everything.
        assert_eq!(Crd::new(Kind::Objects, Rights::ALL, 31, 0).map(Crd::word), Some(0xFFF));
    }

    #[test]
    fn numbers_out_of_range_make_no_descriptor() {
        assert_eq!(Crd::memory(0, 32, MemoryRights::all()), None);
        assert_eq!(Crd::memory(1 << 52, 0, MemoryRights::all()), None);
        assert_eq!(Crd::ports(0, 17), None);
    }

    #[test]
    fn no_type_or_no_rights_name_nothing() {
        assert!(Crd::NULL.is_null());
        assert!(Crd::ALL_PORTS.masked(Rights::NONE).is_null());
        assert!(!Crd::ALL_PORTS.is_null());
    }

    proptest! {
        #[test]
        fn every_word_survives_taking_apart_and_putting_together(word: u64) {
            let crd = Crd::from_word(word);
            prop_assert_eq!(Crd::new(crd.kind(), crd.rights(), crd.order(), crd.base()), Some(crd));
            prop_assert_eq!(crd.masked(Rights::ALL), crd);
        }

        #[test]
        fn the_aligned_range_contains_the_base(word: u64) {
            let crd = Crd::from_word(word);
            prop_assert_eq!(crd.aligned_base() % crd.count(), 0);
            prop_assert!(crd.aligned_base() <= crd.base() && crd.base() - crd.aligned_base() < crd.count());
        }
    }
}
