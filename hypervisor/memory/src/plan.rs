//! Purpose: where the kernel's memory pool and the start-up page of the application
//! processors lie, chosen from the boot loader's memory map.
//!
//! The map is a claim: entries may overlap, be empty, wrap around, come in any
//! order and contradict each other. A byte is *usable* only if a usable entry
//! covers it and neither an entry of another kind nor a reserved region does.
//! Nothing is stored per entry: the usable runs are found by scanning the map
//! twice per boundary, so a map of `n` entries costs O(n²) steps and no
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

/// The pool never reaches into the first megabyte.
const POOL_FLOOR: u64 = MIB;
/// Devices that address 32 bits reach memory below this only.
const BELOW_4_GIB: u64 = 1 << 32;
/// The trampoline page ends at or below the legacy video memory.
const TRAMPOLINE_CEILING: u64 = 640 * 1024;

/// One entry of the boot memory map, as the boot loader claims it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The bytes; empty entries are ignored.
    pub region: Region,
    /// Whether it is memory to be used; all else must not be touched.
    pub usable: bool,
}

/// Where pool and trampoline go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The pool.
    pub pool: Region,
    /// Bytes that the pool should have had; it has fewer if no run was long enough.
    pub wanted: u64,
    /// Physical address of the page on which application processors start.
    pub trampoline: u64,
}

/// No usable run is long enough for the smallest pool.
pub const NO_POOL: &str = "the memory map has no free 4 MiB in one piece for the kernel's memory pool";
/// No usable page lies between page 0 and 640 KiB.
pub const NO_TRAMPOLINE: &str = "the memory map has no free page below 640 KiB on which other cores could start";

/// Chooses pool and trampoline.
///
/// `size` is the size of the pool in bytes that the command line asks for, if
/// it does; `limit` the first physical address that the processor cannot
/// reach, beyond which map entries are ignored. The pool is the highest usable
/// range of the wanted size below 4 GiB; if there is none, the lowest one
/// anywhere; if there is none, the longest one that exists (the highest of
/// those below 4 GiB first).
///
/// # Errors
/// [`NO_POOL`] if there is no range of [`POOL_MINIMUM`] bytes, [`NO_TRAMPOLINE`]
/// if there is no page for the trampoline.
pub fn choose(
    entries: impl Iterator<Item = Entry> + Clone,
    reserved: &[Region],
    size: Option<u64>,
    limit: u64,
) -> Result<Plan, &'static str> {
    let ram = usable_runs(entries.clone(), &[], limit).map(|run| run.length()).sum();
    let wanted = wanted(ram, size);
    let runs = usable_runs(entries, reserved, limit);
    let pool = choose_pool(runs.clone(), wanted)?;
    let trampoline = choose_trampoline(runs).ok_or(NO_TRAMPOLINE)?;
    Ok(Plan { pool, wanted, trampoline })
}

/// Size of the pool to look for in a machine with `ram` bytes of memory: a
/// multiple of [`POOL_ALIGNMENT`] from [`POOL_MINIMUM`] to [`POOL_MAXIMUM`].
fn wanted(ram: u64, size: Option<u64>) -> u64 {
    let asked = size.unwrap_or_else(|| (ram / 16).max(POOL_DEFAULT_MINIMUM));
    // Clamped first, so that rounding up cannot overflow.
    asked.clamp(POOL_MINIMUM, POOL_MAXIMUM).next_multiple_of(POOL_ALIGNMENT)
}

fn choose_pool(runs: impl Iterator<Item = Region> + Clone, wanted: u64) -> Result<Region, &'static str> {
    let above_floor = |run: Region| Region { start: run.start.max(POOL_FLOOR), ..run };
    let blocks = runs.map(|run| above_floor(run).aligned_inward(POOL_ALIGNMENT)).filter(|block| !block.is_empty());
    let low = blocks.clone().map(|block| Region { end: block.end.min(BELOW_4_GIB), ..block });
    if let Some(block) = low.filter(|block| block.length() >= wanted).last() {
        return Ok(Region { start: block.end - wanted, end: block.end });
    }
    if let Some(block) = blocks.clone().find(|block| block.length() >= wanted) {
        return Ok(Region::from_length(block.start, wanted));
    }
    // `max_by_key` takes the last of equals, and runs come lowest first.
    let longest = blocks.max_by_key(|block| (block.length(), block.end <= BELOW_4_GIB));
    longest.filter(|block| block.length() >= POOL_MINIMUM).ok_or(NO_POOL)
}

fn choose_trampoline(runs: impl Iterator<Item = Region>) -> Option<u64> {
    let room = Region { start: PAGE, end: TRAMPOLINE_CEILING };
    let low = runs.take_while(|run| run.start < room.end);
    let pages = low.map(|run| run.intersection(&room).aligned_inward(PAGE)).filter(|pages| !pages.is_empty());
    pages.last().map(|pages| pages.end - PAGE)
}

/// The usable runs below `limit`, lowest first, each as long as possible.
pub fn usable_runs<'a>(
    entries: impl Iterator<Item = Entry> + Clone + 'a,
    reserved: &'a [Region],
    limit: u64,
) -> impl Iterator<Item = Region> + Clone + 'a {
    let beyond = Region { start: limit, end: u64::MAX };
    let kept = reserved.iter().copied().chain([beyond]).map(|region| Entry { region, usable: false });
    let claims = entries.chain(kept).filter(|claim| !claim.region.is_empty());
    let mut cursor = 0;
    core::iter::from_fn(move || {
        let usable = |at| {
            let here = claims.clone().filter(|claim| claim.region.contains(at));
            here.map(|claim| claim.usable).reduce(|one, two| one && two) == Some(true)
        };
        // Between two edges, nothing changes.
        let edge = |at| {
            let edges = claims.clone().flat_map(|claim| [claim.region.start, claim.region.end]);
            edges.filter(|&edge| edge > at).min()
        };
        while !usable(cursor) {
            cursor = edge(cursor)?;
        }
        let start = cursor;
        while usable(cursor) {
            cursor = edge(cursor)?;
        }
        Some(Region { start, end: cursor })
    })
}

#[cfg(test)]
mod tests;
