//! Rules for the ELF file of a root program, which the kernel maps in place and never copies.
//!
//! Beyond what the interface asks for (fixed addresses, same size in file and memory, address and offset equal modulo
//! 4096) the linker script keeps rules of its own: whole pages, no right to write and execute at once, no page of the file
//! in two segments, the ELF header in none. [`check`] tells whether a linked file keeps all of them.
//! Invariants: any bytes give a result, never a panic.
//! Concurrency: plain functions.
//! Source: System V ABI (ELF-64); classic interface, "ELF rules".

use core::fmt;

use abi::address::PAGE_SIZE;

const HEADER_SIZE: usize = 64;
const ENTRY_SIZE: usize = 56;
const MACHINE_X86_64: u16 = 62;
const TYPE_EXECUTABLE: u16 = 2;
const PT_LOAD: u32 = 1;
const EXECUTE: u32 = 1;
const WRITE: u32 = 2;
/// Exclusive end of where the code model lets programs lie, in bytes.
const END: u64 = 1 << 31;

/// The rule that a file breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Defect {
    /// The file ends before what its headers name.
    Truncated,
    /// Not a little-endian 64-bit ELF file for this processor at fixed addresses.
    NotExecutable,
    /// The entry point lies in no executable segment.
    Entry,
    /// Other segments than loadable ones, or none.
    OtherSegments,
    /// A segment is not made of whole pages, or larger in memory than in the file.
    Size,
    /// A segment lies at 0, or not below 2 GiB.
    Address,
    /// A segment may be written and executed.
    WritableCode,
    /// Two segments share a page of memory or of the file, or one holds the ELF header.
    SharedPage,
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the file is truncated",
            Self::NotExecutable => "not an ELF64 executable for x86-64 at fixed addresses",
            Self::Entry => "the entry point lies in no executable segment",
            Self::OtherSegments => "a segment is not loadable, or there is none",
            Self::Size => "a segment is not made of whole pages that are all in the file",
            Self::Address => "a segment lies at 0 or above 2 GiB",
            Self::WritableCode => "a segment may be written and executed",
            Self::SharedPage => "two segments share a page, or one holds the ELF header",
        })
    }
}

#[derive(Clone, Copy)]
struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    file_size: u64,
    memory_size: u64,
}

fn field<const N: usize>(bytes: &[u8], offset: usize) -> Result<[u8; N], Defect> {
    bytes.get(offset..).and_then(|rest| rest.first_chunk().copied()).ok_or(Defect::Truncated)
}

fn half(bytes: &[u8], offset: usize) -> Result<u16, Defect> {
    field(bytes, offset).map(u16::from_le_bytes)
}

fn word(bytes: &[u8], offset: usize) -> Result<u32, Defect> {
    field(bytes, offset).map(u32::from_le_bytes)
}

fn long(bytes: &[u8], offset: usize) -> Result<u64, Defect> {
    field(bytes, offset).map(u64::from_le_bytes)
}

fn segment(file: &[u8], index: u16) -> Result<Segment, Defect> {
    let table = usize::try_from(long(file, 32)?).map_err(|_| Defect::Truncated)?;
    let start = table.checked_add(usize::from(index) * ENTRY_SIZE).ok_or(Defect::Truncated)?;
    let entry = file.get(start..).ok_or(Defect::Truncated)?;
    Ok(Segment {
        kind: word(entry, 0)?,
        flags: word(entry, 4)?,
        offset: long(entry, 8)?,
        address: long(entry, 16)?,
        file_size: long(entry, 32)?,
        memory_size: long(entry, 40)?,
    })
}

impl Segment {
    /// The rules that concern this segment alone.
    fn check(&self, file_length: u64) -> Result<(), Defect> {
        let whole = |value: u64| value.is_multiple_of(PAGE_SIZE);
        if self.kind != PT_LOAD {
            return Err(Defect::OtherSegments);
        }
        if self.file_size != self.memory_size || self.file_size == 0 || !whole(self.file_size) {
            return Err(Defect::Size);
        }
        if self.address == 0
            || !whole(self.address)
            || self.address.checked_add(self.memory_size).is_none_or(|end| end > END)
        {
            return Err(Defect::Address);
        }
        if self.offset == 0 || !whole(self.offset) {
            return Err(Defect::SharedPage);
        }
        if self.flags & (WRITE | EXECUTE) == WRITE | EXECUTE {
            return Err(Defect::WritableCode);
        }
        let end = self.offset.checked_add(self.file_size).ok_or(Defect::Truncated)?;
        if end > file_length { Err(Defect::Truncated) } else { Ok(()) }
    }

    /// Whether the two, both checked, have a page in common in memory or in the file.
    fn shares_page(&self, other: &Self) -> bool {
        let overlap = |a: u64, b: u64| a < b + other.file_size && b < a + self.file_size;
        overlap(self.address, other.address) || overlap(self.offset, other.offset)
    }
}

