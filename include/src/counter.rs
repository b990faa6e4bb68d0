//! What each core counts of its own work.
//!
//! Invariants: numbers are stable; a counter never decreases.
//! Concurrency: plain values.
//! Source: an extension of ours, `docs/src/shootdown.md`.

/// A counter of a core. All start at 0 when the core does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Counter {
    /// Interrupts sent to make other cores forget translations.
    InterruptsSent = 0,
    /// Interrupts taken from other cores, for whatever reason.
    InterruptsTaken = 1,
    /// Times that all translations that are not global were forgotten because of a revocation.
    FullFlushes = 2,
    /// Translations that were forgotten one by one.
    PageFlushes = 3,
    /// Top-level tables loaded: switches of domain, and full flushes.
    RootLoads = 4,
    /// Switches to a domain from which something was taken since the core last ran it, or whose tag another has got.
    LazyFlushes = 5,
    /// Page faults that brought an entry from a domain's tables to the core's.
    ViewFills = 6,
    /// Interrupts taken from other cores when there was nothing to do any more: it had been done inside the kernel.
    InterruptsFalse = 7,
    /// Times that a scheduling context became ready that is more urgent than the one that runs.
    Preemptions = 8,
    /// Times that it waited for another core to be done with a part of the mapping tree.
    RegionWaits = 9,
    /// Model-specific registers written by instructions of the kernel; what the processor writes itself when a guest is
    /// entered or left does not count.
    MsrWrites = 10,
    /// Times that it waited for another core to be done with the frames of kernel memory, or with a domain's objects there.
    LockWaits = 11,
    /// Tables with entries of domains that the core has taken back because it had no more of them.
    TablesReclaimed = 12,
    /// Calls and events, exits of virtual CPUs among them, that a portal's context began to serve.
    Calls = 13,
}

impl Counter {
    /// All of them, by number.
    pub const ALL: [Self; Self::COUNT] = [
        Self::InterruptsSent,
        Self::InterruptsTaken,
        Self::FullFlushes,
        Self::PageFlushes,
        Self::RootLoads,
        Self::LazyFlushes,
        Self::ViewFills,
        Self::InterruptsFalse,
        Self::Preemptions,
        Self::RegionWaits,
        Self::MsrWrites,
        Self::LockWaits,
        Self::TablesReclaimed,
        Self::Calls,
    ];
    /// How many there are.
    pub const COUNT: usize = 14;
    /// The first of as many more numbers as there are events of a virtual CPU: how often virtual CPUs left for that reason.
    pub const EXITS: u64 = 0x100;

    /// The number of how often virtual CPUs left for the reason that has `event`: what a monitor is told, and what the
    /// kernel handles by itself, interrupts of the host for example.
    #[must_use]
    pub const fn exits(event: u8) -> u64 {
        Self::EXITS + event as u64
    }

    /// Its name in results.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InterruptsSent => "ipis_sent",
            Self::InterruptsTaken => "ipis_taken",
            Self::FullFlushes => "full_flushes",
            Self::PageFlushes => "page_flushes",
            Self::RootLoads => "root_loads",
            Self::LazyFlushes => "lazy_flushes",
            Self::ViewFills => "sync_faults",
            Self::InterruptsFalse => "ipis_false",
            Self::Preemptions => "preemptions",
            Self::RegionWaits => "region_waits",
            Self::MsrWrites => "msr_writes",
            Self::LockWaits => "lock_waits",
            Self::TablesReclaimed => "tables_reclaimed",
            Self::Calls => "calls",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_in_the_order_of_their_numbers() {
        assert!((0..).zip(Counter::ALL).all(|(number, counter)| counter as u8 == number));
        assert!((Counter::COUNT as u64) < Counter::EXITS);
    }
}
