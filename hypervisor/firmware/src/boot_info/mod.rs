//! The multiboot2 information that the boot loader hands over.
//!
//! [`BootInfo::parse`] walks all tags once; everything a getter returns was
//! checked there, so getters cannot fail. Tags of unknown type are skipped.
//! If a tag that may occur once occurs twice, the first one counts.
//!
//! A text that is not UTF-8 or lacks its terminating zero is an error: a guess
//! at the command line would start another machine than the one asked for.
//! Ranges of the memory map that reach beyond 2^52 are cut off there and listed
//! by [`BootInfo::oversized_memory`].
//!
//! Source: Multiboot2 specification 2.0, §3.6.

mod error;
mod memory;
#[cfg(test)]
mod tests;

use crate::acpi_tables::{AcpiError, Rsdp};
use crate::bytes::{u32_at, u64_at};
pub use error::BootInfoError;
use memory::Map;
pub use memory::{AVAILABLE, Entry as MemoryArea};
use multiboot2::{
    BootLoaderNameTag, CommandLineTag, DynSizedStructure, FramebufferTag, ModuleTag, StringError, TagHeader,
};

type Area = MemoryArea;

/// Largest boot information that is accepted, in bytes.
pub const MAX_SIZE: usize = 1 << 20;

/// Tag types that are read here.
mod kind {
    pub const END: u32 = 0;
    pub const COMMAND_LINE: u32 = 1;
    pub const LOADER: u32 = 2;
    pub const MODULE: u32 = 3;
    pub const MEMORY_MAP: u32 = 6;
    pub const FRAMEBUFFER: u32 = 8;
    pub const EFI_TABLE_32: u32 = 11;
    pub const EFI_TABLE_64: u32 = 12;
    pub const RSDP_OLD: u32 = 14;
    pub const RSDP_NEW: u32 = 15;
    pub const EFI_MEMORY_MAP: u32 = 17;
    pub const EFI_BOOT_SERVICES: u32 = 18;

    /// Smallest size of a tag of this type, in bytes with its header.
    pub fn minimum(kind: u32) -> u32 {
        match kind {
            COMMAND_LINE | LOADER => 9,
            MODULE => 17,
            MEMORY_MAP | EFI_MEMORY_MAP | EFI_TABLE_64 => 16,
            EFI_TABLE_32 => 12,
            FRAMEBUFFER => 32,
            RSDP_OLD => 28,
            RSDP_NEW => 44,
            _ => 8,
        }
    }
}

/// Size of the whole information in bytes, from its first eight.
///
/// # Errors
/// A size below 16 bytes or above [`MAX_SIZE`].
pub fn total_size(header: &[u8; 8]) -> Result<usize, BootInfoError> {
    let [a, b, c, d, ..] = *header;
    let size = u32::from_le_bytes([a, b, c, d]);
    match usize::try_from(size) {
        Ok(bytes) if (16..=MAX_SIZE).contains(&bytes) => Ok(bytes),
        _ => Err(BootInfoError::TotalSize(size)),
    }
}

/// A tag that lies wholly inside the information.
#[derive(Clone, Copy)]
struct Tag<'a> {
    offset: usize,
    kind: u32,
    /// The tag with its header, without padding.
    bytes: &'a [u8],
    /// The tag with its header and padding.
    padded: &'a [u8],
}

impl<'a> Tag<'a> {
    /// The tag at `offset` of `info`, not smaller than its type demands.
    fn at(info: &'a [u8], offset: usize) -> Result<Self, BootInfoError> {
        let rest = info.get(offset..).unwrap_or(&[]);
        let (Some(kind), Some(size)) = (u32_at(rest, 0), u32_at(rest, 4)) else {
            return Err(BootInfoError::NoEndTag);
        };
        let minimum = kind::minimum(kind);
        if size < minimum {
            return Err(BootInfoError::TagTooShort { offset, kind, size, minimum });
        }
        let too_long = BootInfoError::TagTooLong { offset, kind, size, left: rest.len() };
        // At most 1 MiB is left, so a size that would overflow here is too long.
        let bytes = rest.get(..size as usize).ok_or(too_long)?;
        let padded = rest.get(..bytes.len().next_multiple_of(8)).ok_or(too_long)?;
        Ok(Self { offset, kind, bytes, padded })
    }

