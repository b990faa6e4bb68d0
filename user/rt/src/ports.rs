//! I/O ports as a capability.
//!
//! Invariants: [`IoPorts`] exists only after the kernel delegated the ports to this program; a port can be made from it
//! alone. The program that holds it drives the machine: it could have a device write over any memory, so what it does
//! with ports is part of what the system trusts.
//! Concurrency: port instructions are single accesses; the order between threads is the callers' business.
//! Source: classic interface, "Initial capabilities"; AMD64 manual volume 1, §3.8.3 (I/O).

use core::sync::atomic::{AtomicBool, Ordering};

use abi::item::ItemFlags;
use abi::{Crd, Selector, Status, TypedItem};

use crate::hypercall;
use crate::serial::Registers;

static ACQUIRED: AtomicBool = AtomicBool::new(false);

/// All I/O ports.
#[derive(Clone, Copy, Debug)]
pub struct IoPorts(());

impl IoPorts {
    /// Takes all ports from the hypervisor's space; only the root program can. Taking them again is harmless.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn acquire() -> Result<Self, Status> {
        if let Some(ports) = Self::acquired() {
            return Ok(ports);
        }
        let own = Selector::ROOT_DOMAIN;
        let item = TypedItem::delegate(Crd::ALL_PORTS, ItemFlags::HYPERVISOR, 0);
        hypercall::delegate(own, Crd::ALL_PORTS, own, &[item]).ok()?;
        ACQUIRED.store(true, Ordering::Relaxed);
        Ok(Self(()))
    }

    /// The ports, if this program took them before, or its configuration lists some: others than those fault.
    #[must_use]
    pub fn acquired() -> Option<Self> {
        ACQUIRED.load(Ordering::Relaxed).then_some(Self(()))
    }
}

/// The root partition has delegated ports to this program: its configuration says which.
pub(crate) fn granted() -> IoPorts {
    ACQUIRED.store(true, Ordering::Relaxed);
    IoPorts(())
}

macro_rules! port {
    ($width:literal, $name:ident, $make:ident, $value:ty, $read:ident, $write:ident) => {
        #[doc = concat!("A port of ", $width, " bits.")]
        #[derive(Clone, Copy, Debug)]
        pub struct $name(u16);

        impl IoPorts {
            #[doc = concat!("The port `number`, ", $width, " bits wide.")]
            #[must_use]
            pub const fn $make(self, number: u16) -> $name {
                $name(number)
            }
        }

        impl $name {
            /// Reads the port.
            #[must_use]
            pub fn read(self) -> $value {
                crate::arch::port::$read(self.0)
            }

            /// Writes the port.
            pub fn write(self, value: $value) {
                crate::arch::port::$write(self.0, value);
            }
        }
    };
}
port!("8", Port8, port8, u8, in8, out8);
port!("16", Port16, port16, u16, in16, out16);
port!("32", Port32, port32, u32, in32, out32);

/// Eight ports in a row from `base` on: the registers of a serial device.
#[derive(Clone, Copy, Debug)]
pub struct PortRegisters {
    ports: IoPorts,
    base: u16,
}

impl PortRegisters {
    /// The registers from port `base` on.
    #[must_use]
    pub const fn new(ports: IoPorts, base: u16) -> Self {
        Self { ports, base }
    }
}

impl Registers for PortRegisters {
    fn read(&self, offset: u16) -> u8 {
        self.ports.port8(self.base.wrapping_add(offset)).read()
    }

    fn write(&self, offset: u16, value: u8) {
        self.ports.port8(self.base.wrapping_add(offset)).write(value);
    }
}
