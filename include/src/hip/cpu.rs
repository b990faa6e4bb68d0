//! Core descriptors of the information page.
//!
//! Invariants: twelve bytes; the index in the array is the core's number.
//! Concurrency: plain values.
//! Source: classic interface, "CPU descriptor".

use core::mem::offset_of;

use bitflags::bitflags;

bitflags! {
    /// What a core is.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    #[repr(transparent)]
    pub struct CpuFlags: u8 {
        /// The core runs.
        const ENABLED = 1 << 0;
        /// Made for speed.
        const PERFORMANCE = 1 << 1;
        /// Made for low power.
        const EFFICIENT = 1 << 2;
    }
}

/// One core.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct CpuDescriptor {
    /// What it is.
    pub flags: CpuFlags,
    /// Number within its physical core.
    pub thread: u8,
    /// Number of its physical core within the package.
    pub core: u8,
    /// Number of its package.
    pub package: u8,
    /// Its number in the ACPI tables, low eight bits.
    pub acpi_id: u8,
    /// Family, from CPUID.
    pub family: u8,
    /// Model, from CPUID.
    pub model: u8,
    /// Bits 3:0 stepping, bits 6:4 platform.
    pub stepping_platform: u8,
    /// Level of the microcode patch.
    pub patch: u32,
}

const _: () = assert!(size_of::<CpuDescriptor>() == 12 && offset_of!(CpuDescriptor, patch) == 8);

impl CpuDescriptor {
    /// Bytes of a descriptor.
    pub const SIZE: usize = size_of::<Self>();

    /// The descriptor as it lies in memory.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; Self::SIZE] {
        let patch = self.patch.to_le_bytes();
        [
            self.flags.bits(),
            self.thread,
            self.core,
            self.package,
            self.acpi_id,
            self.family,
            self.model,
            self.stepping_platform,
            patch[0],
            patch[1],
            patch[2],
            patch[3],
        ]
    }

    /// The descriptor from memory.
    #[must_use]
    pub const fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        Self {
            flags: CpuFlags::from_bits_retain(bytes[0]),
            thread: bytes[1],
            core: bytes[2],
            package: bytes[3],
            acpi_id: bytes[4],
            family: bytes[5],
            model: bytes[6],
            stepping_platform: bytes[7],
            patch: u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]),
        }
    }

    /// Whether the core runs.
    #[must_use]
    pub const fn is_enabled(self) -> bool {
        self.flags.contains(CpuFlags::ENABLED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_descriptor_reads_back_as_written(low: [u8; 8], patch: u32) {
            let mut bytes = [0; CpuDescriptor::SIZE];
            bytes[..8].copy_from_slice(&low);
            bytes[8..].copy_from_slice(&patch.to_le_bytes());
            let descriptor = CpuDescriptor::from_bytes(&bytes);
            prop_assert_eq!(descriptor.to_bytes(), bytes);
            prop_assert_eq!(descriptor.patch, patch);
            prop_assert_eq!(descriptor.is_enabled(), low[0] & 1 != 0);
        }
    }
}