    /// The tag as the crate's type. `None` never occurs for a tag made by `at`
    /// from an aligned information.
    fn structure(self) -> Option<&'a DynSizedStructure<TagHeader>> {
        DynSizedStructure::ref_from_slice(self.padded).ok()
    }

    /// Turns the crate's text errors into ours.
    fn text(self, text: Result<&'a str, StringError>) -> Result<&'a str, BootInfoError> {
        let Self { offset, kind, .. } = self;
        text.map_err(|error| match error {
            StringError::MissingNul(_) => BootInfoError::Unterminated { offset, kind },
            StringError::Utf8(error) => BootInfoError::NotText { offset, kind, position: error.valid_up_to() },
        })
    }

    fn module(self) -> Result<Module<'a>, BootInfoError> {
        let tag: &ModuleTag = self.structure().ok_or(BootInfoError::Misaligned)?.cast();
        let command_line = self.text(tag.cmdline())?;
        Ok(Module { start: tag.start_address().into(), end: tag.end_address().into(), command_line })
    }
}

/// The tags before the end tag; ends early at a malformed one.
fn tags(info: &[u8]) -> impl Iterator<Item = Tag<'_>> {
    let mut offset = 8;
    core::iter::from_fn(move || {
        let tag = Tag::at(info, offset).ok().filter(|tag| tag.kind != kind::END)?;
        offset += tag.padded.len();
        Some(tag)
    })
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

/// The screen that the boot loader set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framebuffer {
    /// Physical address of the first line.
    pub address: u64,
    /// Bytes from line to line.
    pub pitch: u32,
    /// Pixels (characters in text mode) in a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// Bits per pixel.
    pub bpp: u8,
    /// 0 indexed colour, 1 direct colour, 2 text.
    pub kind: u8,
}

/// A checked boot information.
#[derive(Clone, Copy)]
pub struct BootInfo<'a> {
    info: &'a [u8],
    command_line: &'a str,
    loader: &'a str,
    map: Map<'a>,
    rsdp_old: Option<Tag<'a>>,
    rsdp_new: Option<Tag<'a>>,
    framebuffer: Option<Framebuffer>,
    efi_system_table: Option<u64>,
}

impl<'a> BootInfo<'a> {
    /// Checks a whole boot information, which starts at `bytes[0]`. Bytes after
    /// its total size are ignored.
    ///
    /// # Errors
    /// Anything malformed in a tag that is read here, and a memory map without
    /// usable memory.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BootInfoError> {
        if !bytes.as_ptr().addr().is_multiple_of(8) {
            return Err(BootInfoError::Misaligned);
        }
        let header = bytes.first_chunk().ok_or(BootInfoError::Incomplete { have: bytes.len(), need: 16 })?;
        let need = total_size(header)?;
        let info = bytes.get(..need).ok_or(BootInfoError::Incomplete { have: bytes.len(), need })?;
        check_tags(info)?;

