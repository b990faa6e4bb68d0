//! Exits of a virtual machine: every 16 bytes are one, for devices, registers, memory and the rings of virtio devices.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| vmm::trial::run(data));
