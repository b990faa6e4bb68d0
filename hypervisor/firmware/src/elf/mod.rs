//! The headers of a program that is mapped in place from a module.
//!
//! [`Image::parse`] checks everything, so that mapping the segments' pages needs
//! no further checks but the module's own alignment: file pages become virtual
//! pages with the segment's rights, nothing is copied or cleared. Hence no bss,
//! addresses congruent to file offsets, and no virtual page that two segments
//! claim differently. What surrounds a segment in its first and last page is
//! visible to the program.
//!
//! One page of the file that two segments map with different rights
//! ([`Image::shared_frames`]) is allowed, as the interface always did; it can
//! make a frame writable at one address and executable at another.
//!
//! Source: ELF-64 object file format 1.5; the classic interface's rules for
//! the root program.

mod error;
#[cfg(test)]
mod tests;

use crate::bytes::{u16_at, u32_at, u64_at};
use abi::address::PAGE_SIZE as PAGE;
use core::fmt;
pub use error::ElfError;

/// First address that no segment may reach: the root program's communication
/// buffer below the hypervisor information page in its largest form.
pub const USER_END: u64 = 0x7fff_bfff_b000;
/// Most program headers that are accepted: segments are compared in pairs.
pub const MAX_HEADERS: u16 = 128;

const FILE_HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;

/// What a program may do with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Read.
    pub read: bool,
    /// Write.
    pub write: bool,
    /// Execute.
    pub execute: bool,
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |set, letter| if set { letter } else { '-' };
        write!(f, "{}{}{}", show(self.read, 'r'), show(self.write, 'w'), show(self.execute, 'x'))
    }
}

/// A part of the file to be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Position among the program headers.
    pub index: usize,
    /// Virtual address of the first byte, in bytes.
    pub virt: u64,
    /// File offset of the first byte; equal to `virt` modulo 4096.
    pub offset: u64,
    /// Bytes, in the file and in memory; not 0.
    pub size: u64,
    /// Rights.
    pub rights: Rights,
}

impl Segment {
    /// Virtual addresses of the first page and after the last page.
    pub fn pages(&self) -> (u64, u64) {
        page_span(self.virt, self.size)
    }

    /// File offsets of the first page and after the last page.
    pub fn file_pages(&self) -> (u64, u64) {
        page_span(self.offset, self.size)
    }
}

/// The pages of a range that was checked to end far below 2^64.
fn page_span(start: u64, size: u64) -> (u64, u64) {
    (start & !(PAGE - 1), start.saturating_add(size).saturating_add(PAGE - 1) & !(PAGE - 1))
}

/// The first page in both spans.
fn common_page(a: (u64, u64), b: (u64, u64)) -> Option<u64> {
    let page = a.0.max(b.0);
    (page < a.1.min(b.1)).then_some(page)
}

/// One page of the file that two segments map with different rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedFrame {
    /// The earlier segment.
    pub first: Segment,
    /// The later segment.
    pub second: Segment,
    /// File offset of the first such page.
    pub offset: u64,
}

impl fmt::Display for SharedFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, second, offset } = self;
        write!(
            f,
            "segments {} ({}) and {} ({}) share the file page at {offset:#x}: align segments to pages in the file",
            first.index, first.rights, second.index, second.rights
        )
    }
}

/// A checked program file.
#[derive(Clone, Copy)]
pub struct Image<'a> {
    /// Program headers.
    headers: &'a [u8],
    entry: u64,
}

impl<'a> Image<'a> {
    /// Checks a file of `file_length` bytes that begins with `header`, which
    /// must hold all program headers.
    ///
    /// # Errors
    /// What keeps the file from being mapped in place, and how to change it.
    pub fn parse(header: &'a [u8], file_length: u64) -> Result<Self, ElfError> {
        let limit = file_length.min(header.len() as u64);
        // `limit` is at most the length of the slice.
        let header = header.get(..limit as usize).unwrap_or(header);
        let headers = program_headers(header, limit)?;
        let image = Self { headers, entry: u64_at(header, 24).unwrap_or(0) };
        for segment in image.all_segments() {
            check_segment(segment, file_length)?;
        }
        image.check_together()?;
        Ok(image)
    }

    /// Address of the first instruction; inside an executable segment.
    pub fn entry(&self) -> u64 {
        self.entry
    }

