//! Purpose: where the kernel's memory pool and the start-up page of the application
//! processors lie, chosen from the boot loader's memory map.
//!
//! The map is a claim: entries may overlap, be empty, wrap around, come in any
//! order and contradict each other. A byte is *usable* only if an available
//! entry covers it and neither an entry of another kind nor a reserved region
//! does. Nothing is stored per entry: the usable runs are found by scanning
//! the map once per boundary, so a map of `n` entries costs O(n²) steps and no
//! memory, and there is no size of map that does not fit.
//!
//! Invariants: of a plan, the pool is usable, 2 MiB-aligned at both ends, not
//! below 1 MiB, and between 4 MiB and 768 MiB long; the trampoline page is
//! usable, not page 0, and ends at or below 640 KiB. The plan depends on the
//! set of entries only, not on their order.
//!
//! Concurrency: a pure function, called once by the boot core.
//!
//! Source: Multiboot2 specification §3.6.8 (memory map, kinds); Intel SDM
//! volume 3 §10.4.4 (start-up IPI: the page must lie below 1 MiB).

use core::fmt;

use crate::region::Region;

const MIB: u64 = 1 << 20;
const PAGE: u64 = 4096;

/// Alignment of both ends of the pool, in bytes: one large page.
pub const POOL_ALIGNMENT: u64 = 2 * MIB;
/// Smallest pool that the kernel starts with, in bytes.
pub const POOL_MINIMUM: u64 = 4 * MIB;
/// Smallest pool that is asked for without an option, in bytes.
pub const POOL_DEFAULT_MINIMUM: u64 = 32 * MIB;
/// Largest pool, in bytes: what fits between kernel image and kernel stack.
pub const POOL_MAXIMUM: u64 = 768 * MIB;
/// Kind of a map entry that is usable memory; every other kind is not.
pub const KIND_AVAILABLE: u32 = 1;

/// The pool never reaches into the first megabyte.
const POOL_FLOOR: u64 = MIB;
/// Devices that address 32 bits reach memory below this only.
const BELOW_4_GIB: u64 = 1 << 32;
/// The trampoline page ends at or below the legacy video memory.
const TRAMPOLINE_CEILING: u64 = 640 * 1024;

/// One entry of the boot memory map, as the boot loader claims it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// First byte.
    pub base: u64,
    /// Number of bytes; 0 is ignored, an end beyond 64 bits is cut off.
    pub length: u64,
    /// Kind; [`KIND_AVAILABLE`] or something that must not be touched.
    pub kind: u32,
}

impl Entry {
    const fn region(&self) -> Region {
        Region::from_length(self.base, self.length)
    }
}

/// What the plan is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Bytes of memory in the machine; see [`usable_bytes`].
    pub ram: u64,
    /// Size of the pool in bytes that the command line asks for, if it does.
    pub size: Option<u64>,
    /// First physical address that the processor cannot reach: 2 to the power
    /// of its physical-address width. Map entries beyond it are ignored.
    pub address_limit: u64,
}

impl Request {
    /// Size of the pool to look for, in bytes: a multiple of
    /// [`POOL_ALIGNMENT`] from [`POOL_MINIMUM`] to [`POOL_MAXIMUM`].
    #[must_use]
    pub fn wanted(&self) -> u64 {
        let asked = self.size.unwrap_or_else(|| (self.ram / 16).max(POOL_DEFAULT_MINIMUM));
        // Clamped first, so that rounding up cannot overflow.
        asked.clamp(POOL_MINIMUM, POOL_MAXIMUM).next_multiple_of(POOL_ALIGNMENT)
    }
}

/// Where pool and trampoline go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The pool.
    pub pool: Region,
    /// Bytes that the pool should have had; see [`Plan::is_short`].
    pub wanted: u64,
    /// Physical address of the page on which application processors start.
    pub trampoline: u64,
}

impl Plan {
    /// Whether the pool is smaller than wanted because no run was long enough.
    #[must_use]
    pub const fn is_short(&self) -> bool {
        self.pool.length() < self.wanted
    }
}

/// Why there is no plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// No usable run is long enough for the smallest pool.
    NoPool {
        /// Bytes of the longest 2 MiB-aligned usable run.
        longest: u64,
    },
    /// No usable page lies between page 0 and 640 KiB.
    NoTrampoline,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPool { longest: 0 } => {
                f.write_str("the memory map has no free 2 MiB block for the kernel's memory pool")
            }
            Self::NoPool { longest } => write!(
                f,
                "the kernel's memory pool needs {} MiB in one piece, the memory map offers {} MiB",
                POOL_MINIMUM / MIB,
                longest / MIB
            ),
            Self::NoTrampoline => {
                f.write_str("the memory map has no free page below 640 KiB on which other cores could start")
            }
        }
    }
}

impl core::error::Error for PlanError {}

