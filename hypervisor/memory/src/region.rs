//! Purpose: ranges of physical memory and normalised lists of them.
//!
//! Invariants: a list is sorted by start, its regions are not empty, do not
//! overlap and do not touch (touching ones are merged), so two lists that
//! cover the same bytes are equal. A list has a fixed capacity; an operation
//! that does not fit leaves it unchanged and says so.
//!
//! Source: none needed.
//! Concurrency: plain values, owned by one core (the boot core).

use arrayvec::ArrayVec;

/// The physical bytes from `start` up to, but without, `end`.
///
/// A region whose `end` is not above its `start` is empty: it covers no byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First byte.
    pub start: u64,
    /// First byte behind the region.
    pub end: u64,
}

impl Region {
    /// The region of `length` bytes from `base`; what would lie beyond the
    /// 64-bit address range is cut off.
    #[must_use]
    pub const fn from_length(base: u64, length: u64) -> Self {
        Self { start: base, end: base.saturating_add(length) }
    }

    /// Number of bytes covered.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether no byte is covered.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.start >= self.end
    }

    /// Whether the byte at `address` is covered.
    #[must_use]
    pub const fn contains(&self, address: u64) -> bool {
        self.start <= address && address < self.end
    }

    /// Whether every byte of `other` is covered (true for an empty `other`).
    #[must_use]
    pub const fn covers(&self, other: &Self) -> bool {
        other.is_empty() || (self.start <= other.start && other.end <= self.end)
    }

    /// Whether some byte is covered by both.
    #[must_use]
    pub const fn overlaps(&self, other: &Self) -> bool {
        !self.is_empty() && !other.is_empty() && self.start < other.end && other.start < self.end
    }

    /// The largest region inside this one whose bounds are multiples of
    /// `alignment` bytes, a power of two. It may be empty.
    #[must_use]
    pub const fn aligned_inward(&self, alignment: u64) -> Self {
        let mask = alignment - 1;
        let end = self.end & !mask;
        match self.start.checked_add(mask) {
            Some(start) => Self { start: start & !mask, end },
            None => Self { start: end, end },
        }
    }

    /// The bytes covered by both; it may be empty.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self { start: self.start.max(other.start), end: self.end.min(other.end) }
    }
}

/// The list has no room for the regions that the operation would leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionListFull;

/// A normalised list of at most `N` regions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionList<const N: usize> {
    regions: ArrayVec<Region, N>,
}

impl<const N: usize> RegionList<N> {
    /// The list that covers nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { regions: ArrayVec::new_const() }
    }

    /// The regions, lowest first.
    pub fn iter(&self) -> core::slice::Iter<'_, Region> {
        self.regions.iter()
    }

    /// The regions, lowest first.
    #[must_use]
    pub fn as_slice(&self) -> &[Region] {
        &self.regions
    }

    /// Number of bytes covered.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.regions.iter().map(Region::length).sum()
    }

    /// Whether some byte of `region` is covered.
    #[must_use]
    pub fn overlaps(&self, region: &Region) -> bool {
        self.regions.iter().any(|known| known.overlaps(region))
    }

    /// Covers the bytes of `region` as well.
    ///
    /// # Errors
    /// [`RegionListFull`] if that takes more than `N` regions; the list is
    /// then as before.
    pub fn insert(&mut self, region: Region) -> Result<(), RegionListFull> {
        if region.is_empty() {
            return Ok(());
        }
        // Everything that overlaps or touches the new region becomes one.
        let first = self.regions.partition_point(|known| known.end < region.start);
        let behind = self.regions.partition_point(|known| known.start <= region.end);
        let mut merged = region;
        for known in &self.regions[first..behind] {
            merged.start = merged.start.min(known.start);
            merged.end = merged.end.max(known.end);
        }
        self.replace(first, behind, &[merged])
    }

    /// Covers the bytes of `region` no longer.
    ///
    /// # Errors
    /// [`RegionListFull`] if a region has to be split and there are `N`
    /// already; the list is then as before.
    pub fn subtract(&mut self, region: Region) -> Result<(), RegionListFull> {
        if region.is_empty() {
            return Ok(());
        }
        let first = self.regions.partition_point(|known| known.end <= region.start);
        let behind = self.regions.partition_point(|known| known.start < region.end);
        if first >= behind {
            return Ok(());
        }
        let below = Region { start: self.regions[first].start, end: region.start };
        let above = Region { start: region.end, end: self.regions[behind - 1].end };
        match (below.is_empty(), above.is_empty()) {
            (true, true) => self.replace(first, behind, &[]),
            (false, true) => self.replace(first, behind, &[below]),
            (true, false) => self.replace(first, behind, &[above]),
            (false, false) => self.replace(first, behind, &[below, above]),
        }
    }

    /// Puts `with` in the place of the regions `first..behind`.
    fn replace(&mut self, first: usize, behind: usize, with: &[Region]) -> Result<(), RegionListFull> {
        let tail: ArrayVec<Region, N> = self.regions[behind..].iter().copied().collect();
        if first + with.len() + tail.len() > N {
            return Err(RegionListFull);
        }
        self.regions.truncate(first);
        self.regions.extend(with.iter().copied());
        self.regions.extend(tail);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
