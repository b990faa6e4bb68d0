//! Physical memory recorded as byte ranges.
//!
//! Purpose: stands in for a machine's memory in the unit tests and, included by path, in the fuzz targets.
//! Invariants: bytes outside the ranges are not readable.
//! Concurrency: for one thread.
//! Source: none needed.

use super::PhysicalMemory;

/// Physical memory recorded as byte ranges: for tests, fuzzing and dumps of
/// real machines. Bytes outside the ranges are not readable.
pub struct Recorded<'a>(&'a [(u64, &'a [u8])]);

impl<'a> Recorded<'a> {
    /// Memory that holds the given bytes at the given physical addresses.
    pub fn new(ranges: &'a [(u64, &'a [u8])]) -> Self {
        Self(ranges)
    }
}

impl<'a> PhysicalMemory for Recorded<'a> {
    type Bytes = &'a [u8];

    fn bytes(&self, base: u64, length: usize) -> Option<&'a [u8]> {
        self.0.iter().find_map(|&(start, bytes)| {
            let offset = usize::try_from(base.checked_sub(start)?).ok()?;
            bytes.get(offset..offset.checked_add(length)?)
        })
    }
}
