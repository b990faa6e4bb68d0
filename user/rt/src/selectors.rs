//! Which selectors are free: a bit for each.
//!
//! Invariants: a selector is handed out once until it is given back; runs of 2^n lie at multiples of 2^n.
//! Concurrency: lock-free, one compare-and-swap per run; never blocks, so that everything else may use it.

use core::sync::atomic::{AtomicU64, Ordering};

use abi::Selector;

/// Bits of a word.
const BITS: u64 = 64;
/// Longest run, as a power of two.
pub const MAX_ORDER: u32 = 6;

/// Selectors from `base` on, 64 for each of the `N` words.
pub struct Selectors<const N: usize> {
    base: u64,
    used: [AtomicU64; N],
}

impl<const N: usize> Selectors<N> {
    /// All free; `base` is a multiple of 64.
    #[must_use]
    pub const fn new(base: u64) -> Self {
        assert!(base.is_multiple_of(BITS));
        Self { base, used: [const { AtomicU64::new(0) }; N] }
    }

    /// Takes a run of 2^`order` selectors, `order` at most [`MAX_ORDER`]; `None` if there is none left.
    pub fn take(&self, order: u32) -> Option<Selector> {
        let size = 1_u64.checked_shl(order).filter(|size| *size <= BITS)?;
        let run = u64::MAX >> (BITS - size);
        let mut words = self.used.iter().zip(0_u64..);
        words.find_map(|(word, index)| {
            (0..BITS / size).map(|at| at * size).find_map(|at| {
                let mask = run << at;
                let free = |old: u64| (old & mask == 0).then_some(old | mask);
                word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok()?;
                Some(Selector::new(self.base + index * BITS + at))
            })
        })
    }

    /// Gives a run back; what was not taken here is ignored.
    pub fn give(&self, at: Selector, order: u32) {
        let Some(position) = at.number().checked_sub(self.base) else { return };
        let Some(size) = 1_u64.checked_shl(order).filter(|size| *size <= BITS && position.is_multiple_of(*size)) else {
            return;
        };
        let word = usize::try_from(position / BITS).ok().and_then(|index| self.used.get(index));
        if let Some(word) = word {
            word.fetch_and(!(u64::MAX >> (BITS - size) << (position % BITS)), Ordering::Relaxed);
        }
    }

    /// How many are taken.
    pub fn taken(&self) -> u32 {
        self.used.iter().map(|word| word.load(Ordering::Relaxed).count_ones()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn all_can_be_taken_and_no_more() {
        let selectors = Selectors::<2>::new(64);
        assert!((0..128).all(|_| selectors.take(0).is_some()));
        assert_eq!(selectors.take(0), None);
        selectors.give(Selector::new(100), 0);
        assert_eq!(selectors.take(0), Some(Selector::new(100)));
        assert_eq!(selectors.take(7), None);
    }

    proptest! {
        #[test]
        fn runs_are_aligned_and_disjoint(steps in proptest::collection::vec((0..=MAX_ORDER, any::<bool>(), any::<prop::sample::Index>()), 0..200)) {
            let selectors = Selectors::<3>::new(128);
            let (mut runs, mut used) = (Vec::new(), BTreeSet::new());
            for (order, give, which) in steps {
                if give && !runs.is_empty() {
                    let (at, order) = runs.swap_remove(which.index(runs.len()));
                    selectors.give(Selector::new(at), order);
                    (at..at + (1 << order)).for_each(|each| { used.remove(&each); });
                } else if let Some(at) = selectors.take(order).map(Selector::number) {
                    prop_assert!(at.is_multiple_of(1 << order) && at >= 128 && at + (1 << order) <= 128 + 192);
                    prop_assert!((at..at + (1 << order)).all(|each| used.insert(each)));
                    runs.push((at, order));
                }
                prop_assert_eq!(selectors.taken() as usize, used.len());
            }
        }
    }
}
