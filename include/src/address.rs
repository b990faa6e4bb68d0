//! Addresses and the sizes of pages.
//!
//! Purpose: one vocabulary for physical and virtual addresses on both sides of the system-call boundary.
//! Invariants: a [`PhysAddr`] has at most 52 bits where it was made by [`PhysAddr::new`]; [`VirtAddr`] may hold any
//! 64-bit value, because user level may name any; [`VirtAddr::is_canonical`] tells.
//! Concurrency: plain values.
//! Source: AMD64 manual volume 2, §5.3 (long-mode translation); lecture D:331-338 (layout).

/// log2 of [`PAGE_SIZE`].
pub const PAGE_BITS: u32 = 12;
/// Size of a page, and of the smallest mapping, in bytes.
pub const PAGE_SIZE: u64 = 1 << PAGE_BITS;
/// Size of the second mapping size (one page-directory entry), in bytes.
pub const LARGE_PAGE_SIZE: u64 = 1 << 21;
/// Number of bits of a physical address that the architecture can express.
pub const PHYS_BITS: u32 = 52;
/// First address after the user range, in bytes (lecture D:331).
pub const USER_END: u64 = 0x0000_7FFF_FFFF_F000;

/// A physical address in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct PhysAddr(u64);

impl PhysAddr {
    /// An address of at most 52 bits; `None` if it has more.
    #[must_use]
    pub const fn new(address: u64) -> Option<Self> {
        if address >> PHYS_BITS == 0 { Some(Self(address)) } else { None }
    }

    /// The address with everything above bit 51 cut off.
    #[must_use]
    pub const fn truncate(address: u64) -> Self {
        Self(address & ((1 << PHYS_BITS) - 1))
    }

    /// The address that [`Self::get`] gave.
    #[must_use]
    pub const fn known(address: u64) -> Self {
        debug_assert!(address >> PHYS_BITS == 0);
        Self(address)
    }

    /// The address as a number of bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number of the 4 KiB page that holds this address.
    #[must_use]
    pub const fn page(self) -> u64 {
        self.0 >> PAGE_BITS
    }

    /// Whether the address is a multiple of `size`, a power of two.
    #[must_use]
    pub const fn is_aligned(self, size: u64) -> bool {
        self.0 & (size - 1) == 0
    }

    /// The address `bytes` higher, wrapping within 52 bits.
    #[must_use]
    pub const fn offset(self, bytes: u64) -> Self {
        Self::truncate(self.0.wrapping_add(bytes))
    }
}

/// A virtual address in bytes, canonical or not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct VirtAddr(u64);

impl VirtAddr {
    /// Any 64-bit value.
    #[must_use]
    pub const fn new(address: u64) -> Self {
        Self(address)
    }

    /// The address as a number of bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether bits 63 to 47 are all equal, as the processor demands with four-level paging.
    #[must_use]
    pub const fn is_canonical(self) -> bool {
        let top = (self.0 as i64) >> 47;
        top == 0 || top == -1
    }

    /// Whether the address lies in the user range.
    #[must_use]
    pub const fn is_user(self) -> bool {
        self.0 < USER_END
    }

    /// Whether the address is a multiple of `size`, a power of two.
    #[must_use]
    pub const fn is_aligned(self, size: u64) -> bool {
        self.0 & (size - 1) == 0
    }

    /// The address `bytes` higher, wrapping.
    #[must_use]
    pub const fn offset(self, bytes: u64) -> Self {
        Self(self.0.wrapping_add(bytes))
    }

    /// Index into the table of `level` (1: leaf table … 4: top level) that translates this address, 0 to 511.
    #[must_use]
    pub const fn index(self, level: u32) -> usize {
        (self.0 >> (PAGE_BITS + 9 * (level - 1))) as usize & 0x1FF
    }
}

macro_rules! hex {
    ($type:ident, $digits:literal) => {
        impl core::fmt::Debug for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
        impl core::fmt::Display for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, $digits, self.0)
            }
        }
    };
}
hex!(PhysAddr, "{:#012x}");
hex!(VirtAddr, "{:#018x}");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn physical_addresses_have_at_most_52_bits() {
        assert!(PhysAddr::new(1 << 52).is_none());
        assert_eq!(PhysAddr::new((1 << 52) - 1).map(PhysAddr::get), Some((1 << 52) - 1));
    }

    #[test]
    fn the_hole_between_the_canonical_halves_is_not_canonical() {
        for (address, canonical) in [
            (0x0000_7FFF_FFFF_FFFF, true),
            (0x0000_8000_0000_0000, false),
            (0xFFFF_7FFF_FFFF_FFFF, false),
            (0xFFFF_8000_0000_0000, true),
        ] {
            assert_eq!(VirtAddr::new(address).is_canonical(), canonical, "{address:#x}");
        }
    }

    #[test]
    fn indices_name_the_core_local_page() {
        let page = VirtAddr::new(0xFFFF_FFFF_BFFF_F000);
        assert_eq!([4, 3, 2, 1].map(|level| page.index(level)), [511, 510, 511, 511]);
    }
}
