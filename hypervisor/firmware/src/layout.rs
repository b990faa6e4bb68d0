//! Copies a packed structure of the crate `acpi` out of bytes.
//!
//! Purpose: a copy on the stack replaces the crate's own way of pointing into the mapping: its iterators trust the
//! lengths they find, and a reference to a header does not permit reading what follows the header.
//! Invariants: only types for which every bit pattern is valid are made ([`Plain`]).
//! Concurrency: plain values.
//! Source: none needed.

use acpi::madt::{InterruptSourceOverrideEntry, IoApicEntry, LocalApicEntry, LocalX2ApicEntry};
use acpi::mcfg::McfgEntry;

/// A structure for which every bit pattern is a valid value.
///
/// # Safety
/// The type has no padding, no references and no field with invalid values.
pub unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($name:ty),* $(,)?) => {
        $(
            // SAFETY: `repr(C, packed)`, so no padding; all fields are integers
            // or arrays and structures of integers.
            unsafe impl Plain for $name {}
        )*
    };
}

plain!(McfgEntry, LocalApicEntry, IoApicEntry, InterruptSourceOverrideEntry, LocalX2ApicEntry);

/// The structure at the start of `bytes`, or `None` if they are too few.
pub fn read<T: Plain>(bytes: &[u8]) -> Option<T> {
    // SAFETY: as many bytes are there (checked), and every bit pattern is a `T`.
    (bytes.len() >= size_of::<T>()).then(|| unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_structure_needs_all_its_bytes() {
        let bytes = [0, 8, 1, 2, 1, 0, 0, 0];
        let entry = read::<LocalApicEntry>(&bytes).expect("eight bytes");
        assert_eq!((entry.processor_id, entry.apic_id), (1, 2));
        assert!(read::<LocalApicEntry>(&bytes[..7]).is_none());
    }
}
