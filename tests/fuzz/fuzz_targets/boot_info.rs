//! Any bytes as a boot information: read or refused in words, never a panic, a
//! hang or a read outside them. The first two bytes of the total size are set
//! so that most inputs get past it.
#![no_main]

use firmware::boot_info::BootInfo;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let length = data.len() / 8 * 8;
    let mut words: Vec<u64> =
        data.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes"))).collect();
    if let Some(header) = words.first_mut() {
        *header = *header & !0xffff | length as u64 & 0xffff;
    }
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    // A vector of bytes need not be aligned: copy into one of words, plus one to
    // find a multiple of 8 in, and hand over exactly `length` bytes at its end.
    let mut room = vec![0; length + 8];
    let start = room.as_ptr().addr().wrapping_neg() % 8;
    room.truncate(start + length);
    room[start..].copy_from_slice(&bytes);
    room.shrink_to_fit();
    let start = room.as_ptr().addr().wrapping_neg() % 8;
    let Some(bytes) = room.get(start..) else { return };

    match BootInfo::parse(bytes) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(info) => {
            assert!(info.command_line().len() + info.loader().len() <= length);
            for area in info.memory() {
                assert!(area.length != 0 && area.base + area.length <= 1 << 52);
            }
            assert!(info.memory().any(|area| area.kind == 1));
            assert!(info.modules().all(|module| module.start <= module.end));
            assert!(info.oversized_memory().count() <= length / 24);
            if let Err(error) = info.rsdp() {
                assert!(!error.to_string().is_empty());
            }
            let _ = (info.framebuffer(), info.efi_system_table());
        }
    }
});
