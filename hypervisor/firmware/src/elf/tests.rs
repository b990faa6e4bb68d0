//! Purpose: a file that can be mapped in place is accepted; any other is refused with what to change.

use super::*;
use crate::synthetic::{Random, rounds};
use proptest::prelude::*;

const LENGTH: u64 = 0x5000;

fn header(segments: &[[u64; 6]]) -> Vec<u8> {
    let mut bytes = vec![0; FILE_HEADER];
    bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    bytes[16] = 2;
    bytes[18] = 62;
    bytes[24..32].copy_from_slice(&0x40_1000u64.to_le_bytes());
    bytes[32] = 64;
    bytes[54] = 56;
    bytes[56] = segments.len() as u8;
    for [kind_and_flags, offset, virt, file_size, memory_size, align] in segments {
        bytes.extend(kind_and_flags.to_le_bytes());
        for number in [offset, virt, virt, file_size, memory_size, align] {
            bytes.extend(number.to_le_bytes());
        }
    }
    bytes
}

fn segment(flags: u64, offset: u64, virt: u64, size: u64) -> [u64; 6] {
    [u64::from(LOAD) | flags << 32, offset, virt, size, size, 4096]
}

/// Code, constants and data on pages of their own, and a header to be ignored.
fn usual() -> [[u64; 6]; 4] {
    [
        [0x6474_e551, 0, 0, 0, 0, 16],
        segment(5, 0x1000, 0x40_1000, 0x234),
        segment(4, 0x2010, 0x40_2010, 0x100),
        segment(6, 0x3000, 0x40_3000, 0x2000),
    ]
}

fn error(bytes: &[u8]) -> String {
    error_at(bytes, LENGTH)
}

fn error_at(bytes: &[u8], length: u64) -> String {
    Image::parse(bytes, length).err().expect("must be refused").to_string()
}

/// The fault of the usual file after a change of one segment's field.
fn error_with(segment: usize, field: usize, value: u64) -> String {
    let mut segments = usual();
    segments[segment][field] = value;
    error(&header(&segments))
}

#[test]
fn segments_come_with_their_rights_and_places() {
    let bytes = header(&usual());
    let image = Image::parse(&bytes, LENGTH).unwrap();
    assert_eq!(image.entry, 0x40_1000);
    let found: Vec<_> = image.segments().collect();
    let code = Segment { index: 1, virt: 0x40_1000, offset: 0x1000, size: 0x234, write: false, execute: true };
    let data = Segment { index: 3, virt: 0x40_3000, offset: 0x3000, size: 0x2000, write: true, execute: false };
    assert_eq!((found.len(), found[0], found[2]), (3, code, data));
    assert_eq!(found[1].pages(), (0x40_2000, 0x40_3000));
    assert_eq!(found[2].file_pages(), (0x3000, 0x5000));
}

#[test]
fn empty_segments_are_left_out() {
    let mut segments = usual();
    segments[2] = segment(4, u64::MAX, 3, 0);
    let bytes = header(&segments);
    assert_eq!(Image::parse(&bytes, LENGTH).unwrap().segments().count(), 2);
}

#[test]
fn a_file_that_is_no_elf_file_is_named_so() {
    assert_eq!(error(b""), "not an ELF file: it has 0 bytes, an ELF header 64");
    assert_eq!(error(b"\x7fELF\x02\x01"), "not an ELF file: it has 6 bytes, an ELF header 64");
    assert_eq!(
        error(b"\x1f\x8b\x08\x00 some compressed file"),
        "not an ELF file: it begins with \"\\x1f\\x8b\\x08\\x00\"; give an uncompressed x86-64 ELF file"
    );
}

#[test]
fn a_file_for_another_machine_is_refused() {
    let with = |offset: usize, value| {
        let mut bytes = header(&usual());
        bytes[offset] = value;
        error(&bytes)
    };
    assert_eq!(with(4, 1), "ELF class 1, needs 2 (64 bits: build it for x86-64)");
    assert_eq!(with(5, 2), "ELF byte order 2, needs 1 (little-endian)");
    for (kind, other) in [(1, "ELF type 1"), (3, "ELF type 3")] {
        let want = "needs 2 (executable: link it at a fixed address, not position-independent)";
        assert_eq!(with(16, kind), format!("{other}, {want}"));
    }
    assert_eq!(with(18, 183), "ELF machine 183, needs 62 (x86-64: build it for x86-64)");
    assert_eq!(with(54, 32), "ELF program header size 32, needs 56 (64-bit program headers)");
    assert_eq!(with(56, 0), "no loadable segment");
    assert_eq!(with(56, 129), "129 program headers, at most 128 are accepted");
}

