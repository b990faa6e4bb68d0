//! Port input and output.
//!
//! Purpose: the devices that ring 0 itself needs (serial line, debug console, timers for calibration, power) by port.
//! Invariants: a [`Port`] is made for a fixed purpose by this crate or for a port number from the firmware's tables; a
//! write reaches a device only, never memory.
//! Concurrency: single accesses are atomic; sequences need the lock of the device's owner.
//! Source: AMD64 manual volume 3, IN and OUT.

/// A port of the I/O address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port(u16);

macro_rules! access {
    ($read:ident, $write:ident, $type:ty, $in:path, $out:path) => {
        /// Reads from the port.
        #[must_use]
        pub fn $read(self) -> $type {
            // SAFETY: the kernel runs with I/O privilege; reading a port has no effect on memory. The device's
            // reaction is the concern of whoever made the port, see `Port::new`.
            unsafe { $in(self.0) }
        }
        /// Writes to the port.
        pub fn $write(self, value: $type) {
            // SAFETY: as above; `Port::new` argues that the device behind the port does not write memory on its own.
            unsafe { $out(self.0, value) }
        }
    };
}

impl Port {
    /// The port with this number.
    ///
    /// # Safety
    /// Writing to the device behind the port must not make it access memory (no DMA controller, no PCI configuration).
    pub const unsafe fn new(number: u16) -> Self {
        Self(number)
    }

    /// The port `distance` above this one, of the same device.
    pub(crate) const fn above(self, distance: u16) -> Self {
        Self(self.0.wrapping_add(distance))
    }

    access!(read8, write8, u8, x86::io::inb, x86::io::outb);
    access!(read16, write16, u16, x86::io::inw, x86::io::outw);
    access!(read32, write32, u32, x86::io::inl, x86::io::outl);
}
