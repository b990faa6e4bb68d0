//! Hypervisor information page (HIP): what the kernel tells the root program about itself and the machine.
//!
//! Layout: a header of 0x38 bytes, one descriptor of 12 bytes per core number, then descriptors of 24 bytes for memory up
//! to the length that the header gives. This is the form with 256 core numbers and an area of four pages.
//! Invariants: all 16-bit words of the length add up to 0. The number of core slots is also the selector of the first
//! interrupt in the hypervisor's space.
//! Concurrency: written before the root program starts, read-only from then on.
//! Source: classic interface, "HIP".

mod cpu;
mod memory;
mod reader;
mod writer;

use core::fmt;
use core::mem::offset_of;

use bitflags::bitflags;

pub use cpu::{CpuDescriptor, CpuFlags};
pub use memory::{MemoryDescriptor, MemoryKind};
pub use reader::HipReader;
pub use writer::HipWriter;

use crate::address::PAGE_SIZE;
use crate::selector::Selector;

/// Where the root program finds the area, as a virtual address in bytes.
pub const HIP_ADDRESS: u64 = 0x7FFF_BFFF_C000;
/// Size of the area in bytes.
pub const HIP_SIZE: usize = 4 * PAGE_SIZE as usize;
/// Where the root program finds its UTCB, as a virtual address in bytes.
pub const ROOT_UTCB_ADDRESS: u64 = HIP_ADDRESS - PAGE_SIZE;
/// Number of core slots, and the selector of the first interrupt in the hypervisor's space.
pub const CPU_SLOTS: usize = 256;
/// Number of interrupt semaphores in the hypervisor's space.
pub const INTERRUPTS: u32 = 192;
/// First four bytes of the area.
pub const SIGNATURE: u32 = 0x4156_4F4E;
/// Byte offset of the first core descriptor.
pub const CPU_OFFSET: usize = size_of::<Hip>();
/// Byte offset of the first memory descriptor.
pub const MEMORY_OFFSET: usize = CPU_OFFSET + CPU_SLOTS * CpuDescriptor::SIZE;
/// How many memory descriptors the area can hold.
pub const MAX_MEMORY_DESCRIPTORS: usize = (HIP_SIZE - MEMORY_OFFSET) / MemoryDescriptor::SIZE;

const _: () = {
    assert!(HIP_ADDRESS + HIP_SIZE as u64 == crate::USER_LIMIT);
    assert!(CPU_OFFSET == 0x38 && MEMORY_OFFSET == 0xC38);
    assert!(HIP_SIZE <= u16::MAX as usize);
};

bitflags! {
    /// What the machine offers.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    #[repr(transparent)]
    pub struct Features: u32 {
        /// Translation of device addresses.
        const IOMMU = 1 << 0;
        /// Virtual CPUs on Intel processors.
        const VMX = 1 << 1;
        /// Virtual CPUs on AMD processors.
        const SVM = 1 << 2;
        /// Extension: typed items can say grant, copy, and last ([`crate::item::ItemFlags`]).
        const ITEM_FORMS = 1 << 3;
        /// Extension: counters of cores can be read ([`crate::operation::Misc::Count`]).
        const COUNTERS = 1 << 4;
        /// Extension: typed items can raise and replace what is mapped ([`crate::item::ItemFlags::RAISE`]).
        const OVERMAPPING = 1 << 5;
        /// Extension: accessed and dirty bits can be read and cleared ([`crate::operation::Misc::Evidence`]).
        const EVIDENCE = 1 << 6;
        /// Extension: a revocation can report accessed and dirty bits ([`crate::operation::RevokeFlags::REPORT`]).
        const REPORT = 1 << 7;
        /// Extension: memory can be revoked without waiting ([`crate::operation::Misc::RevokeLater`]).
        const REVOKE_LATER = 1 << 8;
        /// Extension: a typed item can say how many mappings its receiver's subtree may have
        /// ([`crate::item::ItemFlags::LIMITED`]).
        const LIMITS = 1 << 9;
    }
}

/// The header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Hip {
    /// [`SIGNATURE`].
    pub signature: u32,
    /// Makes all 16-bit words of [`Hip::length`] add up to 0.
    pub checksum: u16,
    /// Bytes in use, header and descriptors.
    pub length: u16,
    /// Byte offset of the first core descriptor.
    pub cpu_offset: u16,
    /// Bytes per core descriptor.
    pub cpu_size: u16,
    /// Byte offset of the first memory descriptor.
    pub memory_offset: u16,
    /// Bytes per memory descriptor.
    pub memory_size: u16,
    /// What the machine offers.
    pub features: Features,
    /// [`crate::API_VERSION`].
    pub api_version: u32,
    /// Selectors per capability space.
    pub selectors: u32,
    /// Event slots of a thread; also the selector of the root domain.
    pub exception_selectors: u32,
    /// Event slots of a virtual CPU.
    pub vcpu_selectors: u32,
    /// Number of interrupt semaphores.
    pub interrupts: u32,
    /// Page sizes: bit n stands for 2^n bytes.
    pub page_sizes: u32,
    /// UTCB sizes: bit n stands for 2^n bytes.
    pub utcb_sizes: u32,
    /// Frequency of the time-stamp counter in kHz.
    pub tsc_khz: u32,
    /// Formerly the frequency of the bus; 0.
    pub bus_khz: u32,
}

