//! Removes from an ELF file what no loader needs: symbols, line tables and
//! the section table.
//!
//! Invariants: program headers and load segments stay where they are, byte for
//! byte. Concurrency: none, pure. Source: System V ABI, ELF-64 object file format.

use object::elf::{FileHeader64, PT_LOAD};
use object::endian::LittleEndian;
use object::read::elf::{FileHeader, ProgramHeader};

/// Offsets of `e_shoff` (8 bytes) and `e_shentsize`, `e_shnum`, `e_shstrndx`
/// (2 bytes each) in the header of a 64-bit ELF file.
const SECTION_TABLE_OFFSET: usize = 0x28;
const SECTION_TABLE_COUNTS: usize = 0x3a;
const HEADER: usize = 0x40;

/// The file cut off after its last load segment and without section table;
/// what is no 64-bit little-endian ELF file is returned as it is.
pub fn stripped(mut data: Vec<u8>) -> Vec<u8> {
    let Some(end) = load_end(&data) else { return data };
    data.truncate(end);
    data[SECTION_TABLE_OFFSET..SECTION_TABLE_OFFSET + 8].fill(0);
    data[SECTION_TABLE_COUNTS..SECTION_TABLE_COUNTS + 6].fill(0);
    data
}

/// End of what has to stay: header, program headers and load segments.
fn load_end(data: &[u8]) -> Option<usize> {
    let header = FileHeader64::<LittleEndian>::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, data).ok()?;
    let table = usize::try_from(header.e_phoff(endian)).ok()? + std::mem::size_of_val(segments);
    let mut end = table.max(HEADER);
    for segment in segments.iter().filter(|segment| segment.p_type(endian) == PT_LOAD) {
        let (offset, size) = segment.file_range(endian);
        end = end.max(usize::try_from(offset.checked_add(size)?).ok()?);
    }
    (end <= data.len()).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_elf_file_stays_as_it_is() {
        let text = b"just a text".to_vec();
        assert_eq!(stripped(text.clone()), text);
    }

    #[test]
    fn stripping_keeps_every_load_segment_and_is_idempotent() {
        // The test itself is an ELF file at hand.
        let path = std::env::current_exe().ok();
        let data = path.and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
        let once = stripped(data.clone());
        assert!(once.len() < data.len());
        assert_eq!(once[HEADER..], data[HEADER..once.len()]);
        assert_eq!(load_end(&once), Some(once.len()));
        assert_eq!(stripped(once.clone()), once);
    }
}
