//! Device model: a virtio block device, backed by an image that is only read, or whose changes are kept in memory, or by
//! memory.
//!
//! Invariants: nothing outside the disk is read or written; every request with room for it gets a status.
//! Concurrency: plain value; a request is done when the driver's notification returns.
//! Source: VIRTIO 1.2, §5.2.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod overlay;

pub use overlay::Overlay;

use alloc::boxed::Box;
use core::ops::Range;

use vm_memory::Memory;
use vm_virtio::{Broken, Chain, Context, Model, Queue};

const SECTOR: u64 = 512;
/// Parts of a request besides header and status.
const SEGMENTS: u32 = 254;

const SEG_MAX: u64 = 1 << 2;
const READ_ONLY: u64 = 1 << 5;
const BLOCK_SIZE: u64 = 1 << 6;
const FLUSH_FEATURE: u64 = 1 << 9;

const READ: u32 = 0;
const WRITE: u32 = 1;
const FLUSH: u32 = 4;
const IDENTIFY: u32 = 8;

const OK: u8 = 0;
const FAILED: u8 = 1;
const UNSUPPORTED: u8 = 2;
const NAME: [u8; 20] = *b"vela\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
const HEADER: usize = 16;

/// What is on the disk.
#[derive(Debug)]
pub enum Disk {
    /// An image that cannot be written.
    Image(&'static [u8]),
    /// An image whose changes are kept in memory.
    Changing(Overlay),
    /// Memory.
    Memory(Box<[u8]>),
}

impl Disk {
    const fn size(&self) -> usize {
        match self {
            Self::Image(bytes) => bytes.len(),
            Self::Changing(overlay) => overlay.size(),
            Self::Memory(bytes) => bytes.len(),
        }
    }

    /// The bytes of `range`, as many from its start as lie together.
    fn read(&self, range: Range<usize>) -> &[u8] {
        match self {
            Self::Image(bytes) => bytes.get(range),
            Self::Changing(overlay) => Some(overlay.read(range.start, range.len())),
            Self::Memory(bytes) => bytes.get(range),
        }
        .unwrap_or_default()
    }

    /// The same, to be written; `None` if that is not possible.
    fn write(&mut self, range: Range<usize>) -> Option<&mut [u8]> {
        match self {
            Self::Image(_) => None,
            Self::Changing(overlay) => overlay.write(range.start, range.len()),
            Self::Memory(bytes) => bytes.get_mut(range),
        }
    }

    const fn is_writable(&self) -> bool {
        !matches!(self, Self::Image(_))
    }
}

/// The device.
#[derive(Debug)]
pub struct Block {
    disk: Disk,
    config: [u8; 60],
}

impl Block {
    /// One with this disk; what is left over after whole sectors is not part of it.
    #[must_use]
    pub fn new(disk: Disk) -> Self {
        let mut config = [0; 60];
        let sectors = disk.size() as u64 / SECTOR;
        for (at, bytes) in [
            (0, &sectors.to_le_bytes()[..]),
            (12, &SEGMENTS.to_le_bytes()[..]),
            (20, &(SECTOR as u32).to_le_bytes()[..]),
        ] {
            config.iter_mut().skip(at).zip(bytes).for_each(|(slot, byte)| *slot = *byte);
        }
        Self { disk, config }
    }

    /// Serves a request; its status and how many bytes were written.
    fn request(&mut self, chain: &Chain, memory: &dyn Memory) -> Result<(u8, u64), Broken> {
        let mut header = [0; HEADER];
        if chain.read(memory, 0, &mut header)? < HEADER {
            return Err(Broken);
        }
        let [kind, _, low, high] = [0, 4, 8, 12].map(|at: usize| {
            header.get(at..).and_then(|rest| rest.first_chunk()).copied().map_or(0, u32::from_le_bytes)
        });
        let sector = u64::from(low) | u64::from(high) << 32;
        // The status is the last byte that the device writes.
        let room = chain.room().checked_sub(1).ok_or(Broken)?;
        Ok(match kind {
            READ => (self.read(chain, memory, sector, room)?, room),
            WRITE => (self.write(chain, memory, sector)?, 0),
            FLUSH => (OK, 0),
            IDENTIFY => (OK, chain.write(memory, 0, NAME.get(..room.min(20) as usize).unwrap_or_default())? as u64),
            _ => (UNSUPPORTED, 0),
        })
    }

    fn read(&self, chain: &Chain, memory: &dyn Memory, sector: u64, room: u64) -> Result<u8, Broken> {
        let Some(mut range) = self.range(sector, room) else { return Ok(FAILED) };
        let mut done = 0;
        while !range.is_empty() {
            let bytes = self.disk.read(range.clone());
            if bytes.is_empty() {
                return Ok(FAILED);
            }
            chain.write(memory, done, bytes)?;
            done += bytes.len() as u64;
            range.start += bytes.len();
        }
        Ok(OK)
    }

    fn write(&mut self, chain: &Chain, memory: &dyn Memory, sector: u64) -> Result<u8, Broken> {
        let all: u64 = chain.readable.iter().map(|(_, length)| u64::from(*length)).sum();
        let Some(mut range) = self.range(sector, all.saturating_sub(HEADER as u64)) else { return Ok(FAILED) };
        let mut skip = HEADER as u64;
        for (address, length) in &chain.readable {
            let (mut address, mut length) = (*address, u64::from(*length));
            let skipped = skip.min(length);
            (address, length, skip) = (address.wrapping_add(skipped), length - skipped, skip - skipped);
            while length > 0 {
                let end = range.end.min(range.start.saturating_add(length as usize));
                let Some(part) = self.disk.write(range.start..end).filter(|part| !part.is_empty()) else {
                    return Ok(FAILED);
                };
                if !memory.read(address, part) {
                    return Err(Broken);
                }
                let count = part.len();
                range.start += count;
                (address, length) = (address.wrapping_add(count as u64), length - count as u64);
            }
        }
        Ok(OK)
    }

