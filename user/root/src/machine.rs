//! The machine as the information page describes it.
//!
//! Invariants: available ranges of the firmware overlap with modules, the kernel and each other; the free ranges made
//! from them are disjoint and hold nothing that is in use.
//! Concurrency: plain values.
//! Source: classic interface, "HIP".

use core::fmt;

use rt::abi::hip::{HipReader, MemoryDescriptor, MemoryKind};

/// What the root partition has to know about the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Machine {
    /// Version of the kernel's interface.
    pub api_version: u32,
    /// Cores that run.
    pub cores: usize,
    /// Free memory in bytes.
    pub available: u64,
    /// Frequency of the time-stamp counter in kHz.
    pub tsc_khz: u32,
}

impl Machine {
    /// Sums up the information page.
    #[must_use]
    pub fn new(hip: &HipReader<'_>) -> Self {
        Self {
            api_version: hip.header().api_version,
            cores: hip.enabled_cpus(),
            available: free_ranges(hip.memory()).map(|range| range.end - range.start).sum(),
            tsc_khz: hip.header().tsc_khz,
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Vela, API version {}, {} core{}, {} MiB available, TSC {} MHz",
            self.api_version,
            self.cores,
            if self.cores == 1 { "" } else { "s" },
            self.available >> 20,
            self.tsc_khz / 1000
        )
    }
}

/// The free parts of the available memory: disjoint ranges of physical addresses in bytes, in the order of the
/// descriptors. Takes time quadratic in their number.
pub fn free_ranges<I>(memory: I) -> impl Iterator<Item = core::ops::Range<u64>>
where
    I: Iterator<Item = MemoryDescriptor> + Clone,
{
    memory.clone().enumerate().filter(|(_, range)| range.kind == MemoryKind::AVAILABLE).flat_map(
        move |(index, range)| {
            // What an earlier descriptor offered already counts as taken here.
            let taken = memory
                .clone()
                .enumerate()
                .filter(move |(other, taken)| {
                    taken.size > 0
                        && (taken.kind.is_occupied() || (taken.kind == MemoryKind::AVAILABLE && *other < index))
                })
                .map(|(_, taken)| taken);
            let mut position = range.address;
            core::iter::from_fn(move || {
                // Beyond everything that covers the position …
                while let Some(cover) = taken.clone().find(|t| t.address <= position && position < t.end()) {
                    position = cover.end();
                }
                if position >= range.end() {
                    return None;
                }
                // … up to the next thing taken.
                let next = taken.clone().map(|t| t.address).filter(|&start| start > position).min();
                let start = position;
                position = next.unwrap_or(u64::MAX).min(range.end());
                Some(start..position)
            })
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn free(memory: &[(u64, u64, i32)]) -> Vec<(u64, u64)> {
        let memory = memory.iter().map(|&(address, size, kind)| MemoryDescriptor::new(address, size, MemoryKind(kind)));
        free_ranges(memory).map(|range| (range.start, range.end)).collect()
    }

    #[test]
    fn modules_and_the_kernel_are_not_free() {
        let memory = [(0, 0x9F, 1), (0x100, 0xF00, 1), (0x200, 0x100, -2), (0x280, 0x180, -1), (0xF80, 0x100, -2)];
        assert_eq!(free(&memory), [(0, 0x9F), (0x100, 0x200), (0x400, 0xF80)]);
    }

    #[test]
    fn memory_described_twice_is_free_once() {
        assert_eq!(free(&[(0x100, 0x100, 1), (0x180, 0x100, 1), (0x100, 0x100, 1)]), [(0x100, 0x200), (0x200, 0x280)]);
    }

    #[test]
    fn reserved_memory_wins_over_available() {
        assert_eq!(free(&[(0, 0x100, 1), (0x40, 0x10, 2)]), [(0, 0x40), (0x50, 0x100)]);
    }

    #[test]
    fn addresses_of_tables_and_the_frame_buffers_format_take_nothing() {
        assert_eq!(free(&[(0, 0x100, 1), (0x40, 0, -4), (0, u64::MAX, -5), (0x50, 0, -1)]), [(0, 0x100)]);
    }

    #[test]
    fn the_summary_names_what_matters() {
        let machine = Machine { api_version: 10, cores: 4, available: 965 << 20, tsc_khz: 2_494_140 };
        assert_eq!(machine.to_string(), "Vela, API version 10, 4 cores, 965 MiB available, TSC 2494 MHz");
    }

    proptest! {
        #[test]
        fn a_byte_is_in_one_free_range_exactly_if_it_is_available_and_not_taken(
            memory in proptest::collection::vec((0..60_u64, 0..20_u64, prop::sample::select(vec![1, 1, 1, 2, -1, -2, -4])), 0..8),
        ) {
            let ranges = free(&memory);
            for byte in 0..90 {
                let covered = |wanted: &dyn Fn(MemoryKind) -> bool| {
                    memory.iter().any(|&(start, size, kind)| wanted(MemoryKind(kind)) && start <= byte && byte < start + size)
                };
                let expected = covered(&|kind| kind == MemoryKind::AVAILABLE) && !covered(&|kind| kind.is_occupied());
                let found = ranges.iter().filter(|(start, end)| (*start..*end).contains(&byte)).count();
                prop_assert_eq!(found, usize::from(expected), "byte {}", byte);
            }
        }

        #[test]
        fn no_descriptors_make_the_search_hang(memory in proptest::collection::vec((any::<u64>(), any::<u64>(), -7..4_i32), 0..8)) {
            prop_assert!(free(&memory).iter().all(|(start, end)| start < end));
        }
    }
}
