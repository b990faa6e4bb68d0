//! Steps for the device model `rtc`: every 16 bytes are one.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| device_fuzz::from_bytes("rtc", data));
