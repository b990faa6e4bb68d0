//! What an entry of a page table looks like.
//!
//! Purpose: the bits of one hierarchy of translation tables behind a trait, so that the walk is written once: the host's
//! format, which SVM's nested tables share, that of VMX's, and that of VT-d's.
//! Invariants: `decode` undoes `leaf` and `table` at every level; an absent entry is 0; every table entry grants
//! everything, rights are decided at the leaf.
//! Concurrency: pure functions.
//! Source: AMD64 manual volume 2, §5.3.3-5.3.5 and §7.8 (PAT); Intel SDM volume 3, §29.3.2 (EPT); VT-d specification, §9.8
//! (second-stage entries); lecture D:88-101; trap T10 (x86 has no write-only).
use abi::PhysAddr;
use bitflags::bitflags;
use core::marker::PhantomData;

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

/// A format of translation-table entries. Its attributes are its own; where an address is, and what tells a table from a leaf
/// of its level's size, all formats have in common.
pub trait Format {
    /// Number of levels, the top one included.
    const LEVELS: u32 = 4;
    /// Highest level whose entries may map memory (1: 4 KiB only, 2: also 2 MiB, 3: also 1 GiB).
    const LEAF_LEVELS: u32 = 2;
    /// Bits of which an entry that is not absent has one.
    const PRESENT: u64;
    /// What an entry that refers to a table has beside its address.
    const TABLE: u64;
    /// Bits that the hardware sets on its own (accessed, dirty).
    const EVIDENCE: u64;
    /// The one of them that says that the entry was used, and may be remembered.
    const ACCESSED: u64;
    /// What an entry that maps memory has beside its address and size.
    fn bits(attributes: Attributes) -> u64;
    /// What these bits of an entry that maps memory mean.
    fn attributes(entry: u64) -> Attributes;

    /// Entry of `level` (1 is the last) that maps `address`.
    fn leaf(address: PhysAddr, level: u32, attributes: Attributes) -> u64 {
        let entry = address.get() & ADDRESS | Self::bits(attributes);
        if level > 1 { entry | LARGE } else { entry }
    }

    /// Entry that refers to the table at `address`.
    fn table(address: PhysAddr) -> u64 {
        address.get() & ADDRESS | Self::TABLE
    }

    /// What `entry` of `level` says.
    fn decode(entry: u64, level: u32) -> Entry {
        if entry & Self::PRESENT == 0 {
            return Entry::Absent;
        }
        if level > 1 && entry & LARGE == 0 {
            return Entry::Table(PhysAddr::truncate(entry & ADDRESS));
        }
        // The host's bit 12 of a large leaf selects the PAT, it is not part of the address; we never set it.
        let low = (1u64 << (12 + 9 * (level - 1))) - 1;
        Entry::Leaf(PhysAddr::truncate(entry & ADDRESS & !low), Self::attributes(entry))
    }
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
    pub const fn is_large(entry: u64) -> bool {
        entry & LARGE != 0
    }

    /// The table or page of 4 KiB that an entry refers to, `None` if it is absent.
    #[inline]
    pub fn target(entry: u64) -> Option<PhysAddr> {
        (entry & PRESENT != 0).then(|| PhysAddr::truncate(entry & ADDRESS))
    }
}

impl Format for Host {
    const PRESENT: u64 = PRESENT;
    const TABLE: u64 = PRESENT | WRITE | USER;
    const EVIDENCE: u64 = ACCESSED | DIRTY;
    const ACCESSED: u64 = ACCESSED;

    fn bits(attributes: Attributes) -> u64 {
        let same = u64::from(attributes.bits()) & SAME;
        // Strongly uncached is write-through and cache-disable together.
        let through = (same & CACHE_DISABLE) >> 1;
        let bits = PRESENT | same | through;
        if attributes.contains(Attributes::EXECUTE) { bits } else { bits | NO_EXECUTE }
    }

    fn attributes(entry: u64) -> Attributes {
        let mut attributes = Attributes::from_bits_retain((entry & SAME) as u32) | Attributes::READ;
        attributes.set(Attributes::EXECUTE, entry & NO_EXECUTE == 0);
        if entry & CACHE_DISABLE != 0 {
            attributes.remove(Attributes::WRITE_COMBINING);
        }
        attributes
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
    const PRESENT: u64 = EPT_ALL;
    const TABLE: u64 = EPT_ALL;
    const EVIDENCE: u64 = 3 << 8;
    const ACCESSED: u64 = 1 << 8;

    fn bits(attributes: Attributes) -> u64 {
        let execute = if attributes.contains(Attributes::EXECUTE) { EPT_FETCH } else { 0 };
        let memory = match attributes {
            uncached if uncached.contains(Attributes::UNCACHED) => 0,
            combining if combining.contains(Attributes::WRITE_COMBINING) => EPT_COMBINING,
            _ => EPT_BACK,
        };
        PRESENT | EPT_IGNORE_GUEST | u64::from(attributes.bits()) & WRITE | execute | memory
    }

    fn attributes(entry: u64) -> Attributes {
        let mut attributes = Attributes::READ | Attributes::USER;
        attributes.set(Attributes::WRITE, entry & WRITE != 0);
        attributes.set(Attributes::EXECUTE, entry & EPT_FETCH != 0);
        attributes.set(Attributes::UNCACHED, entry & EPT_TYPE == 0);
        attributes.set(Attributes::WRITE_COMBINING, entry & EPT_TYPE == EPT_COMBINING);
        attributes
    }
}

/// A format with leaves of 1 GiB too, for processors that have them.
#[derive(Clone, Copy, Debug)]
pub struct Giant<F>(PhantomData<F>);

impl<F: Format> Format for Giant<F> {
    const LEAF_LEVELS: u32 = 3;
    const PRESENT: u64 = F::PRESENT;
    const TABLE: u64 = F::TABLE;
    const EVIDENCE: u64 = F::EVIDENCE;
    const ACCESSED: u64 = F::ACCESSED;

    fn bits(attributes: Attributes) -> u64 {
        F::bits(attributes)
    }

    fn attributes(entry: u64) -> Attributes {
        F::attributes(entry)
    }
}

/// The format of the tables for devices behind VT-d (second level, four levels), 4 KiB and 2 MiB leaves. Memory types are the
/// device's.
#[derive(Clone, Copy, Debug)]
pub struct Dma;

impl Format for Dma {
    const PRESENT: u64 = PRESENT | WRITE;
    const TABLE: u64 = PRESENT | WRITE;
    const EVIDENCE: u64 = 0;
    /// Nothing is noted, so whatever can be read may be remembered.
    const ACCESSED: u64 = PRESENT;

    fn bits(attributes: Attributes) -> u64 {
        PRESENT | u64::from(attributes.bits()) & WRITE
    }

    fn attributes(entry: u64) -> Attributes {
        let rights = Attributes::from_bits_truncate((entry & (PRESENT | WRITE)) as u32);
        rights | Attributes::READ | Attributes::USER
    }
}

#[cfg(test)]
mod tests;
