//! Memory descriptors of the information page.
//!
//! Positive types are those of the boot loader's memory map; negative ones are the kernel's. Ranges may overlap: modules
//! and the kernel lie inside available memory, and the reader subtracts them.
//! Invariants: 24 bytes.
//! Concurrency: plain values.
//! Source: classic interface, "Memory descriptor".

use core::fmt;
use core::mem::offset_of;

/// What a range of memory is. Open: any number may come from a boot loader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct MemoryKind(pub i32);

impl MemoryKind {
    /// Free to use.
    pub const AVAILABLE: Self = Self(1);
    /// Not to be touched.
    pub const RESERVED: Self = Self(2);
    /// ACPI tables, free once they are read.
    pub const ACPI_RECLAIMABLE: Self = Self(3);
    /// Memory that the firmware keeps over sleep.
    pub const ACPI_NVS: Self = Self(4);
    /// The kernel and its memory pool.
    pub const HYPERVISOR: Self = Self(-1);
    /// A boot module; the extra word is the physical address of its command line, or 0.
    pub const MODULE: Self = Self(-2);
    /// The address of the ACPI root table with 32-bit entries.
    pub const RSDT: Self = Self(-3);
    /// The address of the ACPI root table with 64-bit entries.
    pub const XSDT: Self = Self(-4);
    /// The frame buffer; its size field encodes width, height and format, the extra word is the pitch.
    pub const FRAME_BUFFER: Self = Self(-5);
    /// The page of the kernel's log.
    pub const LOG: Self = Self(-6);
    /// The address of the EFI system table.
    pub const EFI_SYSTEM_TABLE: Self = Self(-7);

    /// Whether address and size are a range of bytes that is not free; the other kinds only tell an address.
    #[must_use]
    pub const fn is_occupied(self) -> bool {
        matches!(self, Self::HYPERVISOR | Self::MODULE | Self::LOG) || (self.0 > 0 && self.0 != Self::AVAILABLE.0)
    }
}

impl fmt::Display for MemoryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::AVAILABLE => "available",
            Self::RESERVED => "reserved",
            Self::ACPI_RECLAIMABLE => "ACPI tables",
            Self::ACPI_NVS => "ACPI storage",
            Self::HYPERVISOR => "hypervisor",
            Self::MODULE => "module",
            Self::RSDT => "RSDT",
            Self::XSDT => "XSDT",
            Self::FRAME_BUFFER => "frame buffer",
            Self::LOG => "log",
            Self::EFI_SYSTEM_TABLE => "EFI system table",
            Self(number) => return write!(f, "type {number}"),
        })
    }
}

/// One range of physical memory, or one physical address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct MemoryDescriptor {
    /// First physical address in bytes.
    pub address: u64,
    /// Size in bytes; 0 where only the address matters.
    pub size: u64,
    /// What it is.
    pub kind: MemoryKind,
    /// Depends on the kind.
    pub extra: u32,
}

const _: () = {
    assert!(size_of::<MemoryDescriptor>() == 24);
    assert!(offset_of!(MemoryDescriptor, kind) == 16 && offset_of!(MemoryDescriptor, extra) == 20);
};

impl MemoryDescriptor {
    /// Bytes of a descriptor.
    pub const SIZE: usize = size_of::<Self>();

    /// `size` bytes from `address` on, without an extra word.
    #[must_use]
    pub const fn new(address: u64, size: u64, kind: MemoryKind) -> Self {
        Self { address, size, kind, extra: 0 }
    }

    /// First address after the range, in bytes; stops at the end of the address space.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.address.saturating_add(self.size)
    }

    /// The descriptor as it lies in memory.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..8].copy_from_slice(&self.address.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.size.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.kind.0.to_le_bytes());
        bytes[20..].copy_from_slice(&self.extra.to_le_bytes());
        bytes
    }

    /// The descriptor from memory.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        let word = |offset: usize| {
            u32::from_le_bytes([bytes[offset], bytes[offset + 1], bytes[offset + 2], bytes[offset + 3]])
        };
        let long = |offset: usize| u64::from(word(offset)) | u64::from(word(offset + 4)) << 32;
        Self { address: long(0), size: long(8), kind: MemoryKind(word(16) as i32), extra: word(20) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_byte_ranges_occupy_memory() {
        let occupied: Vec<_> = (-8..6).filter(|&kind| MemoryKind(kind).is_occupied()).collect();
        assert_eq!(occupied, [-6, -2, -1, 2, 3, 4, 5]);
    }

    #[test]
    fn unknown_kinds_have_a_name_too() {
        assert_eq!(MemoryKind(20).to_string(), "type 20");
        assert_eq!(MemoryKind(-2).to_string(), "module");
    }

    proptest! {
        #[test]
        fn every_descriptor_reads_back_as_written(address: u64, size: u64, kind: i32, extra: u32) {
            let descriptor = MemoryDescriptor { address, size, kind: MemoryKind(kind), extra };
            prop_assert_eq!(MemoryDescriptor::from_bytes(&descriptor.to_bytes()), descriptor);
            prop_assert!(descriptor.end() >= address);
        }
    }
}
