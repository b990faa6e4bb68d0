//! Any bytes as a boot information: read or refused in words, never a panic, a
//! hang or a read outside them. The first two bytes of the total size are set
//! so that most inputs get past it.
#![no_main]

use firmware::boot_info::BootInfo;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The allocator aligns to 16; an exact copy lets the sanitizer see every read
    // beyond its end.
    let mut bytes = data.to_vec();
    let length = bytes.len();
    if let Some(size) = bytes.first_chunk_mut() {
        *size = (length as u16).to_le_bytes();
    }
    match BootInfo::parse(&bytes) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(info) => {
            assert!(info.command_line().len() + info.loader().len() <= length);
            for area in info.memory() {
                assert!(area.length != 0 && area.base + area.length <= 1 << 52);
            }
            assert!(info.memory().any(|area| area.kind == 1));
            assert!(info.modules().all(|module| module.start <= module.end));
            if let Err(error) = info.rsdp() {
                assert!(!error.to_string().is_empty());
            }
            let _ = info.efi_system_table();
        }
    }
});
