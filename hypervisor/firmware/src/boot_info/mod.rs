//! The multiboot2 information that the boot loader hands over.
//!
//! Purpose: command line, memory map, modules and the places of firmware tables.
//! Invariants: [`BootInfo::parse`] walks all tags once; everything a getter returns was checked there, so getters
//! cannot fail. Tags of unknown type are skipped. If a tag that may occur once occurs twice, the first one counts.
//! A text that is not UTF-8 or lacks its terminating zero is an error: a guess at the command line would start another
//! machine than the one asked for. Ranges of the memory map that reach beyond 2^52 are cut off there.
//! Concurrency: none; see the crate.
//! Source: Multiboot2 specification 2.0, §3.6.

mod memory;
#[cfg(test)]
mod tests;

use crate::Problem;
use crate::acpi_tables::Rsdp;
use crate::bytes::{u32_at, u64_at};
use core::ffi::CStr;
use memory::Map;
pub use memory::{AVAILABLE, MemoryArea};
use multiboot2::TagType;

/// Largest boot information that is accepted, in bytes.
pub const MAX_SIZE: usize = 1 << 20;

/// Smallest size of a tag in bytes, with its header, by type; 8 for types that are not read here.
const MINIMUM: [u32; 16] = [8, 9, 9, 17, 8, 8, 16, 8, 8, 8, 8, 12, 16, 8, 28, 44];

/// Size of the whole information in bytes, from its first four.
///
/// # Errors
/// A size below 16 bytes or above [`MAX_SIZE`].
pub fn total_size(header: &[u8]) -> Result<usize, Problem> {
    let size = u32_at(header, 0).unwrap_or(0) as usize;
    ensure!((16..=MAX_SIZE).contains(&size), "total size {size:#x} is not between 16 bytes and 1 MiB");
    Ok(size)
}

/// A tag that lies wholly inside the information.
#[derive(Clone, Copy)]
struct Tag<'a> {
    offset: usize,
    kind: TagType,
    /// The tag with its header, without padding.
    bytes: &'a [u8],
}

impl<'a> Tag<'a> {
    /// The tag at `offset` of `info`, not smaller than its type demands.
    fn at(info: &'a [u8], offset: usize) -> Result<Self, Problem> {
        let rest = info.get(offset..).unwrap_or(&[]);
        let (Some(kind), Some(size)) = (u32_at(rest, 0), u32_at(rest, 4)) else { return Err(problem!("no end tag")) };
        let (minimum, kind) = (MINIMUM.get(kind as usize).copied().unwrap_or(8), TagType::from(kind));
        ensure!(size >= minimum, "{kind:?} tag at offset {offset:#x} has {size} bytes, needs at least {minimum}");
        let bytes = rest.get(..size as usize).ok_or_else(|| {
            let left = rest.len();
            problem!("{kind:?} tag at offset {offset:#x} is truncated: it has {size} bytes, {left} are left")
        })?;
        Ok(Self { offset, kind, bytes })
    }

    /// The text that begins at `start` of the tag.
    fn text(self, start: usize) -> Result<&'a str, Problem> {
        let Self { offset, kind, bytes } = self;
        let place = format_args!("text in the {kind:?} tag at offset {offset:#x}");
        let text = CStr::from_bytes_until_nul(bytes.get(start..).unwrap_or(&[]));
        let text = text.map_err(|_| problem!("{place} has no terminating zero"))?.to_str();
        text.map_err(|error| problem!("{place} is not UTF-8 from byte {} on", error.valid_up_to()))
    }

    fn module(self) -> Result<Module<'a>, Problem> {
        let [start, end] = [8, 12].map(|offset| u64::from(u32_at(self.bytes, offset).unwrap_or(0)));
        ensure!(start <= end, "a module ends at {end:#x}, before its start at {start:#x}");
        Ok(Module { start, end, command_line: self.text(16)? })
    }
}

