//! What an entry of a page table looks like.
//!
//! Purpose: the bits of one hierarchy of translation tables behind a trait, so that the walk is written once. This
//! module has the host's format; nested and DMA formats join it.
//! Invariants: `decode` undoes `leaf` and `table` at every level; an absent entry is 0; every table entry grants
//! everything, rights are decided at the leaf.
//! Concurrency: pure functions.
//! Source: AMD64 manual volume 2, §5.3.3-5.3.5 and §7.8 (PAT); lecture D:88-101; trap T10 (x86 has no write-only).
use abi::PhysAddr;
use bitflags::bitflags;

bitflags! {
    /// What a mapping allows and how memory is accessed through it. Where the host has a bit for it, it is that bit.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Attributes: u32 {
        /// Loads.
        const READ = 1;
        /// Stores (and, on this architecture, loads).
        const WRITE = 1 << 1;
        /// Allowed in ring 3.
        const USER = 1 << 2;
        /// Write-combining: frame buffers.
        const WRITE_COMBINING = 1 << 3;
        /// Strongly uncached: device registers.
        const UNCACHED = 1 << 4;
        /// Instruction fetches.
        const EXECUTE = 1 << 5;
        /// The translation outlives a change of address space.
        const GLOBAL = 1 << 8;
    }
}

/// An entry, understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Translates nothing.
    Absent,
    /// Refers to a table one level down.
    Table(PhysAddr),
    /// Maps memory of the level's size.
    Leaf(PhysAddr, Attributes),
}

/// A format of translation-table entries.
pub trait Format {
    /// Number of levels, the top one included.
    const LEVELS: u32;
    /// Highest level whose entries may map memory (1: 4 KiB only, 2: also 2 MiB, 3: also 1 GiB).
    const LEAF_LEVELS: u32;
    /// Entry of `level` (1 is the last) that maps `address`.
    fn leaf(address: PhysAddr, level: u32, attributes: Attributes) -> u64;
    /// Entry that refers to the table at `address`.
    fn table(address: PhysAddr) -> u64;
    /// Bits that the hardware sets on its own (accessed, dirty).
    const EVIDENCE: u64;
    /// The one of them that says that the entry was used, and may be remembered.
    const ACCESSED: u64;
    /// What `entry` of `level` says.
    fn decode(entry: u64, level: u32) -> Entry;
}

/// The format of the processor's own page tables in 64-bit mode, four levels, 4 KiB and 2 MiB leaves.
#[derive(Clone, Copy, Debug)]
pub struct Host;

const PRESENT: u64 = 1;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const WRITE_THROUGH: u64 = 1 << 3;
const CACHE_DISABLE: u64 = 1 << 4;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
const NO_EXECUTE: u64 = 1 << 63;
/// Bits that are attributes as they are.
const SAME: u64 = WRITE | USER | WRITE_THROUGH | CACHE_DISABLE | GLOBAL;
const _: () = assert!(
    Attributes::WRITE.bits() as u64 == WRITE
        && Attributes::USER.bits() as u64 == USER
        && Attributes::WRITE_COMBINING.bits() as u64 == WRITE_THROUGH
        && Attributes::UNCACHED.bits() as u64 == CACHE_DISABLE
        && Attributes::GLOBAL.bits() as u64 == GLOBAL
);
const ADDRESS: u64 = 0x000F_FFFF_FFFF_F000;

impl Host {
    /// Whether an entry above the last level that is there is a leaf.
    #[inline]
    #[must_use]
    pub const fn is_large(entry: u64) -> bool {
        entry & LARGE != 0
    }

    /// The table or page of 4 KiB that an entry refers to, `None` if it is absent.
    #[inline]
    #[must_use]
    pub fn target(entry: u64) -> Option<PhysAddr> {
        (entry & PRESENT != 0).then(|| PhysAddr::truncate(entry & ADDRESS))
    }
}

impl Format for Host {
    const LEVELS: u32 = 4;
    const LEAF_LEVELS: u32 = 2;
    const EVIDENCE: u64 = ACCESSED | DIRTY;
    const ACCESSED: u64 = ACCESSED;

    fn leaf(address: PhysAddr, level: u32, attributes: Attributes) -> u64 {
        let bits = u64::from(attributes.bits()) & SAME;
        // Strongly uncached is write-through and cache-disable together.
        let through = (bits & CACHE_DISABLE) >> 1;
        let mut entry = address.get() & ADDRESS | PRESENT | bits | through;
        if !attributes.contains(Attributes::EXECUTE) {
            entry |= NO_EXECUTE;
        }
        if level > 1 {
            entry |= LARGE;
        }
        entry
    }

    fn table(address: PhysAddr) -> u64 {
        address.get() & ADDRESS | PRESENT | WRITE | USER
    }

    fn decode(entry: u64, level: u32) -> Entry {
        if entry & PRESENT == 0 {
            return Entry::Absent;
        }
        if level > 1 && entry & LARGE == 0 {
            return Entry::Table(PhysAddr::truncate(entry & ADDRESS));
        }
        let mut attributes = Attributes::from_bits_retain((entry & SAME) as u32) | Attributes::READ;
        attributes.set(Attributes::EXECUTE, entry & NO_EXECUTE == 0);
        if entry & CACHE_DISABLE != 0 {
            attributes.remove(Attributes::WRITE_COMBINING);
        }
        // Bit 12 of a large leaf selects the PAT, it is not part of the address; we never set it.
        let low = (1u64 << (12 + 9 * (level - 1))) - 1;
        Entry::Leaf(PhysAddr::truncate(entry & ADDRESS & !low), attributes)
    }
}

