//! The memory map, from either of the two tags that can carry it.
//!
//! Both are arrays with an entry size of their own (multiboot2 specification
//! §3.6.8 and §3.6.17, UEFI specification §7.2). EFI's memory types become
//! those of the E820 interface, the way the boot loader itself does it.

use super::{Area, BootInfoError, Tag, kind};
use crate::bytes::{u32_at, u64_at};
use crate::physical::PHYSICAL_END;
use multiboot2::{EFIMemoryDesc, MemoryArea};

/// E820 type of memory that can be used.
pub const AVAILABLE: u32 = 1;

/// Bytes of a tag before its entries.
const ENTRIES: usize = 16;

/// One range of the memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// First byte.
    pub base: u64,
    /// Bytes.
    pub length: u64,
    /// E820 type: 1 usable, 2 reserved, 3 ACPI tables (reclaimable), 4 ACPI
    /// non-volatile storage, 5 defective; others as the firmware gives them.
    pub kind: u32,
}

impl Entry {
    /// The part below the end of the physical address space.
    fn clipped(self) -> Area {
        let end = self.base.saturating_add(self.length).min(PHYSICAL_END);
        Area { length: end.saturating_sub(self.base), ..self }
    }

    /// Whether the range lies wholly inside the physical address space.
    fn fits(self) -> bool {
        self.base.checked_add(self.length).is_some_and(|end| end <= PHYSICAL_END)
    }
}

/// A memory map whose entry size has been checked.
#[derive(Clone, Copy)]
pub struct Map<'a> {
    entries: &'a [u8],
    entry_size: usize,
    efi: bool,
}

impl<'a> Map<'a> {
    /// The map in a tag of type 6 or 17.
    pub fn parse(tag: Tag<'a>) -> Result<Self, BootInfoError> {
        let efi = tag.kind == kind::EFI_MEMORY_MAP;
        let minimum = if efi { size_of::<EFIMemoryDesc>() } else { size_of::<MemoryArea>() };
        let size = u32_at(tag.bytes, 8).unwrap_or(0);
        let entry_size = size as usize;
        if entry_size < minimum || !entry_size.is_multiple_of(8) {
            return Err(BootInfoError::EntrySize { offset: tag.offset, size, minimum: minimum as u32 });
        }
        let map = Self { entries: tag.bytes.get(ENTRIES..).unwrap_or(&[]), entry_size, efi };
        let entries = map.raw().count();
        if entries == 0 {
            return Err(BootInfoError::EmptyMemoryMap);
        }
        if !map.areas().any(|area| area.kind == AVAILABLE) {
            return Err(BootInfoError::NoUsableMemory { entries });
        }
        Ok(map)
    }

    fn raw(self) -> impl Iterator<Item = Entry> + Clone + 'a {
        self.entries.chunks_exact(self.entry_size).map(move |bytes| {
            if self.efi {
                let pages = u64_at(bytes, 24).unwrap_or(0);
                Entry {
                    base: u64_at(bytes, 8).unwrap_or(0),
                    length: pages.saturating_mul(4096),
                    kind: e820_type(u32_at(bytes, 0).unwrap_or(0)),
                }
            } else {
                Entry {
                    base: u64_at(bytes, 0).unwrap_or(0),
                    length: u64_at(bytes, 8).unwrap_or(0),
                    kind: u32_at(bytes, 16).unwrap_or(0),
                }
            }
        })
    }

    /// Non-empty ranges, cut off at the end of the physical address space.
    pub fn areas(self) -> impl Iterator<Item = Area> + Clone + 'a {
        self.raw().map(Entry::clipped).filter(|area| area.length != 0)
    }

    /// Ranges, as given, that reach beyond the physical address space.
    pub fn oversized(self) -> impl Iterator<Item = Entry> + 'a {
        self.raw().filter(|entry| !entry.fits())
    }
}

/// The E820 type for a UEFI memory type after the boot services have ended.
fn e820_type(efi: u32) -> u32 {
    match efi {
        // Loader code and data, boot services code and data, conventional.
        1..=4 | 7 => AVAILABLE,
        // Unusable.
        8 => 5,
        // ACPI reclaim.
        9 => 3,
        // ACPI non-volatile storage.
        10 => 4,
        // Persistent.
        14 => 7,
        _ => 2,
    }
}
