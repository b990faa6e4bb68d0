//! Any bytes as the image of a guest, with the numbers that loaders look for put in unless the input says otherwise.
//!
//! Input: one byte of flags, then the image.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmm::linux::{self, Guest};
use vmm::multiboot;
use vmm::trial::memory;

fuzz_target!(|data: &[u8]| {
    let Some((flags, image)) = data.split_first() else { return };
    let mut image = image.to_vec();
    if flags & 1 != 0 && image.len() > 0x270 {
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x206..0x208].copy_from_slice(&0x20F_u16.to_le_bytes());
        image[0x236] |= 1;
    }
    if flags & 2 != 0 && image.len() > 0x60 {
        image[..6].copy_from_slice(b"\x7FELF\x01\x01");
        for (at, word) in [(0x54, 0x1BAD_B002_u32), (0x58, 0), (0x5C, 0_u32.wrapping_sub(0x1BAD_B002))] {
            image[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
    }
    let memory = memory(0x20_0000);
    let guest = Guest { kernel: &image, initial: b"files", command_line: "quiet", cpus: 2 };
    let _ = linux::load(&memory, &guest);
    let _ = multiboot::load(&memory, &image, &[(b"module", "name")], "line", 2);
});