#[test]
fn program_headers_must_lie_in_the_bytes_given() {
    let bytes = header(&usual());
    let end = bytes.len() as u64;
    let far = |end: u64, limit: u64| {
        format!("program headers end at {end:#x}, beyond the {limit:#x} bytes looked at: truncated or misplaced")
    };
    assert_eq!(error(&bytes[..bytes.len() - 1]), far(end, end - 1));
    assert_eq!(error_at(&bytes, 100), far(end, 100));
    let mut wild = bytes.clone();
    wild[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(error(&wild), far(u64::MAX, end));
}

#[test]
fn a_bss_is_refused_with_the_remedy() {
    assert_eq!(
        error_with(3, 4, 0x3000),
        "segment 3 has a bss (memory size 0x3000, file size 0x2000): link it into .data"
    );
    assert_eq!(error_with(3, 3, 0), "segment 3 has a bss (memory size 0x2000, file size 0x0): link it into .data");
}

#[test]
fn a_truncated_file_is_named_with_both_lengths() {
    let bytes = header(&usual());
    for length in [0x3000, 0x4fff] {
        let want = format!("truncated: segment 3 ends at 0x5000, the file has {length:#x} bytes");
        assert_eq!(error_at(&bytes, length), want);
    }
    assert!(error_with(1, 1, u64::MAX - 0xfff).starts_with("truncated: segment 1 ends at "));
}

#[test]
fn address_and_offset_must_agree_modulo_a_page() {
    assert_eq!(
        error_with(1, 2, 0x40_1008),
        "segment 1: address 0x401008 and file offset 0x1000 differ modulo 0x1000: align it to a page"
    );
}

#[test]
fn segments_end_below_the_root_programs_buffer() {
    let mut segments = usual();
    segments[3][2] = USER_END - 0x2000;
    assert!(Image::parse(&header(&segments), LENGTH).is_ok());
    for virt in [USER_END - 0x1000, USER_END, 0xffff_ffff_8100_0000, u64::MAX - 0xfff] {
        let want = format!("segment 3 at {virt:#x} of size 0x2000 ends beyond 0x7fffbfffb000: link it lower");
        assert_eq!(error_with(3, 2, virt), want);
    }
}

#[test]
fn one_page_cannot_have_two_rights() {
    assert_eq!(
        error_with(2, 2, 0x40_3010),
        "segments 2 and 3 share page 0x403000 in different ways: align them to pages"
    );
}

#[test]
fn one_page_cannot_have_two_contents_but_two_parts() {
    let code = segment(5, 0x1000, 0x40_1000, 0x800);
    let same = header(&[code, segment(5, 0x1800, 0x40_1800, 0x100)]);
    assert_eq!(Image::parse(&same, LENGTH).unwrap().segments().count(), 2);
    let other = error(&header(&[code, segment(5, 0x2800, 0x40_1800, 0x100)]));
    assert!(other.starts_with("segments 0 and 1 share page 0x401000 in different ways"), "{other}");
}

#[test]
fn the_entry_point_must_be_executable() {
    for entry in [0, 0x40_0fff, 0x40_1234, 0x40_3000, 0x8000_0000_0000_0000, u64::MAX] {
        let mut bytes = header(&usual());
        bytes[24..32].copy_from_slice(&u64::to_le_bytes(entry));
        assert_eq!(error(&bytes), format!("entry point {entry:#x} is in no executable segment"));
    }
}

#[test]
fn a_file_without_a_loadable_segment_is_refused() {
    assert_eq!(error(&header(&usual()[..1])), "no loadable segment");
}

#[test]
fn a_file_page_in_two_segments_of_different_rights_is_allowed() {
    let bytes = header(&[segment(5, 0x1000, 0x40_1000, 0x800), segment(6, 0x1800, 0x40_2800, 0x1000)]);
    assert_eq!(Image::parse(&bytes, LENGTH).unwrap().segments().count(), 2);
}

/// What the caller relies on when it maps the segments.
fn check_promises(bytes: &[u8], length: u64) -> Result<(), Problem> {
    let image = Image::parse(bytes, length)?;
    let segments: Vec<_> = image.segments().collect();
    assert!(!segments.is_empty());
    for segment in &segments {
        assert!(segment.size != 0 && segment.offset + segment.size <= length);
        assert_eq!(segment.virt % 4096, segment.offset % 4096);
        assert!(segment.pages().1 <= USER_END);
    }
    Ok(())
}

#[test]
fn mutated_headers_keep_the_promises_or_are_refused() {
    let (whole, mut random) = (header(&usual()), Random(3));
    let (mut good, mut bad) = (0, 0);
    for _ in 0..rounds(120_000) {
        let mut bytes = whole.clone();
        random.mutate(&mut bytes);
        match check_promises(&bytes, LENGTH) {
            Ok(()) => good += 1,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                bad += 1;
            }
        }
    }
    assert!(good > 0 && bad > 0, "{good} read, {bad} refused: the test lost its aim");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 8 } else { 2048 }, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn any_segments_keep_the_promises_or_are_refused(
        segments in prop::collection::vec((0..8u64, 0..8u64, 0..8u64, 0..0x3000u64, any::<bool>()), 1..8),
        length in 0..0x9000u64,
    ) {
        let segments: Vec<_> = segments.iter()
            .map(|&(flags, offset, page, size, odd)| {
                let odd = u64::from(odd) * 0x7f8;
                segment(flags, offset * 0x1000 + odd, 0x40_0000 + page * 0x1000 + odd, size)
            })
            .collect();
        let _ = check_promises(&header(&segments), length);
    }
}