    /// The segments to map, without empty ones, in the order of the file.
    pub fn segments(&self) -> impl Iterator<Item = Segment> + Clone + use<'a> {
        self.all_segments().map(|raw| raw.segment)
    }

    /// Pairs of segments of different rights that share a page of the file.
    pub fn shared_frames(&self) -> impl Iterator<Item = SharedFrame> + use<'a> {
        pairs(self.segments()).filter_map(|(first, second)| {
            let offset = common_page(first.file_pages(), second.file_pages())?;
            (first.rights != second.rights).then_some(SharedFrame { first, second, offset })
        })
    }

    /// The loadable segments that have a size, not yet checked.
    fn all_segments(&self) -> impl Iterator<Item = Raw> + Clone + use<'a> {
        let headers = self.headers.chunks_exact(PROGRAM_HEADER).enumerate();
        headers.filter_map(|(index, header)| Raw::new(index, header)).filter(|raw| raw.segment.size != 0)
    }

    fn check_together(&self) -> Result<(), ElfError> {
        if self.segments().next().is_none() {
            return Err(ElfError::NoSegment);
        }
        for (first, second) in pairs(self.segments()) {
            let same = first.rights == second.rights
                && first.virt.wrapping_sub(first.offset) == second.virt.wrapping_sub(second.offset);
            if let Some(page) = common_page(first.pages(), second.pages()).filter(|_| !same) {
                return Err(ElfError::Overlap { first: first.index, second: second.index, page });
            }
        }
        let entry = self.entry;
        let holds_entry =
            |segment: Segment| segment.rights.execute && entry >= segment.virt && entry - segment.virt < segment.size;
        if self.segments().any(holds_entry) { Ok(()) } else { Err(ElfError::Entry(entry)) }
    }
}

/// All pairs of two different segments.
fn pairs(segments: impl Iterator<Item = Segment> + Clone) -> impl Iterator<Item = (Segment, Segment)> {
    let later = segments.clone();
    segments
        .enumerate()
        .flat_map(move |(index, first)| later.clone().skip(index + 1).map(move |second| (first, second)))
}

/// A loadable segment as the file gives it; `segment.size` is the larger of
/// its two sizes.
#[derive(Clone, Copy)]
struct Raw {
    segment: Segment,
    file_size: u64,
    memory_size: u64,
}

impl Raw {
    /// The program header, if it is of type `PT_LOAD`.
    fn new(index: usize, header: &[u8]) -> Option<Self> {
        let (kind, flags) = (u32_at(header, 0)?, u32_at(header, 4)?);
        let (offset, virt) = (u64_at(header, 8)?, u64_at(header, 16)?);
        let (file_size, memory_size) = (u64_at(header, 32)?, u64_at(header, 40)?);
        let rights = Rights { read: flags & 4 != 0, write: flags & 2 != 0, execute: flags & 1 != 0 };
        let segment = Segment { index, virt, offset, size: file_size.max(memory_size), rights };
        (kind == 1).then_some(Self { segment, file_size, memory_size })
    }
}

/// Checks the file header and finds the program headers in the first `limit`
/// bytes of the file.
fn program_headers(header: &[u8], limit: u64) -> Result<&[u8], ElfError> {
    if let Some(&magic) = header.first_chunk()
        && magic != *b"\x7fELF"
    {
        return Err(ElfError::NotElf(magic));
    }
    let Some(ident) = header.get(..FILE_HEADER) else { return Err(ElfError::Short(limit)) };
    let byte = |offset: usize| ident.get(offset).copied().unwrap_or(0);
    let half = |offset| u16_at(ident, offset).unwrap_or(0);
    if byte(4) != 2 {
        return Err(ElfError::Class(byte(4)));
    }
    if byte(5) != 1 {
        return Err(ElfError::ByteOrder(byte(5)));
    }
    if half(16) != 2 {
        return Err(ElfError::Type(half(16)));
    }
    if half(18) != 62 {
        return Err(ElfError::Machine(half(18)));
    }
    let (start, size, count) = (u64_at(ident, 32).unwrap_or(0), half(54), half(56));
    if count == 0 {
        return Err(ElfError::NoSegment);
    }
    if usize::from(size) != PROGRAM_HEADER {
        return Err(ElfError::HeaderSize(size));
    }
    if count > MAX_HEADERS {
        return Err(ElfError::TooManyHeaders(count));
    }
    let end = start.saturating_add(u64::from(count) * PROGRAM_HEADER as u64);
    let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
    range.and_then(|(start, end)| header.get(start..end)).ok_or(ElfError::HeadersTooFar { end, limit })
}

/// Checks one segment on its own.
fn check_segment(raw: Raw, file_length: u64) -> Result<(), ElfError> {
    let Raw { segment: Segment { index: segment, virt, offset, size, .. }, file_size, memory_size } = raw;
    if file_size != memory_size {
        return Err(ElfError::Bss { segment, memory_size, file_size });
    }
    let end = offset.saturating_add(size);
    if end > file_length || end == u64::MAX {
        return Err(ElfError::Truncated { segment, end, file_size: file_length });
    }
    if virt % PAGE != offset % PAGE {
        return Err(ElfError::Misaligned { segment, virt, offset });
    }
    if virt.checked_add(size).is_none_or(|end| end > USER_END) {
        return Err(ElfError::OutsideUserRange { segment, virt, size });
    }
    Ok(())
}
