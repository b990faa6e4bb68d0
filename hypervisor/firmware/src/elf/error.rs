//! What can be wrong with a program file, and what to do about it.

use core::fmt;

/// Why a file cannot be started as a program. Segments are counted as program
/// headers, from 0, the way `readelf -l` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElfError {
    /// The file is shorter than an ELF header.
    Short(u64),
    /// The file does not begin like an ELF file.
    NotElf([u8; 4]),
    /// Not a 64-bit file: the class byte.
    Class(u8),
    /// Not little-endian: the data byte.
    ByteOrder(u8),
    /// Not an executable at fixed addresses: the file type.
    Type(u16),
    /// Not for x86-64: the machine number.
    Machine(u16),
    /// Program headers of another size than 56 bytes.
    HeaderSize(u16),
    /// More program headers than are accepted.
    TooManyHeaders(u16),
    /// The program headers end beyond the bytes that are looked at.
    HeadersTooFar {
        /// File offset after the last program header.
        end: u64,
        /// Bytes that are looked at.
        limit: u64,
    },
    /// Nothing to load.
    NoSegment,
    /// Memory size and file size differ.
    Bss {
        /// Which segment.
        segment: usize,
        /// Bytes in memory.
        memory_size: u64,
        /// Bytes in the file.
        file_size: u64,
    },
    /// The file ends inside the segment.
    Truncated {
        /// Which segment.
        segment: usize,
        /// File offset after the segment; `u64::MAX` if beyond all numbers.
        end: u64,
        /// Bytes in the file.
        file_size: u64,
    },
    /// Address and file offset differ in their low 12 bits.
    Misaligned {
        /// Which segment.
        segment: usize,
        /// Virtual address.
        virt: u64,
        /// File offset.
        offset: u64,
    },
    /// The segment reaches beyond the memory of a program.
    OutsideUserRange {
        /// Which segment.
        segment: usize,
        /// Virtual address.
        virt: u64,
        /// Bytes.
        size: u64,
    },
    /// Two segments want different things of one page.
    Overlap {
        /// The earlier segment.
        first: usize,
        /// The later segment.
        second: usize,
        /// Virtual address of the first such page.
        page: u64,
    },
    /// The entry point is not in an executable segment.
    Entry(u64),
}

impl fmt::Display for ElfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Short(length) => write!(f, "not an ELF file: it has {length} bytes, an ELF header 64"),
            Self::NotElf(magic) => write!(
                f,
                "not an ELF file: it begins with \"{}\"; give an uncompressed x86-64 ELF file",
                magic.escape_ascii()
            ),
            Self::Class(class) => write!(f, "ELF class {class}, needs 2 (64 bits): build it for x86-64"),
            Self::ByteOrder(order) => write!(f, "ELF byte order {order}, needs 1 (little-endian)"),
            Self::Type(3) => f.write_str(
                "ELF type 3 (position-independent), needs 2 (executable): link it statically at a fixed address \
                 (relocation-model=static, -no-pie)",
            ),
            Self::Type(kind) => write!(f, "ELF type {kind}, needs 2 (executable): link it"),
            Self::Machine(machine) => write!(f, "ELF machine {machine}, needs 62 (x86-64): build it for x86-64"),
            Self::HeaderSize(size) => write!(f, "program headers of {size} bytes, needs 56"),
            Self::TooManyHeaders(count) => {
                write!(f, "{count} program headers, at most {} are accepted", super::MAX_HEADERS)
            }
            Self::HeadersTooFar { end, limit } => write!(
                f,
                "the program headers end at {end:#x}, only the first {limit:#x} bytes are looked at: the file is \
                 truncated or its headers are not at its start"
            ),
            Self::NoSegment => f.write_str("no loadable segment"),
            Self::Bss { segment, memory_size, file_size } => write!(
                f,
                "segment {segment} has a bss (memory size {memory_size:#x}, file size {file_size:#x}): link it into \
                 .data"
            ),
            Self::Truncated { segment, end, file_size } => {
                write!(f, "truncated: segment {segment} ends at {end:#x}, the file has {file_size:#x} bytes")
            }
            Self::Misaligned { segment, virt, offset } => write!(
                f,
                "segment {segment} has virtual address {virt:#x} and file offset {offset:#x}, which differ modulo \
                 0x1000: align segments to pages in the file"
            ),
            Self::OutsideUserRange { segment, virt, size } => write!(
                f,
                "segment {segment} at {virt:#x} of size {size:#x} ends beyond {:#x}: link it lower",
                super::USER_END
            ),
            Self::Overlap { first, second, page } => write!(
                f,
                "segments {first} and {second} share the page {page:#x} with different rights or contents: align \
                 segments to pages"
            ),
            Self::Entry(entry) => write!(f, "entry point {entry:#x} is in no executable segment"),
        }
    }
}

impl core::error::Error for ElfError {}