/// The tags up to the end tag or the first malformed one. A tag has at least 8 bytes, so they end.
fn tags(info: &[u8]) -> impl Iterator<Item = Result<Tag<'_>, Problem>> {
    let mut next = Some(8);
    core::iter::from_fn(move || {
        let tag = Tag::at(info, next?);
        let more = tag.ok().filter(|tag| tag.kind != TagType::End);
        next = more.map(|tag| tag.offset + tag.bytes.len().next_multiple_of(8));
        Some(tag)
    })
}

/// The kernel's command line in a boot information of which nothing else may be right; empty if it cannot be found. It
/// says where to report what is wrong with the rest.
pub fn command_line(info: &[u8]) -> &str {
    let mut tags = tags(info).flatten();
    tags.find(|tag| tag.kind == TagType::Cmdline).and_then(|tag| tag.text(8).ok()).unwrap_or("")
}

/// A file that the boot loader put into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Module<'a> {
    /// Physical address of the first byte.
    pub start: u64,
    /// Physical address after the last byte; not below `start`.
    pub end: u64,
    /// The text after the command that loaded it.
    pub command_line: &'a str,
}

/// A checked boot information.
#[derive(Clone, Copy)]
pub struct BootInfo<'a> {
    info: &'a [u8],
    map: Map<'a>,
}

impl<'a> BootInfo<'a> {
    /// Checks a whole boot information, which starts at `bytes[0]`. Bytes after its total size are ignored.
    ///
    /// # Errors
    /// Anything malformed in a tag that is read here, and a memory map without usable memory.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Problem> {
        let (have, need) = (bytes.len(), total_size(bytes)?);
        let info = bytes.get(..need).ok_or_else(|| problem!("truncated: {have:#x} of {need:#x} bytes"))?;
        for tag in tags(info) {
            let tag = tag?;
            match tag.kind {
                TagType::Cmdline | TagType::BootLoaderName => drop(tag.text(8)?),
                TagType::Module => drop(tag.module()?),
                _ => {}
            }
        }
        let map = tags(info).flatten().find(|tag| tag.kind == TagType::Mmap);
        let map = map.ok_or_else(|| problem!("no memory map: the boot loader must pass one"))?;
        Ok(Self { info, map: Map::parse(map)? })
    }

    fn first(&self, kind: TagType) -> Option<Tag<'a>> {
        tags(self.info).flatten().find(|tag| tag.kind == kind)
    }

    /// The kernel's command line; empty if there is none.
    pub fn command_line(&self) -> &'a str {
        command_line(self.info)
    }

    /// The boot loader's name; empty if it gives none.
    pub fn loader(&self) -> &'a str {
        self.first(TagType::BootLoaderName).and_then(|tag| tag.text(8).ok()).unwrap_or("")
    }

    /// The memory map in the order given, without empty ranges. Ranges may overlap each other, modules and the kernel.
    /// At least one is usable.
    pub fn memory(&self) -> impl Iterator<Item = MemoryArea> + Clone + use<'a> {
        self.map.areas()
    }

    /// The modules in the order given. They may overlap anything.
    pub fn modules(&self) -> impl Iterator<Item = Module<'a>> + use<'a> {
        tags(self.info).flatten().filter(|tag| tag.kind == TagType::Module).filter_map(|tag| tag.module().ok())
    }

    /// The copy of the RSDP, from the new tag if there are both. `None` if the boot loader passed none.
    ///
    /// # Errors
    /// No copy is valid: what is wrong with the preferred one.
    pub fn rsdp(&self) -> Result<Option<Rsdp>, Problem> {
        let copies = [TagType::AcpiV2, TagType::AcpiV1].map(|kind| self.first(kind));
        let mut parsed = copies.into_iter().flatten().map(|tag| Rsdp::parse(tag.bytes.get(8..).unwrap_or(&[])));
        match parsed.next() {
            Some(Err(fault)) => parsed.find_map(Result::ok).ok_or(fault).map(Some),
            preferred => preferred.transpose(),
        }
    }

    /// Physical address of the EFI system table, when started from EFI.
    pub fn efi_system_table(&self) -> Option<u64> {
        let wide = self.first(TagType::Efi64).and_then(|tag| u64_at(tag.bytes, 8));
        wide.or_else(|| u32_at(self.first(TagType::Efi32)?.bytes, 8).map(u64::from))
    }
}
