//! Reads an information page: what the root program does.
//!
//! Invariants: reading goes by the offsets, sizes and the length in the header, so a page with another number of core slots
//! reads as well; [`HipReader::new`] checks them once, nothing afterwards can reach outside the area.
//! Concurrency: the page does not change while it is borrowed.
//! Source: classic interface, "HIP".

use super::{CpuDescriptor, Hip, HipError, MemoryDescriptor, SIGNATURE, checksum};

/// A checked information page.
#[derive(Clone, Copy, Debug)]
pub struct HipReader<'a> {
    used: &'a [u8],
    header: Hip,
}

impl<'a> HipReader<'a> {
    /// Checks signature, length and offsets of the page at the start of `area`. Neither the version nor the checksum is
    /// checked here: see [`Hip::api_version`] and [`HipReader::checksum_is_right`].
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(area: &'a [u8]) -> Result<Self, HipError> {
        let bytes = area.first_chunk().ok_or(HipError::TooShort)?;
        let header = Hip::from_bytes(bytes);
        if header.signature != SIGNATURE {
            return Err(HipError::Signature);
        }
        let used = area.get(..header.length.into()).ok_or(HipError::TooShort)?;
        let in_order = usize::from(header.cpu_offset) >= bytes.len()
            && header.memory_offset >= header.cpu_offset
            && header.length >= header.memory_offset;
        let large_enough = usize::from(header.cpu_size) >= CpuDescriptor::SIZE
            && usize::from(header.memory_size) >= MemoryDescriptor::SIZE;
        if in_order && large_enough { Ok(Self { used, header }) } else { Err(HipError::Layout) }
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &Hip {
        &self.header
    }

    /// Whether all 16-bit words add up to 0. Other kernels of this interface get it wrong.
    #[must_use]
    pub fn checksum_is_right(&self) -> bool {
        checksum(self.used) == 0
    }

    /// Number of core slots: also the selector of the first interrupt in the hypervisor's space.
    #[must_use]
    pub const fn cpu_slots(&self) -> usize {
        ((self.header.memory_offset - self.header.cpu_offset) / self.header.cpu_size) as usize
    }

    /// All core slots with their numbers, enabled or not.
    pub fn cpus(&self) -> impl Iterator<Item = (usize, CpuDescriptor)> + use<'a> {
        let slots = &self.used[self.header.cpu_offset.into()..self.header.memory_offset.into()];
        slots
            .chunks_exact(self.header.cpu_size.into())
            .filter_map(|slot| slot.first_chunk().map(CpuDescriptor::from_bytes))
            .enumerate()
    }

    /// Number of cores that run.
    #[must_use]
    pub fn enabled_cpus(&self) -> usize {
        self.cpus().filter(|(_, cpu)| cpu.is_enabled()).count()
    }

    /// All memory descriptors, in their order.
    pub fn memory(&self) -> impl Iterator<Item = MemoryDescriptor> + Clone + use<'a> {
        self.used[self.header.memory_offset.into()..]
            .chunks_exact(self.header.memory_size.into())
            .filter_map(|slot| slot.first_chunk().map(MemoryDescriptor::from_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Features, HIP_SIZE, HipWriter, MemoryKind};
    use super::*;
    use proptest::prelude::*;

    fn page() -> Vec<u8> {
        let mut area = vec![0; HIP_SIZE];
        let mut writer = HipWriter::new(&mut area, Features::VMX, 1_000_000).unwrap();
        writer.push_memory(MemoryDescriptor::new(0, 0x9F000, MemoryKind::AVAILABLE)).unwrap();
        let _ = writer.finish();
        area
    }

    #[test]
    fn each_defect_has_its_error() {
        let with = |offset: usize, value: u8| {
            let mut area = page();
            area[offset] = value;
            HipReader::new(&area).err()
        };
        assert_eq!(HipReader::new(&page()).err(), None);
        assert_eq!(with(0, 0), Some(HipError::Signature));
        assert_eq!(with(7, 0xFF), Some(HipError::TooShort), "length beyond the area");
        assert_eq!(with(7, 0x01), Some(HipError::Layout), "length before the memory descriptors");
        assert_eq!(with(8, 0), Some(HipError::Layout), "core descriptors over the header");
        assert_eq!(with(0x0A, 0), Some(HipError::Layout), "core descriptors of no size");
        assert_eq!(with(0x0E, 23), Some(HipError::Layout), "memory descriptors too small");
        assert_eq!(HipReader::new(&page()[..0x37]).err(), Some(HipError::TooShort));
    }

    #[test]
    fn the_form_with_64_cores_reads_as_well() {
        let mut area = page();
        let memory: [u8; 24] = *area[0xC38..].first_chunk().unwrap();
        let mut header = Hip::from_bytes(area.first_chunk().unwrap());
        header.memory_offset = 0x338;
        header.length = 0x338 + 24;
        area[..0x38].copy_from_slice(&header.to_bytes());
        area[0x338..0x350].copy_from_slice(&memory);
        let reader = HipReader::new(&area[..0x1000]).unwrap();
        assert_eq!(reader.cpu_slots(), 64);
        assert_eq!(reader.cpus().count(), 64);
        assert_eq!(reader.memory().collect::<Vec<_>>(), [MemoryDescriptor::new(0, 0x9F000, MemoryKind::AVAILABLE)]);
    }

    proptest! {
        #[test]
        fn no_header_makes_the_reader_panic(header in proptest::collection::vec(any::<u8>(), 0..0x38), size in 0..0x5000_usize) {
            let mut area = page();
            area.resize(size, 0x11);
            for (byte, value) in area.iter_mut().skip(4).zip(header) {
                *byte = value;
            }
            if let Ok(reader) = HipReader::new(&area) {
                let _ = reader.checksum_is_right();
                prop_assert!(reader.cpus().count() >= reader.enabled_cpus());
                prop_assert!(reader.memory().count() * MemoryDescriptor::SIZE <= size);
                prop_assert_eq!(reader.cpus().count(), reader.cpu_slots());
            }
        }
    }
}
