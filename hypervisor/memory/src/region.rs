//! Purpose: ranges of physical memory.
//!
//! Invariants: arithmetic on any bounds neither overflows nor fails.
//! Concurrency: plain values.
//! Source: none needed.

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
    pub const fn from_length(base: u64, length: u64) -> Self {
        Self { start: base, end: base.saturating_add(length) }
    }

    /// Number of bytes covered.
    pub const fn length(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether no byte is covered.
    pub const fn is_empty(&self) -> bool {
        self.start >= self.end
    }

    /// Whether the byte at `address` is covered.
    pub const fn contains(&self, address: u64) -> bool {
        self.start <= address && address < self.end
    }

    /// Whether every byte of `other` is covered (true for an empty `other`).
    pub const fn covers(&self, other: &Self) -> bool {
        other.is_empty() || (self.start <= other.start && other.end <= self.end)
    }

    /// Whether some byte is covered by both.
    pub const fn overlaps(&self, other: &Self) -> bool {
        !self.is_empty() && !other.is_empty() && self.start < other.end && other.start < self.end
    }

    /// The largest region inside this one whose bounds are multiples of
    /// `alignment` bytes, a power of two. It may be empty.
    pub const fn aligned_inward(&self, alignment: u64) -> Self {
        let mask = alignment - 1;
        let end = self.end & !mask;
        match self.start.checked_add(mask) {
            Some(start) => Self { start: start & !mask, end },
            None => Self { start: end, end },
        }
    }

    /// The bytes covered by both; it may be empty.
    pub fn intersection(&self, other: &Self) -> Self {
        Self { start: self.start.max(other.start), end: self.end.min(other.end) }
    }
}

#[cfg(test)]
mod tests;
