//! The memory map.
//!
//! Purpose: ranges out of an array with an entry size of its own.
//! Invariants: of a parsed map the entry size is valid and at least one range is usable; no range that is handed out
//! reaches beyond the physical address space.
//! Concurrency: none; see the crate.
//! Source: Multiboot2 specification 2.0, §3.6.8.

use super::Tag;
use crate::Problem;
use crate::bytes::{u32_at, u64_at};
use crate::physical::PHYSICAL_END;

/// E820 type of memory that can be used.
pub const AVAILABLE: u32 = 1;

/// Bytes of the tag before its entries.
const ENTRIES: usize = 16;
/// Smallest size of an entry in bytes.
const MINIMUM: usize = size_of::<multiboot2::MemoryArea>();

/// One range of the memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryArea {
    /// First byte.
    pub base: u64,
    /// Bytes.
    pub length: u64,
    /// E820 type: 1 usable, 2 reserved, 3 ACPI tables (reclaimable), 4 ACPI non-volatile storage, 5 defective; others
    /// as the firmware gives them.
    pub kind: u32,
}

/// A memory map whose entry size has been checked.
#[derive(Clone, Copy)]
pub struct Map<'a> {
    entries: &'a [u8],
    entry_size: usize,
}

impl<'a> Map<'a> {
    pub fn parse(tag: Tag<'a>) -> Result<Self, Problem> {
        let entry_size = u32_at(tag.bytes, 8).unwrap_or(0) as usize;
        let offset = tag.offset;
        ensure!(
            entry_size >= MINIMUM && entry_size.is_multiple_of(8),
            "memory map at offset {offset:#x} has entries of {entry_size} bytes, needs a multiple of 8 from {MINIMUM} on"
        );
        let map = Self { entries: tag.bytes.get(ENTRIES..).unwrap_or(&[]), entry_size };
        match map.raw().count() {
            0 => Err(problem!("the memory map is empty")),
            _ if map.areas().any(|area| area.kind == AVAILABLE) => Ok(map),
            entries => Err(problem!("the memory map has {entries} entries and none is usable memory")),
        }
    }

    fn raw(self) -> impl Iterator<Item = MemoryArea> + Clone + 'a {
        self.entries.chunks_exact(self.entry_size).map(|bytes| MemoryArea {
            base: u64_at(bytes, 0).unwrap_or(0),
            length: u64_at(bytes, 8).unwrap_or(0),
            kind: u32_at(bytes, 16).unwrap_or(0),
        })
    }

    /// Non-empty ranges, cut off at the end of the physical address space.
    pub fn areas(self) -> impl Iterator<Item = MemoryArea> + Clone + 'a {
        let end = |area: MemoryArea| area.base.saturating_add(area.length).min(PHYSICAL_END);
        let cut = move |area| MemoryArea { length: end(area).saturating_sub(area.base), ..area };
        self.raw().map(cut).filter(|area| area.length != 0)
    }
}
