//! Virtio devices behind their transport, with rings that the steps write.
//!
//! The driver is set up most of the way before the first step, so that steps reach the queues; any of them may undo that.
//! Invariants: a device touches the guest's memory only where that is.
//! Concurrency: plain values.

use vm_block::{Block, Disk, Overlay};
use vm_console::Console;
use vm_memory::{Memory, TestMemory};
use vm_net::{FRAME, Net, Wire};
use vm_pci::{Bus, Device, Vector};
use vm_rng::{Entropy, Source};
use vm_virtio::{Broken, Context, Model, Pci, Queue};

use crate::Driven;

/// Size of the guest's memory.
const SIZE: usize = 0x1_0000;
/// Where ring number `n` has its parts: descriptors, the driver's ring, the device's ring.
const RINGS: u64 = 0x4000;
const PARTS: [u64; 3] = [0, 0x1000, 0x2000];
const ENTRIES: u32 = 8;

struct World<'a> {
    memory: &'a TestMemory,
    messages: u64,
}

impl Bus for World<'_> {
    fn memory(&self) -> &dyn Memory {
        self.memory
    }

    fn signal(&mut self, _: Vector) {
        self.messages += 1;
    }

    fn print(&self, bytes: &[u8]) {
        assert!(!bytes.is_empty(), "nothing to print");
    }
}

struct Virtio {
    device: Box<dyn Device>,
    memory: TestMemory,
    /// The driver's indices of its rings.
    indices: [u16; 2],
}

fn driven(model: impl Model + 'static) -> Box<dyn Driven> {
    let mut virtio =
        Virtio { device: Pci::boxed(model, 0xC000, 0xD000_0000), memory: TestMemory::new(SIZE), indices: [0; 2] };
    virtio.set_up();
    Box::new(virtio)
}

impl Virtio {
    fn write(&mut self, offset: u64, value: u32) {
        self.device.write(0, offset, 4, value, &mut World { memory: &self.memory, messages: 0 });
    }

    /// What a driver does: features, queues, ready.
    fn set_up(&mut self) {
        self.write(0x14, 0);
        for (offset, value) in [(0x14, 3), (8, 1), (0xC, 1), (0x14, 11)] {
            self.write(offset, value);
        }
        for queue in 0..2 {
            self.write(0x16, queue as u32);
            self.write(0x18, ENTRIES);
            for (register, part) in [0x20, 0x28, 0x30].into_iter().zip(PARTS) {
                self.write(register, (RINGS + queue * 0x4000 + part) as u32);
                self.write(register + 4, 0);
            }
            self.write(0x1C, 1);
        }
        self.write(0x14, 15);
        self.indices = [0; 2];
    }

    /// A descriptor: mostly one that a driver could mean.
    fn descriptor(&mut self, first: u64, second: u64) {
        let ring = RINGS + (first >> 8 & 1) * 0x4000;
        let address = if first >> 9 & 7 == 0 { second } else { second & 0x3FFF };
        let length = if first >> 12 & 7 == 0 { first >> 32 } else { first >> 32 & 0x3FF };
        let (flags, next) = (first >> 16 & 7, first >> 20 & 0xF);
        let at = ring + (first >> 24 & 7) * 16;
        self.memory.write(at, &address.to_le_bytes());
        self.memory.write(at + 8, &(length & 0xFFFF_FFFF | flags << 32 | next << 48).to_le_bytes());
    }

    /// Puts a chain into a ring and rings the bell.
    fn offer(&mut self, first: u64, second: u64) {
        let queue = first >> 8 & 1;
        let driver = RINGS + queue * 0x4000 + PARTS[1];
        let index = &mut self.indices[queue as usize];
        self.memory.write(driver + 4 + 2 * u64::from(*index % ENTRIES as u16), &(second as u16 & 15).to_le_bytes());
        *index = index.wrapping_add(1);
        self.memory.write(driver + 2, &index.to_le_bytes());
        self.write(0x44 + 2 * queue, 0);
    }
}

impl Driven for Virtio {
    fn step(&mut self, first: u64, second: u64) {
        match first & 15 {
            0..4 => self.descriptor(first, second),
            4..8 => self.offer(first, second),
            8 => self.write(first >> 8 & 0x3C, second as u32),
            9 if first >> 8 & 15 == 0 => self.write(first >> 16 & 0xFF, second as u32),
            9 => self.set_up(),
            10 => {
                let size = 1 << (first >> 8 & 3).min(2);
                let value = self.device.read((first >> 10 & 1) as usize, first >> 16 & 0x1FFF, size);
                assert!(size == 4 || first >> 10 & 1 != 0 || value >> 16 == 0 || first >> 16 & 0x1FFF < 0x38);
            }
            11 => _ = self.memory.write(second & 0xFFF8, &first.to_le_bytes()),
            // A request of a disk, where most descriptors point to.
            12 => _ = self.memory.write(second & 0x3FF8, &(first >> 8 & 0xF).to_le_bytes()),
            13 => _ = self.device.input(second as u8),
            14 => {
                let mut world = World { memory: &self.memory, messages: 0 };
                self.device.write(1, first >> 8 & 0xFFF, 4, second as u32, &mut world);
                self.device.config_mut().write((first >> 20) as usize & 0xFF, 4, second as u32);
            }
            _ => self.device.poll(&mut World { memory: &self.memory, messages: 0 }),
        }
        let _ = self.device.interrupt();
    }
}

/// Gives every chain back, as long as it is.
struct Echo;

impl Model for Echo {
    fn kind(&self) -> u16 {
        5
    }

    fn class(&self) -> (u8, u8, u8) {
        (0xFF, 0, 0)
    }

    fn features(&self) -> u64 {
        0
    }

    fn queues(&self) -> usize {
        2
    }

    fn config(&self) -> &[u8] {
        &[1, 2, 3]
    }

    fn serve(&mut self, number: usize, queues: &mut [Queue], context: &mut Context<'_>) -> Result<(), Broken> {
        let queue = queues.get_mut(number).ok_or(Broken)?;
        while let Some(chain) = queue.pop(context.memory)? {
            let mut bytes = [0; 64];
            let count = chain.read(context.memory, 0, &mut bytes)?;
            let written = chain.write(context.memory, 0, &bytes[..count])?;
            assert!(written as u64 <= chain.room() && written <= count);
            queue.push(context.memory, &chain, written as u32)?;
        }
        Ok(())
    }
}

pub fn transport() -> Box<dyn Driven> {
    driven(Echo)
}

pub fn block() -> Box<dyn Driven> {
    static IMAGE: [u8; 16384] = [7; 16384];
    driven(Block::new(Disk::Changing(Overlay::new(&IMAGE, 8192))))
}

pub fn console() -> Box<dyn Driven> {
    driven(Console::default())
}

/// A wire that gives back what was sent last.
#[derive(Default)]
struct Loop(Vec<u8>);

impl Wire for Loop {
    fn send(&mut self, frame: &[u8]) {
        assert!((1..=FRAME).contains(&frame.len()), "a frame of {} bytes", frame.len());
        self.0 = frame.to_vec();
    }

    fn receive(&mut self, to: &mut [u8; FRAME]) -> usize {
        let frame = std::mem::take(&mut self.0);
        to.iter_mut().zip(&frame).for_each(|(slot, byte)| *slot = *byte);
        frame.len()
    }
}

pub fn net() -> Box<dyn Driven> {
    driven(Net::new(Loop::default(), [2, 0, 0, 0, 0, 1]))
}

struct Count(u64);

impl Source for Count {
    fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

pub fn rng() -> Box<dyn Driven> {
    driven(Entropy(Count(0)))
}