/// Chooses pool and trampoline.
///
/// The pool is the highest usable range of the wanted size below 4 GiB; if
/// there is none, the lowest one anywhere; if there is none, the longest one
/// that exists (the highest of those below 4 GiB first).
///
/// # Errors
/// [`PlanError`] if there is no range of [`POOL_MINIMUM`] bytes, or no page
/// for the trampoline.
pub fn choose<E>(entries: E, reserved: &[Region], request: &Request) -> Result<Plan, PlanError>
where
    E: Iterator<Item = Entry> + Clone,
{
    let runs = usable_runs(entries, reserved, request.address_limit);
    let wanted = request.wanted();
    let pool = choose_pool(runs.clone(), wanted)?;
    let trampoline = choose_trampoline(runs).ok_or(PlanError::NoTrampoline)?;
    Ok(Plan { pool, wanted, trampoline })
}

/// Number of bytes below `address_limit` that the map says are available.
pub fn usable_bytes<E>(entries: E, address_limit: u64) -> u64
where
    E: Iterator<Item = Entry> + Clone,
{
    usable_runs(entries, &[], address_limit).map(|run| run.length()).sum()
}

fn choose_pool(runs: impl Iterator<Item = Region> + Clone, wanted: u64) -> Result<Region, PlanError> {
    let blocks = runs.map(|run| {
        let floor = Region { start: run.start.max(POOL_FLOOR), end: run.end };
        floor.aligned_inward(POOL_ALIGNMENT)
    });
    let below = |block: Region| Region { end: block.end.min(BELOW_4_GIB), ..block };

    let low = blocks.clone().map(below).filter(|block| block.length() >= wanted).last();
    if let Some(block) = low {
        return Ok(Region { start: block.end - wanted, end: block.end });
    }
    if let Some(block) = blocks.clone().find(|block| block.length() >= wanted) {
        return Ok(Region::from_length(block.start, wanted));
    }
    // `max_by_key` takes the last of equals, and runs come lowest first.
    let longest = blocks.filter(|block| !block.is_empty()).max_by_key(|block| {
        let low = block.end <= BELOW_4_GIB;
        (block.length(), low)
    });
    match longest {
        Some(block) if block.length() >= POOL_MINIMUM => Ok(block),
        other => Err(PlanError::NoPool { longest: other.map_or(0, |block| block.length()) }),
    }
}

fn choose_trampoline(runs: impl Iterator<Item = Region>) -> Option<u64> {
    let room = Region { start: PAGE, end: TRAMPOLINE_CEILING };
    runs.take_while(|run| run.start < room.end)
        .map(|run| run.intersection(&room).aligned_inward(PAGE))
        .filter(|pages| !pages.is_empty())
        .last()
        .map(|pages| pages.end - PAGE)
}

/// The usable runs below `limit`, lowest first, each as long as possible.
pub fn usable_runs<E>(entries: E, reserved: &[Region], limit: u64) -> UsableRuns<'_, E>
where
    E: Iterator<Item = Entry> + Clone,
{
    UsableRuns { entries, reserved, cursor: 0, limit }
}

/// Iterator over the usable runs of a map; see [`usable_runs`].
#[derive(Clone, Debug)]
pub struct UsableRuns<'a, E> {
    entries: E,
    reserved: &'a [Region],
    cursor: u64,
    limit: u64,
}

impl<E: Iterator<Item = Entry> + Clone> UsableRuns<'_, E> {
    fn available(&self) -> impl Iterator<Item = Region> {
        let entries = self.entries.clone().filter(|entry| entry.kind == KIND_AVAILABLE);
        entries.map(|entry| entry.region()).filter(|region| !region.is_empty())
    }

    fn blocked(&self) -> impl Iterator<Item = Region> {
        let entries = self.entries.clone().filter(|entry| entry.kind != KIND_AVAILABLE);
        let entries = entries.map(|entry| entry.region());
        entries.chain(self.reserved.iter().copied()).filter(|region| !region.is_empty())
    }

    /// The first usable byte at or above the cursor. Each round moves on to a
    /// boundary of the map, of which there are finitely many.
    fn next_start(&self) -> Option<u64> {
        let mut at = self.cursor;
        while at < self.limit {
            let blocked = self.blocked().filter(|region| region.contains(at)).map(|region| region.end).max();
            if let Some(end) = blocked {
                at = end;
            } else if self.available().any(|region| region.contains(at)) {
                return Some(at);
            } else {
                at = self.available().map(|region| region.start).filter(|&start| start > at).min()?;
            }
        }
        None
    }

    /// The end of the run that starts at the usable byte `start`.
    fn end_of(&self, start: u64) -> u64 {
        let barrier = self.blocked().map(|region| region.start).filter(|&edge| edge > start).min();
        let barrier = barrier.unwrap_or(u64::MAX).min(self.limit);
        let mut end = start;
        // Joins available entries that overlap or touch, up to the barrier.
        while end < barrier {
            let joined = self.available().filter(|region| region.start <= end).map(|region| region.end).max();
            match joined {
                Some(further) if further > end => end = further,
                _ => break,
            }
        }
        end.min(barrier)
    }
}

impl<E: Iterator<Item = Entry> + Clone> Iterator for UsableRuns<'_, E> {
    type Item = Region;

    fn next(&mut self) -> Option<Region> {
        let start = self.next_start()?;
        let end = self.end_of(start);
        self.cursor = end;
        Some(Region { start, end })
    }
}

#[cfg(test)]
mod tests;
