//! Which physical pages are free.
//!
//! Invariants: ranges are sorted, disjoint and not adjacent; a page is handed out once until it is given back.
//! Concurrency: plain value.
//! Source: first fit by address.

use alloc::vec::Vec;
use core::ops::Range;

/// Pages that belong to whoever has this value. Not to be copied.
#[derive(Debug, PartialEq, Eq)]
pub struct Pages {
    first: u64,
    count: u64,
}

impl Pages {
    /// Number of the first page.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// How many.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }
}

/// The free pages.
#[derive(Debug, Default)]
pub struct Frames(Vec<Range<u64>>);

impl Frames {
    /// Adds a range of pages that was not in it.
    pub fn add(&mut self, pages: Range<u64>) {
        if pages.is_empty() {
            return;
        }
        let at = self.0.partition_point(|range| range.start < pages.start);
        self.0.insert(at, pages);
        self.0.dedup_by(|next, previous| {
            let adjacent = previous.end == next.start;
            if adjacent {
                previous.end = next.end;
            }
            adjacent
        });
    }

    /// Takes `count` pages in a row, at least one; `None` if there are not as many.
    pub fn take(&mut self, count: u64) -> Option<Pages> {
        let count = count.max(1);
        let at = self.0.iter().position(|range| range.end - range.start >= count)?;
        let range = self.0.get_mut(at)?;
        let first = range.start;
        range.start += count;
        if range.is_empty() {
            self.0.remove(at);
        }
        Some(Pages { first, count })
    }

    /// Takes `count` pages in a row, at least one, the first at a multiple of `alignment`, a power of two.
    pub fn take_aligned(&mut self, count: u64, alignment: u64) -> Option<Pages> {
        let (count, alignment) = (count.max(1), alignment.max(1));
        let found = self.0.iter().enumerate().find_map(|(at, range)| {
            let first = range.start.checked_next_multiple_of(alignment)?;
            (first.checked_add(count)? <= range.end).then_some((at, first))
        });
        let (at, first) = found?;
        let range = self.0.remove(at);
        self.add(range.start..first);
        self.add(first + count..range.end);
        Some(Pages { first, count })
    }

    /// Gives pages back.
    pub fn give(&mut self, pages: Pages) {
        self.add(pages.first..pages.first + pages.count);
    }

    /// How many pages are free.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn what_comes_back_is_one_range_again() {
        let mut frames = Frames::default();
        frames.add(10..20);
        let taken: Vec<_> = (0..5).filter_map(|_| frames.take(2)).collect();
        assert_eq!((taken.len(), frames.free(), frames.take(1)), (5, 0, None));
        taken.into_iter().rev().for_each(|pages| frames.give(pages));
        assert_eq!(frames.take(10).map(|pages| pages.first()), Some(10));
    }

    #[test]
    fn aligned_pages_leave_the_rest() {
        let mut frames = Frames::default();
        frames.add(5..40);
        assert_eq!(frames.take_aligned(16, 16).map(|pages| pages.first()), Some(16));
        assert_eq!(
            (frames.take_aligned(8, 16), frames.free(), frames.take(11).map(|pages| pages.first())),
            (Some(Pages { first: 32, count: 8 }), 11, Some(5))
        );
    }

    proptest! {
        #[test]
        fn no_page_is_handed_out_twice(steps in proptest::collection::vec((1..9_u64, any::<bool>(), any::<prop::sample::Index>()), 0..120)) {
            let mut frames = Frames::default();
            [5..40, 60..61, 100..140].into_iter().for_each(|range| frames.add(range));
            let (mut held, mut used) = (Vec::<Pages>::new(), BTreeSet::new());
            for (count, give, which) in steps {
                if give && !held.is_empty() {
                    let pages = held.swap_remove(which.index(held.len()));
                    (pages.first..pages.first + pages.count).for_each(|page| { used.remove(&page); });
                    frames.give(pages);
                } else if let Some(pages) = frames.take(count) {
                    prop_assert_eq!(pages.count(), count);
                    prop_assert!((pages.first..pages.first + count).all(|page| used.insert(page)));
                    held.push(pages);
                }
                prop_assert_eq!(frames.free() as usize + used.len(), 35 + 1 + 40);
                prop_assert!(frames.0.windows(2).all(|pair| pair[0].end < pair[1].start));
            }
        }
    }
}
