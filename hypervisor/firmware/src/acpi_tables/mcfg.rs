//! PCI configuration space in memory.
//!
//! Purpose: which buses have their registers where.
//! Invariants: every segment that is reported lies inside the physical address space.
//! Concurrency: none; see the crate.
//! Source: PCI firmware specification 3.3, §4.1.2.

use super::Table;
use crate::Problem;
use crate::layout::read;
use crate::physical::{PHYSICAL_END, PhysicalMemory};
use acpi::mcfg::McfgEntry;

/// Bytes before the entries.
const ENTRIES: usize = 44;

/// A range of PCI buses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Physical address of bus 0, whether or not `first_bus` is 0; 1 MiB a bus.
    pub base: u64,
    /// PCI segment group.
    pub segment: u16,
    /// First bus.
    pub first_bus: u8,
    /// Last bus; not below the first.
    pub last_bus: u8,
}

/// A checked MCFG, mapped as long as this value lives.
pub struct Mcfg<'m, M: PhysicalMemory>(Table<'m, M>);

impl<'m, M: PhysicalMemory> Mcfg<'m, M> {
    pub(super) fn new(table: Table<'m, M>) -> Result<Self, Problem> {
        let mcfg = Self(table);
        for (index, Segment { base, first_bus, last_bus, .. }) in mcfg.segments().enumerate() {
            let end = base.checked_add((u64::from(last_bus) + 1) << 20);
            ensure!(
                first_bus <= last_bus && end.is_some_and(|end| end <= PHYSICAL_END),
                "MCFG segment {index} at {base:#x} with buses {first_bus} to {last_bus} is not a possible range"
            );
        }
        Ok(mcfg)
    }

    /// The segments in the order given.
    pub fn segments(&self) -> impl Iterator<Item = Segment> + '_ {
        let entries = self.0.bytes().get(ENTRIES..).unwrap_or(&[]);
        entries.chunks_exact(size_of::<McfgEntry>()).filter_map(read::<McfgEntry>).map(|entry| Segment {
            base: entry.base_address,
            segment: entry.pci_segment_group,
            first_bus: entry.bus_number_start,
            last_bus: entry.bus_number_end,
        })
    }
}