        let first = |kind| tags(info).find(|tag| tag.kind == kind);
        let map = match (first(kind::MEMORY_MAP), first(kind::EFI_MEMORY_MAP)) {
            (Some(tag), _) => Map::parse(tag)?,
            (None, Some(_)) if first(kind::EFI_BOOT_SERVICES).is_some() => {
                return Err(BootInfoError::BootServicesActive);
            }
            (None, Some(tag)) => Map::parse(tag)?,
            (None, None) => return Err(BootInfoError::NoMemoryMap),
        };
        let command_line = match first(kind::COMMAND_LINE).and_then(|tag| Some((tag, tag.structure()?))) {
            Some((tag, structure)) => tag.text(structure.cast::<CommandLineTag>().cmdline())?,
            None => "",
        };
        let loader = match first(kind::LOADER).and_then(|tag| Some((tag, tag.structure()?))) {
            Some((tag, structure)) => tag.text(structure.cast::<BootLoaderNameTag>().name())?,
            None => "",
        };
        Ok(Self {
            info,
            command_line,
            loader,
            map,
            rsdp_old: first(kind::RSDP_OLD),
            rsdp_new: first(kind::RSDP_NEW),
            framebuffer: first(kind::FRAMEBUFFER).and_then(framebuffer),
            efi_system_table: first(kind::EFI_TABLE_64)
                .and_then(|tag| u64_at(tag.bytes, 8))
                .or_else(|| first(kind::EFI_TABLE_32).and_then(|tag| u32_at(tag.bytes, 8)).map(u64::from)),
        })
    }

    /// The kernel's command line; empty if there is none.
    pub fn command_line(&self) -> &'a str {
        self.command_line
    }

    /// The boot loader's name; empty if it gives none.
    pub fn loader(&self) -> &'a str {
        self.loader
    }

    /// The memory map in the order given, without empty ranges. Ranges may
    /// overlap each other, modules and the kernel. At least one is usable.
    pub fn memory(&self) -> impl Iterator<Item = MemoryArea> + Clone + use<'a> {
        self.map.areas()
    }

    /// Ranges of the memory map that reach beyond 2^52, as the map gives them;
    /// [`BootInfo::memory`] cuts them off there.
    pub fn oversized_memory(&self) -> impl Iterator<Item = MemoryArea> + use<'a> {
        self.map.oversized()
    }

    /// The modules in the order given. They may overlap anything.
    pub fn modules(&self) -> impl Iterator<Item = Module<'a>> + use<'a> {
        tags(self.info).filter(|tag| tag.kind == kind::MODULE).filter_map(|tag| tag.module().ok())
    }

    /// The copy of the RSDP, from the new tag if there are both. `None` if the
    /// boot loader passed none.
    ///
    /// # Errors
    /// No copy is valid: what is wrong with the preferred one.
    pub fn rsdp(&self) -> Result<Option<Rsdp>, AcpiError> {
        let read = |tag: Option<Tag<'a>>| tag.map(|tag| Rsdp::parse(tag.bytes.get(8..).unwrap_or(&[])));
        match (read(self.rsdp_new), read(self.rsdp_old)) {
            (Some(Ok(rsdp)), _) | (Some(Err(_)) | None, Some(Ok(rsdp))) => Ok(Some(rsdp)),
            (Some(Err(error)), _) | (None, Some(Err(error))) => Err(error),
            (None, None) => Ok(None),
        }
    }

    /// The screen, if the boot loader set one up.
    pub fn framebuffer(&self) -> Option<Framebuffer> {
        self.framebuffer
    }

    /// Physical address of the EFI system table, when started from EFI.
    pub fn efi_system_table(&self) -> Option<u64> {
        self.efi_system_table
    }
}

/// Checks the sequence of tags up to the end tag, and every module.
fn check_tags(info: &[u8]) -> Result<(), BootInfoError> {
    let (mut offset, mut index) = (8, 0);
    loop {
        let tag = Tag::at(info, offset)?;
        match tag.kind {
            kind::END => return Ok(()),
            kind::MODULE => {
                let module = tag.module()?;
                if module.end < module.start {
                    let (start, end) = (module.start as u32, module.end as u32);
                    return Err(BootInfoError::ModuleBackwards { index, start, end });
                }
                index += 1;
            }
            _ => {}
        }
        // A tag has at least 8 bytes, so this ends.
        offset += tag.padded.len();
    }
}

fn framebuffer(tag: Tag<'_>) -> Option<Framebuffer> {
    // The crate's getter for the type panics on a short palette: read it here.
    let kind = *tag.bytes.get(29)?;
    let tag: &FramebufferTag = tag.structure()?.cast();
    let (address, pitch, bpp) = (tag.address(), tag.pitch(), tag.bpp());
    Some(Framebuffer { address, pitch, width: tag.width(), height: tag.height(), bpp, kind })
}
