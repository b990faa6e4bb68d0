//! The guest's memory, as the monitor sees it.
//!
//! The guest writes it at any time, so nothing here hands out references: bytes are copied in and out.
//! Invariants: what lies outside the memory is refused whole.
//! Concurrency: shared with all virtual processors; accesses are as coherent as single bytes are.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU8, Ordering};

/// Memory from guest-physical address 0 on.
pub trait Memory: Sync {
    /// Its size in bytes.
    fn size(&self) -> u64;

    /// Copies from `address` on; whether all of it is memory.
    fn read(&self, address: u64, to: &mut [u8]) -> bool;

    /// Copies to `address` on; whether all of it is memory.
    fn write(&self, address: u64, from: &[u8]) -> bool;

    /// Reads a word; aligned ones at once. `None` outside.
    fn read_u64(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes).then(|| u64::from_le_bytes(bytes))
    }

    /// Reads 4 bytes.
    fn read_u32(&self, address: u64) -> Option<u32> {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes).then(|| u32::from_le_bytes(bytes))
    }

    /// Reads 2 bytes.
    fn read_u16(&self, address: u64) -> Option<u16> {
        let mut bytes = [0; 2];
        self.read(address, &mut bytes).then(|| u16::from_le_bytes(bytes))
    }
}

/// Memory of the program that uses this: for tests.
#[derive(Debug)]
pub struct TestMemory(Vec<AtomicU8>);

impl TestMemory {
    /// `size` bytes of 0.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self(vec![0_u8; size].into_iter().map(AtomicU8::new).collect())
    }

    fn range(&self, address: u64, length: usize) -> Option<&[AtomicU8]> {
        let start = usize::try_from(address).ok()?;
        self.0.get(start..start.checked_add(length)?)
    }
}

impl Memory for TestMemory {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, address: u64, to: &mut [u8]) -> bool {
        let from = self.range(address, to.len());
        from.map(|from| to.iter_mut().zip(from).for_each(|(to, from)| *to = from.load(Ordering::Relaxed))).is_some()
    }

    fn write(&self, address: u64, from: &[u8]) -> bool {
        let to = self.range(address, from.len());
        to.map(|to| to.iter().zip(from).for_each(|(to, from)| to.store(*from, Ordering::Relaxed))).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_wholly_inside_is_refused() {
        let memory = TestMemory::new(16);
        assert!(memory.write(8, &7_u64.to_le_bytes()));
        assert_eq!((memory.read_u64(8), memory.read_u64(9), memory.read_u32(u64::MAX)), (Some(7), None, None));
        assert!(!memory.write(12, &[1; 8]));
        assert_eq!(memory.read_u16(12), Some(0));
    }
}
