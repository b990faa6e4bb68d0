//! Message-signalled interrupts by table (MSI-X).
//!
//! Invariants: a masked vector sends nothing, and sends once when it is unmasked.
//! Concurrency: plain value.
//! Source: PCI Local Bus Specification 3.0, §6.8.2.

extern crate alloc;

use alloc::boxed::Box;
use alloc::vec;

use crate::Config;

const NUMBER: u8 = 0x11;
const ENABLE: u32 = 1 << 15;
const MASK_ALL: u32 = 1 << 14;
/// Words of an entry.
const WORDS: usize = 4;

/// A message: address and data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vector {
    /// Where the message is written.
    pub address: u64,
    /// What is written.
    pub data: u32,
}

/// Table and pending bits; the table lies at the start of its window, the pending bits in its second half.
#[derive(Debug)]
pub struct MsiX {
    capability: usize,
    table: Box<[u32]>,
    pending: u64,
}

impl MsiX {
    /// `count` vectors, 1 to 64, behind window `window` of `size` bytes; adds the capability. `None` if there is no room.
    #[must_use]
    pub fn new(config: &mut Config, count: u16, window: u8, size: u32) -> Option<Self> {
        let count = count.clamp(1, 64);
        let mut body = [0; 10];
        let fields = [(count - 1).into(), u32::from(window), (size / 2) | u32::from(window)];
        body[..2].copy_from_slice(&(fields[0] as u16).to_le_bytes());
        body[2..6].copy_from_slice(&fields[1].to_le_bytes());
        body[6..].copy_from_slice(&fields[2].to_le_bytes());
        let capability = config.add_capability(NUMBER, &body, &[0, 0xC0])?;
        let table = vec![0; WORDS * usize::from(count)].into_boxed_slice();
        let mut new = Self { capability, table, pending: 0 };
        new.reset();
        Some(new)
    }

    /// All vectors masked, nothing pending.
    pub fn reset(&mut self) {
        for (index, word) in self.table.iter_mut().enumerate() {
            *word = u32::from(index % WORDS == 3);
        }
        self.pending = 0;
    }

    /// Whether the guest uses it, so that the interrupt line is silent.
    #[must_use]
    pub fn is_enabled(&self, config: &Config) -> bool {
        self.control(config) & ENABLE != 0
    }

    /// The device signals `vector`; the message, unless it is masked.
    pub fn signal(&mut self, config: &Config, vector: u16) -> Option<Vector> {
        let control = self.control(config);
        if control & ENABLE == 0 {
            return None;
        }
        let at = WORDS * usize::from(vector);
        let [low, high, data, masked] = *self.table.get(at..)?.first_chunk()?;
        if control & MASK_ALL != 0 || masked & 1 != 0 {
            self.pending |= 1_u64.checked_shl(vector.into()).unwrap_or(0);
            return None;
        }
        Some(Vector { address: u64::from(high) << 32 | u64::from(low), data })
    }

    /// A vector that waits and is not masked any more, as its message.
    pub fn unmasked(&mut self, config: &Config) -> Option<Vector> {
        let mut left = self.pending;
        while left != 0 {
            let vector = left.trailing_zeros();
            left &= left - 1;
            self.pending &= !(1 << vector);
            if let Some(message) = self.signal(config, vector as u16) {
                return Some(message);
            }
        }
        None
    }

    /// Reads 4 bytes of the window, whose second half begins at `half`.
    #[must_use]
    pub fn read(&self, offset: u64, half: u64) -> u32 {
        match offset.checked_sub(half) {
            Some(0) => self.pending as u32,
            Some(4) => (self.pending >> 32) as u32,
            Some(_) => 0,
            None => self.table.get(offset as usize / 4).copied().unwrap_or(0),
        }
    }

    /// Writes 4 bytes of the window.
    pub fn write(&mut self, offset: u64, value: u32) {
        let index = offset as usize / 4;
        if let Some(word) = self.table.get_mut(index) {
            *word = match index % WORDS {
                0 => value & !3,
                3 => value & 1,
                _ => value,
            };
        }
    }

    fn control(&self, config: &Config) -> u32 {
        config.read(self.capability + 2, 2)
    }
}