/// Checks the linked `file` of a root program against all rules.
///
/// # Errors
/// The first rule that it breaks.
pub fn check(file: &[u8]) -> Result<(), Defect> {
    let magic: [u8; 6] = field(file, 0)?;
    let proper = magic == *b"\x7fELF\x02\x01"
        && half(file, 16)? == TYPE_EXECUTABLE
        && half(file, 18)? == MACHINE_X86_64
        && usize::from(half(file, 52)?) == HEADER_SIZE
        && usize::from(half(file, 54)?) == ENTRY_SIZE;
    if !proper {
        return Err(Defect::NotExecutable);
    }
    let count = half(file, 56)?;
    let entry = long(file, 24)?;
    let mut enterable = false;
    for index in 0..count {
        let segment = segment(file, index)?;
        segment.check(file.len() as u64)?;
        for other in 0..index {
            if segment.shares_page(&self::segment(file, other)?) {
                return Err(Defect::SharedPage);
            }
        }
        let end = segment.address + segment.memory_size;
        enterable |= segment.flags & EXECUTE != 0 && (segment.address..end).contains(&entry);
    }
    match (count, enterable) {
        (0, _) => Err(Defect::OtherSegments),
        (_, false) => Err(Defect::Entry),
        (_, true) => Ok(()),
    }
}

/// A part of a program: whole pages with the same rights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part<'a> {
    /// Virtual address of the first byte, at a page boundary.
    pub address: u64,
    /// Its contents, whole pages.
    pub bytes: &'a [u8],
    /// Whether it may be written.
    pub write: bool,
    /// Whether it may be executed; never together with [`Part::write`].
    pub execute: bool,
}

/// A program's file that keeps the rules.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    /// Address of the first instruction.
    pub entry: u64,
    count: u16,
    file: &'a [u8],
}

impl<'a> Image<'a> {
    /// Checks a file, as [`check`].
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn new(file: &'a [u8]) -> Result<Self, Defect> {
        check(file)?;
        Ok(Self { entry: long(file, 24)?, count: half(file, 56)?, file })
    }

    /// Its parts.
    pub fn parts(&self) -> impl Iterator<Item = Part<'a>> + use<'a> {
        let file = self.file;
        (0..self.count).filter_map(move |index| {
            let segment = segment(file, index).ok()?;
            let start = usize::try_from(segment.offset).ok()?;
            let bytes = file.get(start..)?.get(..usize::try_from(segment.file_size).ok()?)?;
            let has = |flag| segment.flags & flag != 0;
            Some(Part { address: segment.address, bytes, write: has(WRITE), execute: has(EXECUTE) })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A file with a text and a data segment that keeps all rules.
    fn file() -> Vec<u8> {
        let mut file = vec![0; 0x3000];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        put(&mut file, 16, &[2, 0, 62, 0]);
        put(&mut file, 24, &0x10_0010_u64.to_le_bytes());
        put(&mut file, 32, &64_u64.to_le_bytes());
        put(&mut file, 52, &[64, 0, 56, 0, 2, 0]);
        for (entry, flags, page) in [(64, 5_u32, 1_u64), (120, 6, 2)] {
            put(&mut file, entry, &1_u32.to_le_bytes());
            put(&mut file, entry + 4, &flags.to_le_bytes());
            put(&mut file, entry + 8, &(page << 12).to_le_bytes());
            put(&mut file, entry + 16, &(0xF_F000 + (page << 12)).to_le_bytes());
            put(&mut file, entry + 32, &0x1000_u64.to_le_bytes());
            put(&mut file, entry + 40, &0x1000_u64.to_le_bytes());
        }
        file
    }

    fn put(file: &mut [u8], offset: usize, bytes: &[u8]) {
        file[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    #[test]
    fn each_broken_rule_is_named() {
        let with = |offset: usize, value: u64, size: usize| {
            let mut file = file();
            put(&mut file, offset, &value.to_le_bytes()[..size]);
            check(&file)
        };
        assert_eq!(check(&file()), Ok(()));
        assert_eq!(check(&file()[..0x2FFF]), Err(Defect::Truncated));
        assert_eq!(with(16, 3, 2), Err(Defect::NotExecutable), "position independent");
        assert_eq!(with(18, 183, 2), Err(Defect::NotExecutable), "another processor");
        assert_eq!(with(24, 0x10_1000, 8), Err(Defect::Entry), "entry in data");
        assert_eq!(with(56, 0, 2), Err(Defect::OtherSegments), "no segments");
        assert_eq!(with(120, 0x6474_E552, 4), Err(Defect::OtherSegments), "RELRO");
        assert_eq!(with(120 + 40, 0x2000, 8), Err(Defect::Size), "zeroed memory");
        assert_eq!(with(120 + 16, 0x10_1010, 8), Err(Defect::Address), "not on a page");
        assert_eq!(with(120 + 16, 1 << 31, 8), Err(Defect::Address), "above 2 GiB");
        assert_eq!(with(120 + 4, 7, 4), Err(Defect::WritableCode));
        assert_eq!(with(64 + 8, 0, 8), Err(Defect::SharedPage), "header loaded");
        assert_eq!(with(120 + 8, 0x1000, 8), Err(Defect::SharedPage), "same page of the file");
        assert_eq!(with(120 + 16, 0x10_0000, 8), Err(Defect::SharedPage), "same page of memory");
    }

    proptest! {
        #[test]
        fn no_file_makes_the_check_panic(changes in proptest::collection::vec((0..176_usize, any::<u8>()), 0..12), length in 0..0x3000_usize) {
            let mut file = file();
            for (offset, value) in changes {
                file[offset] = value;
            }
            let _ = check(&file);
            let _ = check(&file[..length]);
        }
    }
}
