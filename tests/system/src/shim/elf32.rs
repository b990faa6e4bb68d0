//! Writes an executable ELF32 file for the i386.

use super::Segment;

const HEADER: u32 = 52;
const PROGRAM_HEADER: u32 = 32;
/// Contents begin here; the blob comes first, so that its multiboot1 header
/// lies in the first 8 KiB of the file.
const CONTENTS: u32 = 0x1000;

/// The file with the given entry point; the last segment's contents come first.
pub fn file(entry: u32, segments: &[Segment]) -> Vec<u8> {
    let mut offsets = vec![0; segments.len()];
    let mut offset = CONTENTS;
    let mut contents = Vec::new();
    for (index, segment) in segments.iter().enumerate().rev() {
        offsets[index] = offset;
        contents.extend_from_slice(&segment.data);
        contents.resize(contents.len().next_multiple_of(16), 0);
        offset = CONTENTS + contents.len() as u32;
    }
    let mut file = header(entry, segments.len() as u16);
    for (segment, offset) in segments.iter().zip(offsets) {
        // Type LOAD; readable, writable, executable: nobody looks at the rights.
        let (address, length) = (segment.address, segment.data.len() as u32);
        let words = [1, offset, address, address, length, segment.size, 7, 16];
        file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    }
    assert!(file.len() <= CONTENTS as usize, "too many segments");
    file.resize(CONTENTS as usize, 0);
    file.extend(contents);
    file
}

fn header(entry: u32, count: u16) -> Vec<u8> {
    let mut header = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half = |header: &mut Vec<u8>, value: u16| header.extend(value.to_le_bytes());
    // Executable, i386, version 1.
    half(&mut header, 2);
    half(&mut header, 3);
    for word in [1, entry, HEADER, 0, 0] {
        header.extend(word.to_le_bytes());
    }
    for value in [HEADER as u16, PROGRAM_HEADER as u16, count, 40, 0, 0] {
        half(&mut header, value);
    }
    header
}
