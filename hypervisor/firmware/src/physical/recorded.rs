//! Physical memory recorded as byte ranges.
//!
//! Purpose: stands in for a machine's memory in the unit tests and, included by path, in the fuzz targets.
//! Invariants: bytes outside the ranges are not readable; mappings are counted.
//! Concurrency: for one thread.
//! Source: none needed.

use super::PhysicalMemory;
use core::ptr::NonNull;

/// Physical memory recorded as byte ranges: for tests, fuzzing and dumps of
/// real machines. Bytes outside the ranges are not readable.
pub struct Recorded<'a> {
    ranges: &'a [(u64, &'a [u8])],
    mapped: core::cell::Cell<usize>,
}

impl<'a> Recorded<'a> {
    /// Memory that holds the given bytes at the given physical addresses.
    pub fn new(ranges: &'a [(u64, &'a [u8])]) -> Self {
        Self { ranges, mapped: core::cell::Cell::new(0) }
    }

    /// Number of mappings that have not been ended.
    pub fn mapped(&self) -> usize {
        self.mapped.get()
    }
}

// SAFETY: the address points into a slice that outlives `self` and is borrowed
// shared, hence readable and unchanging; its length was checked.
unsafe impl PhysicalMemory for Recorded<'_> {
    fn map(&self, base: u64, length: usize) -> Option<NonNull<u8>> {
        let bytes = self.ranges.iter().find_map(|&(start, bytes)| {
            let offset = usize::try_from(base.checked_sub(start)?).ok()?;
            bytes.get(offset..offset.checked_add(length)?)
        })?;
        self.mapped.set(self.mapped.get() + 1);
        Some(NonNull::from(bytes).cast())
    }

    fn unmap(&self, _address: NonNull<u8>, _length: usize) {
        self.mapped.set(self.mapped.get() - 1);
    }
}
