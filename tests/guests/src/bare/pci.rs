//! Configuration space through ports.
//!
//! Concurrency: one processor.

use super::port;

/// Reads 4 bytes of device `device` on bus 0.
pub fn read(device: u32, offset: u32) -> u32 {
    port::out32(0xCF8, 1 << 31 | device << 11 | offset & 0xFC);
    port::in32(0xCFC)
}

/// Writes them.
pub fn write(device: u32, offset: u32, value: u32) {
    port::out32(0xCF8, 1 << 31 | device << 11 | offset & 0xFC);
    port::out32(0xCFC, value);
}

/// The device with this vendor and device number.
pub fn find(vendor: u32, device: u32) -> Option<u32> {
    find_from(0, vendor, device)
}

/// The first one from number `first` on.
pub fn find_from(first: u32, vendor: u32, device: u32) -> Option<u32> {
    (first..32).find(|number| read(*number, 0) == device << 16 | vendor)
}
