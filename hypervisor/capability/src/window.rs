//! Which part of what is sent ends up where in the receive window.
//!
//! Purpose: the size and placement rule of typed items.
//! Invariants: the result is naturally aligned in source and destination, lies within what was sent and within the
//! window, and has the smaller of the two orders.
//! Concurrency: pure functions.
//! Source: interface §3 ("clamp"); lecture C:202-219 in the corrected form of trap T1.

/// 2^order units from `base` on, aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First unit: page, port or selector.
    pub base: u64,
    /// log2 of the number of units, below 64.
    pub order: u32,
}

impl Range {
    /// The range of that order that holds `base`.
    pub const fn around(base: u64, order: u32) -> Self {
        Self { base: base & !mask(order), order }
    }

    /// Number of units.
    pub const fn count(self) -> u64 {
        1 << self.order
    }

    /// Whether all of `other` lies inside.
    pub const fn covers(self, other: Self) -> bool {
        self.order >= other.order && Self::around(other.base, self.order).base == self.base
    }
}

const fn mask(order: u32) -> u64 {
    (1 << order) - 1
}

/// Source and destination of a delegation of `sent` into `window` with `hotspot`.
pub const fn place(sent: Range, window: Range, hotspot: u64) -> (Range, Range) {
    let sent = Range::around(sent.base, sent.order);
    let window = Range::around(window.base, window.order);
    if sent.order < window.order {
        let inside = hotspot & mask(window.order) & !mask(sent.order);
        (sent, Range { base: window.base | inside, order: sent.order })
    } else {
        let inside = hotspot & mask(sent.order) & !mask(window.order);
        (Range { base: sent.base | inside, order: window.order }, window)
    }
}

/// What a delegation of `sent` into `window` moves where source and destination must be the same units, as for ports:
/// the smaller of the two if one covers the other.
pub const fn overlap(sent: Range, window: Range) -> Option<Range> {
    let sent = Range::around(sent.base, sent.order);
    let window = Range::around(window.base, window.order);
    if sent.covers(window) {
        Some(window)
    } else if window.covers(sent) {
        Some(sent)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range() -> impl Strategy<Value = Range> {
        (any::<u64>(), 0u32..32).prop_map(|(base, order)| Range { base: base >> 12, order })
    }

    proptest! {
        #[test]
        fn results_lie_within_both_ranges(sent in range(), window in range(), hotspot: u64) {
            let (source, destination) = place(sent, window, hotspot);
            prop_assert_eq!(source.order, sent.order.min(window.order));
            prop_assert_eq!(destination.order, source.order);
            prop_assert!(Range::around(sent.base, sent.order).covers(source));
            prop_assert!(Range::around(window.base, window.order).covers(destination));
            prop_assert_eq!(source, Range::around(source.base, source.order));
            prop_assert_eq!(destination, Range::around(destination.base, destination.order));
        }

        /// Trap T1: the rule as the lecture states it, with the quotient multiplied back.
        #[test]
        fn the_larger_side_is_selected_by_the_hotspot(sent in range(), window in range(), hotspot: u64) {
            let (small, large) = (sent.order.min(window.order), sent.order.max(window.order));
            let offset = (hotspot % (1 << large)) / (1 << small) * (1 << small);
            let (source, destination) = place(sent, window, hotspot);
            if sent.order < window.order {
                prop_assert_eq!(destination.base, (window.base >> large << large) + offset);
            } else {
                prop_assert_eq!(source.base, (sent.base >> large << large) + offset);
            }
        }

        #[test]
        fn overlap_is_what_both_ranges_hold(sent in range(), window in range()) {
            let (a, b) = (Range::around(sent.base, sent.order), Range::around(window.base, window.order));
            let start = a.base.max(b.base);
            let end = (a.base + a.count()).min(b.base + b.count());
            let common = (start < end).then(|| (start, end - start));
            prop_assert_eq!(overlap(sent, window).map(|range| (range.base, range.count())), common);
        }
    }
}
