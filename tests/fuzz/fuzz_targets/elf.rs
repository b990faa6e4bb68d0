//! Any bytes as a program file: what is accepted can be mapped in place.
//!
//! Input: the file's length (four bytes), then its first page. The first bytes
//! of the header are made right unless the length is odd.
#![no_main]

use firmware::elf::{Image, USER_END};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((length, header)) = data.split_first_chunk::<4>() else { return };
    let length = u64::from(u32::from_le_bytes(*length));
    let mut header = header.to_vec();
    if length.is_multiple_of(2) && header.len() >= 64 {
        header[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        header[16..20].copy_from_slice(&[2, 0, 62, 0]);
        header[32..40].copy_from_slice(&64u64.to_le_bytes());
        header[54] = 56;
        header[55] = 0;
    }
    match Image::parse(&header, length) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(image) => {
            let segments: Vec<_> = image.segments().collect();
            for segment in &segments {
                assert!(segment.size != 0 && segment.offset + segment.size <= length);
                assert_eq!(segment.virt % 4096, segment.offset % 4096);
                assert!(segment.pages().1 <= USER_END);
            }
            let entry = image.entry;
            assert!(segments.iter().any(|s| s.execute && entry >= s.virt && entry - s.virt < s.size));
        }
    }
});
