//! Queues: rings in guest memory through which driver and device hand buffers to each other.
//!
//! Invariants: a chain has at most as many parts as the queue has entries, so a ring in it ends; buffers are only accessed
//! through [`Memory`], which refuses what is outside.
//! Concurrency: the driver writes its ring meanwhile; an index is read before what it announces (x86 keeps loads in order).
//! Source: VIRTIO 1.2, §2.7 "Split Virtqueues".

use alloc::vec::Vec;

use vm_memory::Memory;

/// Most entries of a queue.
pub const MAX_SIZE: u16 = 256;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
/// Flag of the driver's ring: no interrupts.
const NO_INTERRUPT: u16 = 1;
/// Bytes of a descriptor.
const ENTRY: u64 = 16;

/// The driver breaks the rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Broken;

/// A part of guest memory.
type Part = (u64, u32);

/// Buffers that belong together: what the device reads, then what it writes.
#[derive(Debug)]
pub struct Chain {
    head: u16,
    /// Address and length of what the driver has written.
    pub readable: Vec<Part>,
    /// Address and length of what the device may write.
    pub writable: Vec<Part>,
}

impl Chain {
    /// Bytes that the device may write.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.writable.iter().map(|(_, length)| u64::from(*length)).sum()
    }

    /// Copies what the driver has written into `to`, from `skip` bytes behind the start on; how many there were.
    ///
    /// # Errors
    /// They are not in memory.
    pub fn read(&self, memory: &dyn Memory, skip: u64, to: &mut [u8]) -> Result<usize, Broken> {
        let (mut skip, mut done) = (skip, 0);
        for (address, length) in &self.readable {
            let length = u64::from(*length);
            if skip >= length {
                skip -= length;
                continue;
            }
            let Some(rest) = to.get_mut(done..).filter(|rest| !rest.is_empty()) else { break };
            let count = rest.len().min((length - skip) as usize);
            let part = rest.get_mut(..count).ok_or(Broken)?;
            if !memory.read(address.wrapping_add(skip), part) {
                return Err(Broken);
            }
            done += count;
            skip = 0;
        }
        Ok(done)
    }

    /// Copies `from` to where the device may write, `skip` bytes from the start; how much fitted.
    ///
    /// # Errors
    /// It is not in memory.
    pub fn write(&self, memory: &dyn Memory, skip: u64, from: &[u8]) -> Result<usize, Broken> {
        let (mut skip, mut done) = (skip, 0);
        for (address, length) in &self.writable {
            let length = u64::from(*length);
            if skip >= length {
                skip -= length;
                continue;
            }
            let count = from.len().saturating_sub(done).min((length - skip) as usize);
            let part = from.get(done..done + count).ok_or(Broken)?;
            if !memory.write(address.wrapping_add(skip), part) {
                return Err(Broken);
            }
            done += count;
            skip = 0;
        }
        Ok(done)
    }
}

/// A queue, as the driver has set it up.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Entries: a power of two up to [`MAX_SIZE`].
    pub size: u16,
    /// Whether the driver has switched it on.
    pub ready: bool,
    /// Interrupt message, or 0xFFFF.
    pub vector: u16,
    /// Where the descriptors are.
    pub descriptors: u64,
    /// Where the driver's ring is.
    pub driver: u64,
    /// Where the device's ring is.
    pub device: u64,
    /// Whether both sides say at which entry they want to be told.
    pub(crate) by_event: bool,
    next: u16,
    used: u16,
    /// The device's index when the driver was last told.
    told: u16,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            size: MAX_SIZE,
            ready: false,
            vector: 0xFFFF,
            descriptors: 0,
            driver: 0,
            device: 0,
            by_event: false,
            next: 0,
            used: 0,
            told: 0,
        }
    }
}

