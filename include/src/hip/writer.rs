//! Writes an information page: what the kernel does once at boot.
//!
//! Invariants: [`HipWriter::finish`] leaves a page whose checksum is right, whatever was in the area before.
//! Concurrency: owns the area exclusively.
//! Source: classic interface, "HIP".

use super::{
    CPU_OFFSET, CPU_SLOTS, CpuDescriptor, Features, HIP_SIZE, Hip, HipError, MEMORY_OFFSET, MemoryDescriptor, checksum,
};

/// An information page in the making.
#[derive(Debug)]
#[must_use = "the page is right only after `finish`"]
pub struct HipWriter<'a> {
    area: &'a mut [u8],
    header: Hip,
    used: usize,
}

impl<'a> HipWriter<'a> {
    /// Starts a page in `area`, which becomes all zeros; of an area longer than [`HIP_SIZE`] the rest stays unused.
    ///
    /// # Errors
    /// [`HipError::TooShort`] if not even the header and the core descriptors fit.
    pub fn new(area: &'a mut [u8], features: Features, tsc_khz: u32) -> Result<Self, HipError> {
        if area.len() < MEMORY_OFFSET {
            return Err(HipError::TooShort);
        }
        area.fill(0);
        Ok(Self { area, header: Hip::new(features, tsc_khz), used: MEMORY_OFFSET })
    }

    /// Describes the core `number`.
    ///
    /// # Errors
    /// [`HipError::NoSuchCpu`] from [`CPU_SLOTS`] on.
    pub fn set_cpu(&mut self, number: usize, cpu: CpuDescriptor) -> Result<(), HipError> {
        if number >= CPU_SLOTS {
            return Err(HipError::NoSuchCpu);
        }
        let offset = CPU_OFFSET + number * CpuDescriptor::SIZE;
        self.area[offset..offset + CpuDescriptor::SIZE].copy_from_slice(&cpu.to_bytes());
        Ok(())
    }

    /// Appends a memory descriptor.
    ///
    /// # Errors
    /// [`HipError::Full`] if there is no room.
    pub fn push_memory(&mut self, memory: MemoryDescriptor) -> Result<(), HipError> {
        let end = self.used + MemoryDescriptor::SIZE;
        if end > HIP_SIZE {
            return Err(HipError::Full);
        }
        self.area.get_mut(self.used..end).ok_or(HipError::Full)?.copy_from_slice(&memory.to_bytes());
        self.used = end;
        Ok(())
    }

    /// Writes header, length and checksum; returns the length in bytes.
    pub fn finish(mut self) -> u16 {
        self.header.length = self.used as u16;
        self.area[..CPU_OFFSET].copy_from_slice(&self.header.to_bytes());
        self.header.checksum = checksum(&self.area[..self.used]).wrapping_neg();
        self.area[..CPU_OFFSET].copy_from_slice(&self.header.to_bytes());
        self.header.length
    }
}

#[cfg(test)]
mod tests {
    use super::super::{HipReader, MAX_MEMORY_DESCRIPTORS, MemoryKind};
    use super::*;
    use crate::hip::CpuFlags;
    use proptest::prelude::*;

    #[test]
    fn an_area_without_room_for_the_cores_is_refused() {
        let mut area = [0; MEMORY_OFFSET - 1];
        assert_eq!(HipWriter::new(&mut area, Features::empty(), 0).err(), Some(HipError::TooShort));
    }

    #[test]
    fn a_full_area_refuses_more_and_stays_right() {
        let mut area = vec![0xAA; HIP_SIZE + 100];
        let mut writer = HipWriter::new(&mut area, Features::empty(), 1).unwrap();
        let memory = MemoryDescriptor::new(0x1000, 0x1000, MemoryKind::AVAILABLE);
        for _ in 0..MAX_MEMORY_DESCRIPTORS {
            assert_eq!(writer.push_memory(memory), Ok(()));
        }
        assert_eq!(writer.push_memory(memory), Err(HipError::Full));
        assert_eq!(writer.set_cpu(CPU_SLOTS, CpuDescriptor::default()), Err(HipError::NoSuchCpu));
        let _ = writer.finish();
        let reader = HipReader::new(&area).unwrap();
        assert!(reader.checksum_is_right());
        assert_eq!(reader.memory().count(), MAX_MEMORY_DESCRIPTORS);
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            features in 0..8_u32,
            khz: u32,
            cores in proptest::collection::btree_set(0..CPU_SLOTS, 0..8),
            memory in proptest::collection::vec(any::<(u64, u64, i32, u32)>(), 0..20),
            dirt: u8,
        ) {
            let mut area = vec![dirt; HIP_SIZE];
            let mut writer = HipWriter::new(&mut area, Features::from_bits_retain(features), khz).unwrap();
            for &core in &cores {
                let cpu = CpuDescriptor { flags: CpuFlags::ENABLED, acpi_id: core as u8, ..CpuDescriptor::default() };
                prop_assert!(writer.set_cpu(core, cpu).is_ok());
            }
            let memory: Vec<_> = memory
                .into_iter()
                .map(|(address, size, kind, extra)| MemoryDescriptor { address, size, kind: MemoryKind(kind), extra })
                .collect();
            for &descriptor in &memory {
                prop_assert!(writer.push_memory(descriptor).is_ok());
            }
            let length = writer.finish();
            prop_assert_eq!(checksum(&area[..length.into()]), 0);

            let reader = HipReader::new(&area).unwrap();
            prop_assert!(reader.checksum_is_right());
            prop_assert_eq!(reader.header().tsc_khz, khz);
            prop_assert_eq!(reader.header().features.bits(), features);
            let enabled: Vec<_> = reader.cpus().filter(|(_, cpu)| cpu.is_enabled()).map(|(number, _)| number).collect();
            prop_assert_eq!(enabled, cores.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(reader.memory().collect::<Vec<_>>(), memory);
        }
    }
}