const _: () = {
    assert!(size_of::<Hip>() == 0x38);
    assert!(offset_of!(Hip, checksum) == 0x04 && offset_of!(Hip, length) == 0x06);
    assert!(offset_of!(Hip, cpu_offset) == 0x08 && offset_of!(Hip, memory_offset) == 0x0C);
    assert!(offset_of!(Hip, features) == 0x10 && offset_of!(Hip, api_version) == 0x14);
    assert!(offset_of!(Hip, selectors) == 0x18 && offset_of!(Hip, interrupts) == 0x24);
    assert!(offset_of!(Hip, page_sizes) == 0x28 && offset_of!(Hip, tsc_khz) == 0x30);
};

impl Hip {
    /// The header of a machine without any memory descriptor; checksum not yet right.
    #[must_use]
    pub const fn new(features: Features, tsc_khz: u32) -> Self {
        Self {
            signature: SIGNATURE,
            checksum: 0,
            length: MEMORY_OFFSET as u16,
            cpu_offset: CPU_OFFSET as u16,
            cpu_size: CpuDescriptor::SIZE as u16,
            memory_offset: MEMORY_OFFSET as u16,
            memory_size: MemoryDescriptor::SIZE as u16,
            features,
            api_version: crate::API_VERSION,
            selectors: Selector::COUNT as u32,
            exception_selectors: Selector::EXCEPTIONS as u32,
            vcpu_selectors: crate::event::VCPU_EVENTS as u32,
            interrupts: INTERRUPTS,
            page_sizes: PAGE_SIZE as u32,
            utcb_sizes: PAGE_SIZE as u32,
            tsc_khz,
            bus_khz: 0,
        }
    }

    /// The header as it lies in memory.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 0x38] {
        let halves = [self.checksum, self.length, self.cpu_offset, self.cpu_size, self.memory_offset, self.memory_size];
        let words = [
            self.features.bits(),
            self.api_version,
            self.selectors,
            self.exception_selectors,
            self.vcpu_selectors,
            self.interrupts,
            self.page_sizes,
            self.utcb_sizes,
            self.tsc_khz,
            self.bus_khz,
        ];
        let mut bytes = [0; 0x38];
        bytes[..4].copy_from_slice(&self.signature.to_le_bytes());
        for (slot, half) in bytes[4..0x10].chunks_exact_mut(2).zip(halves) {
            slot.copy_from_slice(&half.to_le_bytes());
        }
        for (slot, word) in bytes[0x10..].chunks_exact_mut(4).zip(words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The header from memory; nothing is checked.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 0x38]) -> Self {
        let half = |offset: usize| u16::from_le_bytes([bytes[offset], bytes[offset + 1]]);
        let word = |offset: usize| u32::from(half(offset)) | u32::from(half(offset + 2)) << 16;
        Self {
            signature: word(0x00),
            checksum: half(0x04),
            length: half(0x06),
            cpu_offset: half(0x08),
            cpu_size: half(0x0A),
            memory_offset: half(0x0C),
            memory_size: half(0x0E),
            features: Features::from_bits_retain(word(0x10)),
            api_version: word(0x14),
            selectors: word(0x18),
            exception_selectors: word(0x1C),
            vcpu_selectors: word(0x20),
            interrupts: word(0x24),
            page_sizes: word(0x28),
            utcb_sizes: word(0x2C),
            tsc_khz: word(0x30),
            bus_khz: word(0x34),
        }
    }
}

/// Sum of the 16-bit words of `bytes`, modulo 2^16; a last odd byte counts as a word. A HIP is right when this is 0.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    bytes
        .chunks(2)
        .map(|pair| u16::from(pair[0]) | pair.get(1).map_or(0, |&high| u16::from(high) << 8))
        .fold(0, u16::wrapping_add)
}

/// Why a HIP could not be written or read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HipError {
    /// The area is shorter than the header and the core descriptors, or than the length that the header gives.
    TooShort,
    /// The area has no room for another memory descriptor.
    Full,
    /// The core number has no slot.
    NoSuchCpu,
    /// The area does not start with [`SIGNATURE`].
    Signature,
    /// Offsets or sizes in the header contradict each other.
    Layout,
}

impl fmt::Display for HipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooShort => "the information page is too short",
            Self::Full => "the information page has no room for another memory descriptor",
            Self::NoSuchCpu => "the core number has no slot in the information page",
            Self::Signature => "the information page has no signature",
            Self::Layout => "offsets in the information page contradict each other",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_lie_where_the_classic_interface_puts_them() {
        let bytes = Hip::new(Features::SVM, 2_500_000).to_bytes();
        assert_eq!(&bytes[..4], b"NOVA");
        assert_eq!(bytes[0x06..0x10], [0x38, 0x0C, 0x38, 0x00, 12, 0, 0x38, 0x0C, 24, 0]);
        assert_eq!(bytes[0x10..0x18], [4, 0, 0, 0, 10, 0, 0, 0]);
        assert_eq!(bytes[0x18..0x20], [0, 0, 0, 4, 32, 0, 0, 0]);
        assert_eq!(bytes[0x30..0x34], 2_500_000_u32.to_le_bytes());
    }

    #[test]
    fn an_odd_last_byte_counts() {
        assert_eq!(checksum(&[]), 0);
        assert_eq!(checksum(&[1, 2, 3]), 0x204);
    }

    proptest! {
        #[test]
        fn every_header_reads_back_as_written(bytes in proptest::array::uniform32(any::<u8>()), rest in proptest::array::uniform24(any::<u8>())) {
            let mut header = [0; 0x38];
            header[..32].copy_from_slice(&bytes);
            header[32..].copy_from_slice(&rest);
            prop_assert_eq!(Hip::from_bytes(&header).to_bytes(), header);
        }
    }
}
