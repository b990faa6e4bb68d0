//! Typed items for the usual cases.
//!
//! Invariants: none of its own.
//! Concurrency: plain values.
//! Source: classic interface, "CRD, typed items, windows".

use abi::item::ItemFlags;
use abi::rights::MemoryRights;
use abi::{Crd, Rights, Selector, TypedItem};

/// Delegates objects of the own domain; they land at the start of the window.
#[must_use]
pub const fn objects(range: Crd) -> TypedItem {
    TypedItem::delegate(range, ItemFlags::empty(), 0)
}

/// A receive window for the one capability at `at`.
#[must_use]
pub fn window(at: Selector) -> Crd {
    Crd::objects(at, 0, Rights::ALL).unwrap_or(Crd::NULL)
}

/// The window for all memory below 8 TiB: where an item lands is its hotspot.
#[must_use]
pub fn all_memory() -> Crd {
    Crd::memory(0, abi::crd::MAX_ORDER, MemoryRights::all()).unwrap_or(Crd::NULL)
}

/// Splits `count` units from `start` on into aligned powers of two: start and order of each. `start` and `other`, where
/// they go to, are aligned alike.
pub fn pieces(start: u64, other: u64, count: u64) -> impl Iterator<Item = (u64, u64, u32)> {
    let mut done = 0;
    core::iter::from_fn(move || {
        let left = count - done;
        if left == 0 {
            return None;
        }
        let (from, to) = (start + done, other + done);
        let order = (from | to).trailing_zeros().min(63 - left.leading_zeros()).min(abi::crd::MAX_ORDER);
        done += 1 << order;
        Some((from, to, order))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_cover_the_range_once_and_are_aligned(start in 0..1_u64 << 30, other in 0..1_u64 << 30, count in 0..1_u64 << 20) {
            let mut at = 0;
            for (from, to, order) in pieces(start, other, count).take(100_000) {
                prop_assert_eq!((from, to), (start + at, other + at));
                prop_assert!((from | to).is_multiple_of(1 << order));
                at += 1 << order;
                if at > 100_000 { break; }
            }
            prop_assert!(at == count || at >= 100_000);
        }
    }
}