/// The format of nested page tables of VMX, four levels, 4 KiB and 2 MiB leaves. Host tables are those of SVM.
#[derive(Clone, Copy, Debug)]
pub struct Ept;

/// Load, store, fetch.
const EPT_ALL: u64 = 7;
const EPT_FETCH: u64 = 1 << 2;
/// Write-back, write-combining; the guest's own types do not count.
const EPT_BACK: u64 = 6 << 3;
const EPT_COMBINING: u64 = 1 << 3;
const EPT_TYPE: u64 = 7 << 3;
const EPT_IGNORE_GUEST: u64 = 1 << 6;

impl Format for Ept {
    const LEVELS: u32 = 4;
    const LEAF_LEVELS: u32 = 2;
    const EVIDENCE: u64 = 3 << 8;
    const ACCESSED: u64 = 1 << 8;

    fn leaf(address: PhysAddr, level: u32, attributes: Attributes) -> u64 {
        let mut entry = address.get() & ADDRESS | PRESENT | EPT_IGNORE_GUEST | u64::from(attributes.bits()) & WRITE;
        if attributes.contains(Attributes::EXECUTE) {
            entry |= EPT_FETCH;
        }
        if !attributes.intersects(Attributes::UNCACHED) {
            let combining = attributes.contains(Attributes::WRITE_COMBINING);
            entry |= if combining { EPT_COMBINING } else { EPT_BACK };
        }
        if level > 1 { entry | LARGE } else { entry }
    }

    fn table(address: PhysAddr) -> u64 {
        address.get() & ADDRESS | EPT_ALL
    }

    fn decode(entry: u64, level: u32) -> Entry {
        if entry & EPT_ALL == 0 {
            return Entry::Absent;
        }
        if level > 1 && entry & LARGE == 0 {
            return Entry::Table(PhysAddr::truncate(entry & ADDRESS));
        }
        let mut attributes = Attributes::READ | Attributes::USER;
        attributes.set(Attributes::WRITE, entry & WRITE != 0);
        attributes.set(Attributes::EXECUTE, entry & EPT_FETCH != 0);
        attributes.set(Attributes::UNCACHED, entry & EPT_TYPE == 0);
        attributes.set(Attributes::WRITE_COMBINING, entry & EPT_TYPE == EPT_COMBINING);
        Entry::Leaf(PhysAddr::truncate(entry & ADDRESS), attributes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_undoes_encoding_for_all_attributes_and_leaf_sizes() {
        for bits in 0..1 << 9 {
            let attributes = Attributes::from_bits_truncate(bits) | Attributes::READ;
            if attributes.contains(Attributes::UNCACHED | Attributes::WRITE_COMBINING) {
                continue; // One memory type per mapping.
            }
            for level in 1..=Host::LEAF_LEVELS {
                let address = PhysAddr::truncate(0x000A_BCDE_4060_0000);
                let entry = Host::leaf(address, level, attributes);
                assert_eq!(Host::decode(entry, level), Entry::Leaf(address, attributes));
            }
        }
    }

    #[test]
    fn nested_entries_have_the_bits_of_the_manual_and_decode_to_what_they_mean() {
        let page = PhysAddr::truncate(0x20_0000);
        let read = Attributes::READ | Attributes::USER;
        for (attributes, level, entry) in [
            (read, 1, 0x20_0071),
            (read | Attributes::WRITE | Attributes::EXECUTE, 2, 0x20_00F7),
            (read | Attributes::UNCACHED, 1, 0x20_0041),
            (read | Attributes::WRITE_COMBINING, 1, 0x20_0049),
        ] {
            assert_eq!(Ept::leaf(page, level, attributes), entry);
            assert_eq!(Ept::decode(entry | Ept::EVIDENCE, level), Entry::Leaf(page, attributes));
        }
        assert_eq!(Ept::decode(Ept::table(page), 3), Entry::Table(page));
        assert_eq!(Ept::decode(0, 1), Entry::Absent);
    }

    #[test]
    fn a_reference_to_a_table_decodes_to_that_table() {
        let address = PhysAddr::truncate(0x0000_0001_2345_6000);
        for level in 2..=Host::LEVELS {
            assert_eq!(Host::decode(Host::table(address), level), Entry::Table(address));
        }
    }

    #[test]
    fn entries_have_the_bits_of_the_manual() {
        let page = PhysAddr::truncate(0x1000);
        assert_eq!(Host::leaf(page, 1, Attributes::READ), 0x8000_0000_0000_1001);
        assert_eq!(Host::leaf(page, 1, Attributes::READ | Attributes::EXECUTE | Attributes::USER), 0x1005);
        let uncached = Attributes::READ | Attributes::WRITE | Attributes::UNCACHED;
        assert_eq!(Host::leaf(page, 1, uncached), 0x8000_0000_0000_101B);
        let large = Attributes::READ | Attributes::WRITE | Attributes::GLOBAL;
        assert_eq!(Host::leaf(PhysAddr::truncate(0x20_0000), 2, large), 0x8000_0000_0020_0183);
        assert_eq!(Host::decode(0, 1), Entry::Absent);
    }
}
