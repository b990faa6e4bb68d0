//! Access to physical memory that firmware filled.
//!
//! Purpose: the kernel maps ranges through a temporary window; tests and fuzz targets use byte ranges at given
//! physical addresses (`physical/recorded.rs`).
//! Invariants: a mapping is ended exactly once. At most three live at once (a held MADT, the root table, the table
//! being looked at), each at most 1 MiB and its position within the first page.
//! Concurrency: none; see the crate.
//! Source: AMD64 manual volume 2, §5.3 (width of physical addresses).

use core::ptr::NonNull;

/// First address beyond the architectural physical address space (52 bits,
/// AMD64 manual volume 2, section 5.3).
pub const PHYSICAL_END: u64 = 1 << abi::address::PHYS_BITS;

/// Reading access to physical memory.
///
/// # Safety
/// `map` returns `None` or the address of `length` readable bytes with the
/// contents of physical memory at `base`, which stay mapped and unchanged until
/// `unmap` is called with the same address and length.
pub unsafe trait PhysicalMemory {
    /// Makes `length` bytes at physical address `base` readable; `base` need
    /// not be aligned. `None` if they cannot be read.
    fn map(&self, base: u64, length: usize) -> Option<NonNull<u8>>;

    /// Ends a mapping that `map` returned.
    fn unmap(&self, address: NonNull<u8>, length: usize);
}

/// A range of physical memory, mapped as long as this value lives.
pub struct Mapping<'m, M: PhysicalMemory> {
    memory: &'m M,
    address: NonNull<u8>,
    length: usize,
}

impl<'m, M: PhysicalMemory> Mapping<'m, M> {
    /// Maps `length` bytes at `base`; `None` if they are not readable, empty,
    /// or not inside the physical address space.
    pub fn new(memory: &'m M, base: u64, length: usize) -> Option<Self> {
        let end = base.checked_add(u64::try_from(length).ok()?)?;
        if length == 0 || end > PHYSICAL_END {
            return None;
        }
        let address = memory.map(base, length)?;
        Some(Self { memory, address, length })
    }

    /// The mapped bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `PhysicalMemory::map` promises `length` readable bytes that do
        // not change until `unmap`, which only `drop` calls.
        unsafe { core::slice::from_raw_parts(self.address.as_ptr(), self.length) }
    }
}

impl<M: PhysicalMemory> Drop for Mapping<'_, M> {
    fn drop(&mut self) {
        self.memory.unmap(self.address, self.length);
    }
}

#[cfg(test)]
pub(crate) mod recorded;

#[cfg(test)]
mod tests {
    use super::recorded::Recorded;
    use super::*;

    #[test]
    fn a_mapping_ends_with_its_value() {
        let ranges: [(u64, &[u8]); 1] = [(0x1000, &[1, 2, 3, 4])];
        let memory = Recorded::new(&ranges);
        let mapping = Mapping::new(&memory, 0x1001, 2).expect("inside the range");
        assert_eq!((mapping.bytes(), memory.mapped()), (&[2, 3][..], 1));
        drop(mapping);
        assert_eq!(memory.mapped(), 0);
    }

    #[test]
    fn ranges_outside_memory_are_refused() {
        let ranges: [(u64, &[u8]); 2] = [(0x1000, &[0; 16]), (PHYSICAL_END - 8, &[0; 16])];
        let memory = Recorded::new(&ranges);
        for (base, length) in [(0xfff, 1), (0x100f, 2), (0x1000, 0), (PHYSICAL_END - 8, 9), (u64::MAX, 1)] {
            assert!(Mapping::new(&memory, base, length).is_none(), "{base:#x} {length}");
        }
        assert!(Mapping::new(&memory, PHYSICAL_END - 8, 8).is_some());
        assert_eq!(memory.mapped(), 0);
    }
}