    /// The bytes of a request; `None` if they are not whole sectors of the disk.
    fn range(&self, sector: u64, length: u64) -> Option<Range<usize>> {
        range(sector, length).filter(|range| range.end <= self.disk.size())
    }
}

/// The bytes of a request; `None` if they are not whole sectors.
fn range(sector: u64, length: u64) -> Option<Range<usize>> {
    let start = sector.checked_mul(SECTOR)?;
    let end = start.checked_add(length).filter(|_| length.is_multiple_of(SECTOR))?;
    Some(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
}

impl Model for Block {
    fn kind(&self) -> u16 {
        2
    }

    fn class(&self) -> (u8, u8, u8) {
        (1, 0x80, 0)
    }

    fn features(&self) -> u64 {
        SEG_MAX | BLOCK_SIZE | FLUSH_FEATURE | if self.disk.is_writable() { 0 } else { READ_ONLY }
    }

    fn queues(&self) -> usize {
        1
    }

    fn config(&self) -> &[u8] {
        &self.config
    }

    fn serve(&mut self, _: usize, queues: &mut [Queue], context: &mut Context<'_>) -> Result<(), Broken> {
        let queue = queues.first_mut().ok_or(Broken)?;
        while let Some(chain) = queue.pop(context.memory)? {
            let (status, written) = self.request(&chain, context.memory)?;
            chain.write(context.memory, chain.room() - 1, &[status])?;
            queue.push(context.memory, &chain, written as u32 + 1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_memory::TestMemory;

    fn request(block: &mut Block, kind: u32, sector: u64, data: &mut [u8]) -> u8 {
        let memory = TestMemory::new(0x4000);
        let mut queue = Queue::default();
        (queue.size, queue.ready) = (4, true);
        (queue.descriptors, queue.driver, queue.device) = (0x1000, 0x2000, 0x3000);
        memory.write(0, &kind.to_le_bytes());
        memory.write(8, &sector.to_le_bytes());
        memory.write(0x100, data);
        let direction = if kind == WRITE { 0 } else { 2_u64 };
        let entries = [(0, 16, 1_u64, 1), (0x100, data.len() as u64, direction | 1, 2), (0xFFF, 1, 2, 0)];
        for (index, (address, length, flags, next)) in (0_u64..).zip(entries) {
            memory.write(0x1000 + 16 * index, &u64::to_le_bytes(address));
            memory.write(0x1008 + 16 * index, &(length | flags << 32 | next << 48_u64).to_le_bytes());
        }
        memory.write(0x2002, &1_u16.to_le_bytes());
        let served =
            block.serve(0, core::slice::from_mut(&mut queue), &mut Context { memory: &memory, print: &mut |_| () });
        assert_eq!((served, memory.read_u16(0x3002)), (Ok(()), Some(1)));
        memory.read(0x100, data);
        let mut status = [0xFF];
        memory.read(0xFFF, &mut status);
        status[0]
    }

    #[test]
    fn what_was_written_is_read_back() {
        let mut block = Block::new(Disk::Memory(vec![0; 4096].into()));
        assert_eq!(request(&mut block, WRITE, 3, &mut [7; 1024]), OK);
        let mut data = [0; 2048];
        assert_eq!(request(&mut block, READ, 2, &mut data), OK);
        assert_eq!((data[511], data[512], data[1535], data[1536]), (0, 7, 7, 0));
        assert_eq!((request(&mut block, FLUSH, 0, &mut []), request(&mut block, 99, 0, &mut [])), (OK, UNSUPPORTED));
    }

    #[test]
    fn changes_of_an_image_are_kept_until_there_is_no_room() {
        static IMAGE: [u8; 16384] = [1; 16384];
        let mut block = Block::new(Disk::Changing(Overlay::new(&IMAGE, 8192)));
        assert_eq!(block.features() & READ_ONLY, 0);
        assert_eq!(request(&mut block, WRITE, 7, &mut [9; 1024]), OK);
        let mut data = [0; 2048];
        assert_eq!(request(&mut block, READ, 6, &mut data), OK);
        assert_eq!((data[511], data[512], data[1535], data[1536]), (1, 9, 9, 1));
        assert_eq!(request(&mut block, WRITE, 16, &mut [9; 512]), FAILED);
        assert_eq!(request(&mut block, READ, 31, &mut [0; 1024]), FAILED);
    }

    #[test]
    fn what_is_outside_or_read_only_fails() {
        let mut block = Block::new(Disk::Image(&[1; 1024]));
        assert_eq!(block.features() & READ_ONLY, READ_ONLY);
        assert_eq!(request(&mut block, WRITE, 0, &mut [0; 512]), FAILED);
        assert_eq!(request(&mut block, READ, 1, &mut [0; 1024]), FAILED);
        assert_eq!(request(&mut block, READ, u64::MAX, &mut [0; 512]), FAILED);
        assert_eq!(request(&mut block, READ, 0, &mut [0; 100]), FAILED);
        assert_eq!(request(&mut block, READ, 1, &mut [0; 512]), OK);
    }
}
