//! A driver for virtio devices: one request at a time, without interrupts.
//!
//! Invariants: rings lie in the program's own memory, 16 KiB for each queue of each device.
//! Concurrency: one processor.
//! Source: VIRTIO 1.2, §2.7 and §4.1.

use super::{memory, pci, port};

const VENDOR: u32 = 0x1AF4;
const RINGS: u64 = 0x30_0000;
const ENTRIES: u16 = 8;
const AVAILABLE: u64 = 0x1000;
const USED: u64 = 0x2000;

/// A device that is ready.
pub struct Device {
    /// Its number on the bus.
    pub number: u32,
    ports: u16,
    kind: u32,
    used: [u16; 2],
}

/// A part of a request: address, length, whether the device writes it.
pub type Part = (u64, u32, bool);

impl Device {
    /// The device of this kind (1 network, 2 block, 3 console, 4 entropy), with `queues` queues.
    pub fn find(kind: u32, queues: u16) -> Option<Self> {
        Self::at(pci::find(VENDOR, 0x1040 + kind)?, kind, queues)
    }

    /// The next one of the same kind as `other`.
    pub fn find_next(other: &Self, queues: u16) -> Option<Self> {
        let number = pci::find_from(other.number + 1, VENDOR, 0x1040 + other.kind)?;
        Self::at(number, other.kind, queues)
    }

    fn at(number: u32, kind: u32, queues: u16) -> Option<Self> {
        pci::write(number, 4, 5);
        let ports = pci::read(number, 0x10) as u16 & !3;
        let device = Self { number, ports, kind, used: [0; 2] };
        device.reset();
        device.set_status(1 | 2);
        // Features: bits 32 to 63, of which only the version.
        device.write32(8, 1);
        device.write32(0xC, 1);
        device.set_status(1 | 2 | 8);
        for queue in 0..queues {
            device.write16(0x16, queue);
            device.write16(0x18, ENTRIES);
            let ring = device.ring(queue);
            memory::fill32(ring, 0, 0x1000);
            for (register, part) in [(0x20, 0), (0x28, AVAILABLE), (0x30, USED)] {
                device.write32(register, (ring + part) as u32);
                device.write32(register + 4, 0);
            }
            device.write16(0x1C, 1);
        }
        device.set_status(1 | 2 | 4 | 8);
        Some(device)
    }

    /// Forgets everything.
    pub fn reset(&self) {
        self.set_status(0);
    }

    /// Its status.
    pub fn status(&self) -> u8 {
        port::in8(self.ports + 0x14)
    }

    fn set_status(&self, value: u8) {
        port::out8(self.ports + 0x14, value);
    }

    /// The lower half of its features.
    pub fn features(&self) -> u32 {
        self.write32(0, 0);
        port::in32(self.ports + 4)
    }

    /// Four bytes of its configuration.
    pub fn config(&self, offset: u16) -> u32 {
        port::in32(self.ports + 0x80 + offset)
    }

    fn write16(&self, register: u16, value: u16) {
        port::out16(self.ports + register, value);
    }

    fn write32(&self, register: u16, value: u32) {
        port::out32(self.ports + register, value);
    }

    /// Where a queue's descriptors are.
    pub const fn ring(&self, queue: u16) -> u64 {
        RINGS + 0x8000 * self.number as u64 + 0x4000 * queue as u64
    }

    /// Hands a request over.
    pub fn offer(&mut self, queue: u16, parts: &[Part]) {
        let ring = self.ring(queue);
        for (index, (address, length, write)) in (0_u64..).zip(parts) {
            let next = if index + 1 < parts.len() as u64 { 1 } else { 0 };
            memory::write64(ring + 16 * index, *address);
            let flags = next | u64::from(*write) << 1;
            memory::write64(ring + 16 * index + 8, u64::from(*length) | flags << 32 | (index + 1) << 48);
        }
        let index = memory::read16(ring + AVAILABLE + 2);
        memory::write16(ring + AVAILABLE + 4 + 2 * u64::from(index % ENTRIES), 0);
        memory::write16(ring + AVAILABLE + 2, index.wrapping_add(1));
        self.write16(0x44 + 2 * queue, queue);
    }

    /// What has come back: how many bytes the device wrote.
    pub fn done(&mut self, queue: u16) -> Option<u32> {
        let ring = self.ring(queue);
        let used = self.used.get_mut(usize::from(queue))?;
        if memory::read16(ring + USED + 2) == *used {
            return None;
        }
        let length = memory::read32(ring + USED + 8 + 8 * u64::from(*used % ENTRIES));
        *used = used.wrapping_add(1);
        Some(length)
    }
}