impl Queue {
    /// The next chain, if the driver has put one in.
    ///
    /// # Errors
    /// What the driver has put in makes no sense.
    pub fn pop(&mut self, memory: &dyn Memory) -> Result<Option<Chain>, Broken> {
        if !self.ready {
            return Ok(None);
        }
        let index = memory.read_u16(self.driver.wrapping_add(2)).ok_or(Broken)?;
        let waiting = index.wrapping_sub(self.next);
        if waiting == 0 {
            return self.rest(memory);
        }
        if waiting > self.size {
            return Err(Broken);
        }
        let slot = u64::from(self.next % self.size);
        let head = memory.read_u16(self.driver.wrapping_add(4 + 2 * slot)).ok_or(Broken)?;
        self.next = self.next.wrapping_add(1);
        self.chain(memory, head).map(Some)
    }

    /// Asks to be told of the next chain; one that came in between is given at once.
    fn rest(&mut self, memory: &dyn Memory) -> Result<Option<Chain>, Broken> {
        if !self.by_event {
            return Ok(None);
        }
        let event = self.device.wrapping_add(4 + 8 * u64::from(self.size));
        if memory.read_u16(event).ok_or(Broken)? == self.next {
            return Ok(None);
        }
        if !memory.write(event, &self.next.to_le_bytes()) {
            return Err(Broken);
        }
        core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
        if memory.read_u16(self.driver.wrapping_add(2)) == Some(self.next) { Ok(None) } else { self.pop(memory) }
    }

    fn chain(&self, memory: &dyn Memory, head: u16) -> Result<Chain, Broken> {
        let mut chain = Chain { head, readable: Vec::new(), writable: Vec::new() };
        let (mut table, mut size) = (self.descriptors, self.size);
        let (mut index, mut indirect) = (head, false);
        for _ in 0..=usize::from(MAX_SIZE) * 2 {
            if index >= size {
                return Err(Broken);
            }
            let mut bytes = [0; ENTRY as usize];
            if !memory.read(table.wrapping_add(ENTRY * u64::from(index)), &mut bytes) {
                return Err(Broken);
            }
            let [low, high] = [0, 8].map(|at: usize| {
                bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().map_or(0, u64::from_le_bytes)
            });
            let (address, length, flags, next) = (low, high as u32, (high >> 32) as u16, (high >> 48) as u16);
            if flags & INDIRECT != 0 {
                // A table of its own: once, and instead of everything else.
                if indirect || flags & NEXT != 0 || !u64::from(length).is_multiple_of(ENTRY) {
                    return Err(Broken);
                }
                (table, size, index) = (address, u16::try_from(u64::from(length) / ENTRY).map_err(|_| Broken)?, 0);
                indirect = true;
                continue;
            }
            let parts = if flags & WRITE != 0 { &mut chain.writable } else { &mut chain.readable };
            parts.push((address, length));
            if flags & NEXT == 0 {
                return Ok(chain);
            }
            if chain.readable.len() + chain.writable.len() >= usize::from(MAX_SIZE) {
                return Err(Broken);
            }
            index = next;
        }
        Err(Broken)
    }

    /// Gives a chain back, into which the device has written so many bytes.
    ///
    /// # Errors
    /// The ring is not in memory.
    pub fn push(&mut self, memory: &dyn Memory, chain: &Chain, written: u32) -> Result<(), Broken> {
        let entry = u64::from(chain.head) | u64::from(written) << 32;
        let slot = u64::from(self.used % self.size);
        if !memory.write(self.device.wrapping_add(4 + 8 * slot), &entry.to_le_bytes()) {
            return Err(Broken);
        }
        self.used = self.used.wrapping_add(1);
        // The entry is there before its index says so: stores of one processor stay in order.
        core::sync::atomic::fence(core::sync::atomic::Ordering::Release);
        if memory.write(self.device.wrapping_add(2), &self.used.to_le_bytes()) { Ok(()) } else { Err(Broken) }
    }

    /// Whether the driver wants to be told of what was given back since the last call.
    pub(crate) fn wants_interrupt(&mut self, memory: &dyn Memory) -> bool {
        let (old, new) = (core::mem::replace(&mut self.told, self.used), self.used);
        if old == new {
            return false;
        }
        core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
        if self.by_event {
            let event = memory.read_u16(self.driver.wrapping_add(4 + 2 * u64::from(self.size))).unwrap_or(old);
            new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
        } else {
            memory.read_u16(self.driver).is_some_and(|flags| flags & NO_INTERRUPT == 0)
        }
    }
}
