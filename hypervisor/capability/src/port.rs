//! The port space: a bitmap that the processor itself consults.
//!
//! Purpose: from a range of ports to words of the two-page bitmap of a domain. A clear bit allows the port.
//! Invariants: bits outside the range keep their value; a range reaches at most port 0xFFFF.
//! Concurrency: words are changed with one atomic AND or OR each by the caller, under the lock of the space; the
//! processor reads them at any time.
//! Source: lecture D:336, D:354; AMD64 manual volume 2, §12.2.4 (I/O-permission bitmap); trap T8.
/// Number of ports.
pub const PORTS: u64 = 1 << 16;

/// The words that `count` ports from `base` on touch, each with the mask of its ports.
pub fn words(base: u64, count: u64) -> impl Iterator<Item = (usize, u64)> {
    let start = base.min(PORTS);
    let end = base.saturating_add(count).min(PORTS);
    (start / 64..end.div_ceil(64)).map(move |word| {
        let low = start.saturating_sub(word * 64);
        let high = (end - word * 64).min(64);
        let mask = (u64::MAX >> (64 - (high - low))) << low;
        (word as usize, mask)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Words of 64 bits in the bitmap: two pages.
    const WORDS: usize = (PORTS / 64) as usize;

    proptest! {
        #[test]
        fn masks_cover_exactly_the_ports_of_the_range(base in 0u64..70_000, count in 0u64..70_000) {
            let mut allowed = vec![false; PORTS as usize];
            for (word, mask) in words(base, count) {
                prop_assert!(word < WORDS && mask != 0);
                for bit in (0..64).filter(|bit| mask >> bit & 1 == 1) {
                    allowed[word * 64 + bit] = true;
                }
            }
            for (port, &allowed) in (0u64..).zip(&allowed) {
                prop_assert_eq!(allowed, port >= base && port < base + count);
            }
        }
    }

    #[test]
    fn all_ports_are_all_words() {
        let all: Vec<_> = words(0, PORTS).collect();
        assert_eq!(all.len(), WORDS);
        assert!(all.iter().all(|&(_, mask)| mask == u64::MAX));
    }
}
