//! Device model: the PCI host bridge: configuration space of bus 0, through ports 0xCF8 to 0xCFF and the memory window.
//!
//! Devices are values behind [`Device`]; those with windows of registers tell where the guest has put them.
//! Invariants: no write by the guest panics; addresses of windows are aligned to their size, a power of two.
//! Concurrency: plain values.
//! Source: PCI Local Bus Specification 3.0, chapter 6; PCI Express 2.0, §7.2.2 (memory-mapped configuration).
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod config;
mod msix;
#[cfg(test)]
mod tests;

pub use config::{Config, Identity, Window};
pub use msix::{MsiX, Vector};

use vm_memory::Memory;

/// First of the eight ports.
pub const PORTS: u16 = 0xCF8;
/// Bytes of configuration space per function.
pub const CONFIG_SIZE: u64 = 4096;
/// Device numbers of a bus.
pub const DEVICES: usize = 32;
/// Size of the memory window for one bus.
pub const WINDOW_SIZE: u64 = CONFIG_SIZE * 8 * DEVICES as u64;

/// What a device can do to the machine while it is accessed.
pub trait Bus {
    /// The guest's memory.
    fn memory(&self) -> &dyn Memory;
    /// Sends a message-signalled interrupt.
    fn signal(&mut self, message: Vector);
    /// Prints what the guest sent to a console.
    fn print(&self, bytes: &[u8]);
}

/// A device with one function.
pub trait Device: Send {
    /// Its configuration space.
    fn config(&self) -> &Config;

    /// The same, to be written.
    fn config_mut(&mut self) -> &mut Config;

    /// As at power-on; what is on a disk stays.
    fn reset(&mut self) {
        self.config_mut().reset();
    }

    /// Reads `size` bytes (1, 2 or 4) at `offset` in window `window`.
    fn read(&mut self, window: usize, offset: u64, size: u8) -> u32 {
        let _ = (window, offset);
        u32::MAX >> (32 - 8 * u32::from(size.clamp(1, 4)))
    }

    /// Writes them.
    fn write(&mut self, window: usize, offset: u64, size: u8, value: u32, bus: &mut dyn Bus) {
        let _ = (window, offset, size, value, bus);
    }

    /// The outside has something for the device, such as input.
    fn poll(&mut self, bus: &mut dyn Bus) {
        let _ = bus;
    }

    /// Somebody types: whether the device takes the byte.
    fn input(&mut self, byte: u8) -> bool {
        let _ = byte;
        false
    }

    /// Whether it asserts its interrupt line.
    fn interrupt(&mut self) -> bool {
        false
    }
}

/// The host bridge as a function of its bus.
#[derive(Debug)]
pub struct HostBridge(Config);

impl Default for HostBridge {
    fn default() -> Self {
        let nobody = (0x1AF4, 0x1100);
        let device = (0x8086, 0x0D57);
        Self(Config::new(&Identity { device, subsystem: nobody, class: (6, 0, 0), revision: 0, pin: 0 }))
    }
}

impl Device for HostBridge {
    fn config(&self) -> &Config {
        &self.0
    }

    fn config_mut(&mut self) -> &mut Config {
        &mut self.0
    }
}

/// The bridge: the address register. What it addresses belongs to the machine.
#[derive(Debug, Default)]
pub struct Bridge {
    address: u32,
}

/// A place in configuration space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Number of the device on bus 0.
    pub device: usize,
    /// Offset in the space of its function 0.
    pub offset: u16,
}

impl Place {
    /// The place at `offset` in the memory window; `None` for functions that do not exist.
    #[must_use]
    pub const fn in_window(offset: u64) -> Option<Self> {
        if offset >= WINDOW_SIZE || offset >> 12 & 7 != 0 {
            return None;
        }
        Some(Self { device: (offset >> 15) as usize, offset: (offset & 0xFFF) as u16 })
    }
}

impl Bridge {
    /// Reads the address register.
    #[must_use]
    pub const fn address(&self) -> u32 {
        self.address
    }

    /// Writes the address register.
    pub const fn set_address(&mut self, value: u32) {
        self.address = value & 0x80FF_FFFC;
    }

    /// The place that an access to data port `port` (0xCFC to 0xCFF) means; `None` if nothing answers there.
    #[must_use]
    pub const fn place(&self, port: u16) -> Option<Place> {
        // Enabled, bus 0, function 0.
        if self.address & 0x80FF_0700 != 0x8000_0000 {
            return None;
        }
        let device = (self.address >> 11 & 0x1F) as usize;
        Some(Place { device, offset: (self.address & 0xFC) as u16 | port & 3 })
    }
}
