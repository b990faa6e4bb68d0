//! From the guest's virtual addresses to physical ones, by its own tables.
//!
//! Invariants: at most five steps; tables are read once, word by word, since the guest may change them meanwhile.
//! Concurrency: reads memory that the guest writes.
//! Source: AMD64 manual volume 2, chapter 5 "Page Translation and Protection".

use vm_memory::Memory;

/// What decides about paging.
#[derive(Clone, Copy, Debug)]
pub struct Paging {
    /// Control register 0.
    pub cr0: u64,
    /// Control register 3.
    pub cr3: u64,
    /// Control register 4.
    pub cr4: u64,
    /// Extended features.
    pub efer: u64,
}

const ON: u64 = 1 << 31;
const PHYSICAL_EXTENSION: u64 = 1 << 5;
const LARGE_PAGES: u64 = 1 << 4;
const FIVE_LEVELS: u64 = 1 << 12;
const LONG_ACTIVE: u64 = 1 << 10;
const PRESENT: u64 = 1;
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000F_FFFF_FFFF_F000;

impl Paging {
    /// The physical address of `address`; `None` if it is not mapped, or its tables are not in memory.
    #[must_use]
    pub fn translate(&self, memory: &impl Memory, address: u64) -> Option<u64> {
        if self.cr0 & ON == 0 {
            return Some(address & 0xFFFF_FFFF);
        }
        if self.cr4 & PHYSICAL_EXTENSION == 0 {
            return self.legacy(memory, address & 0xFFFF_FFFF);
        }
        let (mut level, mut table) = if self.efer & LONG_ACTIVE == 0 {
            (2, self.cr3 & 0xFFFF_FFE0)
        } else {
            (if self.cr4 & FIVE_LEVELS != 0 { 4 } else { 3 }, self.cr3 & ADDRESS)
        };
        let long = self.efer & LONG_ACTIVE != 0;
        loop {
            let shift = 12 + 9 * level;
            let bits = if !long && level == 2 { 3 } else { 0x1FF };
            let entry = memory.read_u64(table + 8 * (address >> shift & bits))?;
            if entry & PRESENT == 0 {
                return None;
            }
            let leaf = level == 0 || entry & LARGE != 0 && (level == 1 || level == 2 && long);
            if leaf {
                let inside = (1 << shift) - 1;
                return Some(entry & ADDRESS & !inside | address & inside);
            }
            table = entry & ADDRESS;
            level -= 1;
        }
    }

    fn legacy(&self, memory: &impl Memory, address: u64) -> Option<u64> {
        let entry = u64::from(memory.read_u32((self.cr3 & 0xFFFF_F000) + 4 * (address >> 22))?);
        if entry & PRESENT == 0 {
            return None;
        }
        if entry & LARGE != 0 && self.cr4 & LARGE_PAGES != 0 {
            return Some(entry & 0xFFC0_0000 | (entry >> 13 & 0xFF) << 32 | address & 0x3F_FFFF);
        }
        let entry = u64::from(memory.read_u32((entry & 0xFFFF_F000) + 4 * (address >> 12 & 0x3FF))?);
        (entry & PRESENT != 0).then_some(entry & 0xFFFF_F000 | address & 0xFFF)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use vm_memory::TestMemory;

    const LONG: Paging = Paging { cr0: ON, cr3: 0x1000, cr4: PHYSICAL_EXTENSION, efer: LONG_ACTIVE };

    #[test]
    fn long_mode_walks_four_levels_and_stops_at_large_pages() {
        let memory = TestMemory::new(0x6000);
        for (at, entry) in
            [(0x1000, 0x2003), (0x2000, 0x3003_u64), (0x3000, 0x4003), (0x3008, 0x40_0083), (0x4008, 0x5003)]
        {
            memory.write(at, &entry.to_le_bytes());
        }
        assert_eq!(LONG.translate(&memory, 0x1234), Some(0x5234));
        assert_eq!(LONG.translate(&memory, 0x20_1234), Some(0x40_1234));
        assert_eq!(LONG.translate(&memory, 0), None);
        assert_eq!(Paging { cr0: 0, ..LONG }.translate(&memory, 0x1234), Some(0x1234));
    }

    #[test]
    fn thirty_two_bit_tables_work() {
        let memory = TestMemory::new(0x6000);
        for (at, entry) in [(0x1000, 0x2003_u32), (0x2004, 0x5003), (0x1004, 0x0080_0083)] {
            memory.write(at, &entry.to_le_bytes());
        }
        let paging = Paging { cr4: LARGE_PAGES, efer: 0, ..LONG };
        assert_eq!(paging.translate(&memory, 0x1010), Some(0x5010));
        assert_eq!(paging.translate(&memory, 0x40_0010), Some(0x80_0010));
    }

    proptest! {
        #[test]
        fn no_tables_make_it_panic(entries in proptest::collection::vec(any::<u64>(), 64), addresses: [u64; 8], cr3 in 0..0x400_u64, cr4: u64, efer: u64) {
            let memory = TestMemory::new(0x1000);
            for (index, entry) in entries.iter().enumerate() {
                memory.write(index as u64 * 8, &(entry & 0x803F_FFFF).to_le_bytes());
            }
            for address in addresses {
                let _ = Paging { cr0: ON, cr3, cr4, efer }.translate(&memory, address);
                let _ = Paging { cr0: ON, cr3, cr4, efer }.translate(&memory, address & 0x1FF);
            }
        }
    }
}
