//! Device model: the PCI host bridge: configuration space of bus 0, through ports 0xCF8 to 0xCFF and the memory window.
//!
//! Functions are values behind [`Function`]; those with windows of registers tell where the guest has put them.
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

/// First of the eight ports.
pub const PORTS: u16 = 0xCF8;
/// Bytes of configuration space per function.
pub const CONFIG_SIZE: u64 = 4096;
/// Device numbers of a bus.
pub const DEVICES: usize = 32;
/// Size of the memory window for one bus.
pub const WINDOW_SIZE: u64 = CONFIG_SIZE * 8 * DEVICES as u64;

/// What has a configuration space.
pub trait Function {
    /// Its configuration space.
    fn config(&self) -> &Config;
    /// The same, to be written.
    fn config_mut(&mut self) -> &mut Config;
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
