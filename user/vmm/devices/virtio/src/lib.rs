//! Device model: virtio devices on the PCI bus ("modern", without the transitional parts).
//!
//! [`Pci`] is the transport; what a device does is a [`Model`]; [`Queue`] is how both talk to the driver. All registers but
//! the table of interrupt messages are I/O ports, so that no access to them has to be decoded.
//! Invariants: everything in guest memory is a claim, read once and checked; a driver that breaks the rules gets a device
//! that needs a reset, and nothing else happens.
//! Concurrency: plain values; requests are served while the driver's notification is.
//! Source: Virtual I/O Device (VIRTIO) 1.2, chapters 2 and 4.1.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod pci;
mod queue;
#[cfg(test)]
mod tests;

pub use pci::Pci;
pub use queue::{Broken, Chain, Queue};

use vm_memory::Memory;

/// What a model may use while it serves.
pub struct Context<'a> {
    /// The guest's memory.
    pub memory: &'a dyn Memory,
    /// Takes what the guest prints.
    pub print: &'a mut dyn FnMut(&[u8]),
}

/// What a device does.
pub trait Model: Send {
    /// Its number among virtio devices: 1 network, 2 block, 3 console, 4 entropy.
    fn kind(&self) -> u16;

    /// Class, subclass and interface on the PCI bus.
    fn class(&self) -> (u8, u8, u8);

    /// Its own feature bits, those below 24.
    fn features(&self) -> u64;

    /// How many queues it has.
    fn queues(&self) -> usize;

    /// Its configuration space.
    fn config(&self) -> &[u8] {
        &[]
    }

    /// The driver has accepted these features; before it uses queues.
    fn accept(&mut self, features: u64) {
        let _ = features;
    }

    /// Somebody types: whether the device takes the byte.
    fn input(&mut self, byte: u8) -> bool {
        let _ = byte;
        false
    }

    /// Serves queue `number`, which the driver has put something into.
    ///
    /// # Errors
    /// The driver breaks the rules.
    fn serve(&mut self, number: usize, queues: &mut [Queue], context: &mut Context<'_>) -> Result<(), Broken>;

    /// The outside may have something for the driver.
    ///
    /// # Errors
    /// The driver breaks the rules.
    fn poll(&mut self, queues: &mut [Queue], context: &mut Context<'_>) -> Result<(), Broken> {
        let _ = (queues, context);
        Ok(())
    }
}
