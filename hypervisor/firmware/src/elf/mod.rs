//! The headers of a program that is mapped in place from a module.
//!
//! Purpose: [`Image::parse`] checks everything, so that mapping the segments' pages needs no further checks but the
//! module's own alignment: file pages become virtual pages with the segment's rights, nothing is copied or cleared.
//! Invariants: no bss, addresses congruent to file offsets, and no virtual page that two segments claim differently.
//! What surrounds a segment in its first and last page is visible to the program. One page of the file that two
//! segments map with different rights is allowed, as the interface always did; it can make a frame writable at one
//! address and executable at another.
//! Concurrency: none; see the crate.
//! Source: ELF-64 object file format 1.5; the classic interface's rules for the root program.

#[cfg(test)]
mod tests;

use crate::Problem;
use crate::bytes::{u16_at, u32_at, u64_at};
use abi::address::PAGE_SIZE as PAGE;

/// First address that no segment may reach: the root program's communication
/// buffer below the hypervisor information page in its largest form.
pub const USER_END: u64 = 0x7fff_bfff_b000;
/// Most program headers that are accepted: segments are compared in pairs.
pub const MAX_HEADERS: u16 = 128;

const FILE_HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
/// Type of a segment that is loaded.
const LOAD: u32 = 1;

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
    /// The program may write it.
    pub write: bool,
    /// The program may execute it.
    pub execute: bool,
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

/// A checked program file.
#[derive(Clone, Copy)]
pub struct Image<'a> {
    /// Program headers.
    headers: &'a [u8],
    /// Address of the first instruction; inside an executable segment.
    pub entry: u64,
}

impl<'a> Image<'a> {
    /// Checks a file of `file_length` bytes that begins with `header`, which must hold all program headers.
    ///
    /// # Errors
    /// What keeps the file from being mapped in place, and how to change it.
    pub fn parse(header: &'a [u8], file_length: u64) -> Result<Self, Problem> {
        let limit = file_length.min(header.len() as u64);
        // `limit` is at most the length of the slice.
        let header = header.get(..limit as usize).unwrap_or(header);
        let image = Self { headers: program_headers(header)?, entry: u64_at(header, 24).unwrap_or(0) };
        for (segment, memory_size) in image.loadable() {
            check_segment(segment, memory_size, file_length)?;
        }
        image.check_together()?;
        Ok(image)
    }

    /// The segments to map, without empty ones, in the order of the file.
    pub fn segments(&self) -> impl Iterator<Item = Segment> + Clone + use<'a> {
        self.loadable().map(|(segment, _)| segment).filter(|segment| segment.size != 0)
    }

    /// The loadable segments with their sizes in memory, not yet checked.
    fn loadable(&self) -> impl Iterator<Item = (Segment, u64)> + Clone + use<'a> {
        self.headers.chunks_exact(PROGRAM_HEADER).enumerate().filter_map(|(index, header)| {
            let (kind, flags) = (u32_at(header, 0)?, u32_at(header, 4)?);
            let (offset, virt) = (u64_at(header, 8)?, u64_at(header, 16)?);
            let (size, write, execute) = (u64_at(header, 32)?, flags & 2 != 0, flags & 1 != 0);
            let segment = Segment { index, virt, offset, size, write, execute };
            (kind == LOAD).then_some((segment, u64_at(header, 40)?))
        })
    }

    fn check_together(&self) -> Result<(), Problem> {
        ensure!(self.segments().next().is_some(), "no loadable segment");
        for (number, first) in self.segments().enumerate() {
            let kind = |segment: &Segment| (segment.write, segment.execute, segment.virt.wrapping_sub(segment.offset));
            for second in self.segments().skip(number + 1).filter(|second| kind(second) != kind(&first)) {
                let ((start, end), (other, other_end)) = (first.pages(), second.pages());
                let page = start.max(other);
                ensure!(
                    page >= end.min(other_end),
                    "segments {} and {} share page {page:#x} in different ways: align them to pages",
                    first.index,
                    second.index
                );
            }
        }
        let entry = self.entry;
        let mut code = self.segments().filter(|segment| segment.execute);
        let held = code.any(|segment| entry >= segment.virt && entry - segment.virt < segment.size);
        ensure!(held, "entry point {entry:#x} is in no executable segment");
        Ok(())
    }
}

/// Checks the file header and finds the program headers in the first bytes of the file.
fn program_headers(header: &[u8]) -> Result<&[u8], Problem> {
    let limit = header.len();
    if let Some(magic) = header.first_chunk::<4>().filter(|&magic| magic != b"\x7fELF") {
        let found = magic.escape_ascii();
        return Err(problem!("not an ELF file: it begins with \"{found}\"; give an uncompressed x86-64 ELF file"));
    }
    ensure!(limit >= FILE_HEADER, "not an ELF file: it has {limit} bytes, an ELF header {FILE_HEADER}");
    let byte = |offset: usize| header.get(offset).copied().unwrap_or(0).into();
    let half = |offset| u16_at(header, offset).unwrap_or(0);
    let (start, count) = (u64_at(header, 32).unwrap_or(0), half(56));
    let fields = [
        ("class", byte(4), 2, "64 bits: build it for x86-64"),
        ("byte order", byte(5), 1, "little-endian"),
        ("type", half(16), 2, "executable: link it at a fixed address, not position-independent"),
        ("machine", half(18), 62, "x86-64: build it for x86-64"),
        ("program header size", half(54), 56, "64-bit program headers"),
    ];
    if let Some((name, found, need, how)) = fields.into_iter().find(|(_, found, need, _)| found != need) {
        return Err(problem!("ELF {name} {found}, needs {need} ({how})"));
    }
    ensure!(count <= MAX_HEADERS, "{count} program headers, at most {MAX_HEADERS} are accepted");
    let end = start.saturating_add(u64::from(count) * PROGRAM_HEADER as u64);
    header.get(start as usize..end as usize).ok_or_else(|| {
        problem!("program headers end at {end:#x}, beyond the {limit:#x} bytes looked at: truncated or misplaced")
    })
}

/// Checks one segment on its own.
fn check_segment(segment: Segment, memory_size: u64, file_length: u64) -> Result<(), Problem> {
    let Segment { index, virt, offset, size, .. } = segment;
    ensure!(
        size == memory_size,
        "segment {index} has a bss (memory size {memory_size:#x}, file size {size:#x}): link it into .data"
    );
    if size == 0 {
        return Ok(());
    }
    let end = offset.saturating_add(size);
    ensure!(
        end <= file_length && end != u64::MAX,
        "truncated: segment {index} ends at {end:#x}, the file has {file_length:#x} bytes"
    );
    ensure!(
        virt % PAGE == offset % PAGE,
        "segment {index}: address {virt:#x} and file offset {offset:#x} differ modulo 0x1000: align it to a page"
    );
    ensure!(
        virt.checked_add(size).is_some_and(|end| end <= USER_END),
        "segment {index} at {virt:#x} of size {size:#x} ends beyond {USER_END:#x}: link it lower"
    );
    Ok(())
}
