//! What can be wrong with a boot information, and how it is said.

use core::fmt;

/// Why a boot information cannot be used. Offsets are bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootInfoError {
    /// The total size in the header is outside 16 bytes to 1 MiB.
    TotalSize(u32),
    /// Fewer bytes were handed over than the header's total size.
    Incomplete {
        /// Bytes handed over.
        have: usize,
        /// Total size the header asks for.
        need: usize,
    },
    /// The bytes do not start at a multiple of 8.
    Misaligned,
    /// No end tag before the end of the information.
    NoEndTag,
    /// A tag is smaller than a structure of its type must be.
    TagTooShort {
        /// Where the tag starts.
        offset: usize,
        /// The tag's type.
        kind: u32,
        /// The size it gives.
        size: u32,
        /// The smallest valid size.
        minimum: u32,
    },
    /// A tag reaches beyond the end of the information.
    TagTooLong {
        /// Where the tag starts.
        offset: usize,
        /// The tag's type.
        kind: u32,
        /// The size it gives.
        size: u32,
        /// Bytes left for it.
        left: usize,
    },
    /// A tag's text has no terminating zero.
    Unterminated {
        /// Where the tag starts.
        offset: usize,
        /// The tag's type.
        kind: u32,
    },
    /// A tag's text is not UTF-8.
    NotText {
        /// Where the tag starts.
        offset: usize,
        /// The tag's type.
        kind: u32,
        /// Position of the first bad byte in the text.
        position: usize,
    },
    /// A module ends before it starts.
    ModuleBackwards {
        /// Position in the order of modules, from 0.
        index: usize,
        /// Physical start address.
        start: u32,
        /// Physical end address.
        end: u32,
    },
    /// Neither kind of memory map is there.
    NoMemoryMap,
    /// The only memory map is the firmware's, and the firmware still runs.
    BootServicesActive,
    /// The memory map's entry size cannot hold an entry or is not a multiple of 8.
    EntrySize {
        /// Where the tag starts.
        offset: usize,
        /// The entry size it gives.
        size: u32,
        /// The smallest valid size.
        minimum: u32,
    },
    /// The memory map lists nothing.
    EmptyMemoryMap,
    /// The memory map lists no usable memory.
    NoUsableMemory {
        /// Number of entries.
        entries: usize,
    },
}

/// A tag type with its name in the multiboot2 specification.
struct Kind(u32);

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            0 => "end",
            1 => "command line",
            2 => "boot loader name",
            3 => "module",
            4 => "basic memory",
            5 => "boot device",
            6 => "memory map",
            7 => "VBE",
            8 => "framebuffer",
            9 => "ELF sections",
            10 => "APM",
            11 | 12 => "EFI system table",
            13 => "SMBIOS",
            14 => "old ACPI RSDP",
            15 => "new ACPI RSDP",
            16 => "network",
            17 => "EFI memory map",
            18 => "EFI boot services",
            19 | 20 => "EFI image handle",
            21 => "load address",
            _ => "unknown",
        };
        write!(f, "{name} tag (type {})", self.0)
    }
}

impl fmt::Display for BootInfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("boot information: ")?;
        match *self {
            Self::TotalSize(size) => write!(f, "total size {size:#x} is not between 16 bytes and 1 MiB"),
            Self::Incomplete { have, need } => write!(f, "truncated: {have:#x} of {need:#x} bytes"),
            Self::Misaligned => f.write_str("does not start at a multiple of 8"),
            Self::NoEndTag => f.write_str("no end tag"),
            Self::TagTooShort { offset, kind, size, minimum } => {
                write!(f, "{} at offset {offset:#x} has {size} bytes, needs at least {minimum}", Kind(kind))
            }
            Self::TagTooLong { offset, kind, size, left } => {
                write!(f, "{} at offset {offset:#x} is truncated: it has {size} bytes, {left} are left", Kind(kind))
            }
            Self::Unterminated { offset, kind } => {
                write!(f, "text in the {} at offset {offset:#x} has no terminating zero", Kind(kind))
            }
            Self::NotText { offset, kind, position } => {
                write!(f, "text in the {} at offset {offset:#x} is not UTF-8 from byte {position} on", Kind(kind))
            }
            Self::ModuleBackwards { index, start, end } => {
                write!(f, "module {index} ends at {end:#x}, before its start at {start:#x}")
            }
            Self::NoMemoryMap => f.write_str("no memory map: the boot loader must pass one"),
            Self::BootServicesActive => f.write_str(
                "the only memory map is EFI's, and the EFI boot services still run: they must be left first",
            ),
            Self::EntrySize { offset, size, minimum } => write!(
                f,
                "memory map at offset {offset:#x} has entries of {size} bytes, needs a multiple of 8 from {minimum} on"
            ),
            Self::EmptyMemoryMap => f.write_str("the memory map is empty"),
            Self::NoUsableMemory { entries } => {
                write!(f, "the memory map has {entries} entries and none is usable memory")
            }
        }
    }
}

impl core::error::Error for BootInfoError {}
