//! PCI configuration space in memory.
//!
//! Purpose: which buses have their registers where.
//! Invariants: every segment that is reported lies inside the physical address space.
//! Concurrency: none; see the crate.
//! Source: PCI firmware specification 3.3, §4.1.2.

use crate::Problem;
use crate::layout::read;
use crate::physical::PHYSICAL_END;
use acpi::mcfg::McfgEntry;
use arrayvec::ArrayVec;

/// Bytes before the entries.
const ENTRIES: usize = 44;

/// A range of PCI buses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// PCI segment group.
    pub segment: u16,
    /// Physical address of the registers of the first bus.
    pub start: u64,
    /// Physical address after those of the last bus; 1 MiB a bus.
    pub end: u64,
}

/// The first segments of the table, in the order given.
pub type Segments = ArrayVec<Segment, 16>;

/// Reads the table.
pub fn segments(table: &[u8]) -> Result<Segments, Problem> {
    let entries = table.get(ENTRIES..).unwrap_or(&[]).chunks_exact(size_of::<McfgEntry>());
    let mut segments = Segments::new();
    for McfgEntry { base_address, pci_segment_group, bus_number_start, bus_number_end, .. } in
        entries.filter_map(read::<McfgEntry>).take(segments.capacity())
    {
        let bus = |number: u64| base_address.saturating_add(number << 20);
        let (start, end) = (bus(bus_number_start.into()), bus(u64::from(bus_number_end) + 1));
        ensure!(
            start < end && end <= PHYSICAL_END,
            "MCFG segment {pci_segment_group} at {base_address:#x} with buses {bus_number_start} to {bus_number_end} \
             is not a possible range"
        );
        segments.push(Segment { segment: pci_segment_group, start, end });
    }
    Ok(segments)
}
