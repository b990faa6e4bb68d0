//! Access to physical memory that firmware filled.
//!
//! Purpose: the kernel shows ranges through a temporary window; tests and fuzz targets use byte ranges at given
//! physical addresses (`physical/recorded.rs`).
//! Invariants: a range is shown as long as its bytes live. At most two live at once (the root table and the table being
//! looked at), each at most 1 MiB and its position within the first page.
//! Concurrency: none; see the crate.
//! Source: AMD64 manual volume 2, §5.3 (width of physical addresses).

use core::ops::Deref;

/// First address beyond the architectural physical address space (52 bits,
/// AMD64 manual volume 2, section 5.3).
pub const PHYSICAL_END: u64 = 1 << abi::address::PHYS_BITS;

/// Reading access to physical memory.
pub trait PhysicalMemory {
    /// A range that is readable as long as this value lives.
    type Bytes: Deref<Target = [u8]>;

    /// The `length` bytes at physical address `base`, which need not be aligned. `None` if they cannot be read.
    fn bytes(&self, base: u64, length: usize) -> Option<Self::Bytes>;
}

#[cfg(test)]
pub(crate) mod recorded;

#[cfg(test)]
mod tests {
    use super::recorded::Recorded;
    use super::*;

    #[test]
    fn ranges_outside_memory_are_refused() {
        let ranges: [(u64, &[u8]); 2] = [(0x1000, &[0; 16]), (PHYSICAL_END - 8, &[0; 16])];
        let memory = Recorded::new(&ranges);
        for (base, length) in [(0xfff, 1), (0x100f, 2), (u64::MAX, 1)] {
            assert!(memory.bytes(base, length).is_none(), "{base:#x} {length}");
        }
        assert!(memory.bytes(PHYSICAL_END - 8, 8).is_some());
    }
}
