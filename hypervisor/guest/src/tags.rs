//! Tags of translations (ASID, VPID): which one a virtual CPU enters with.
//!
//! Purpose: a virtual CPU never finds translations of another, nor its own from before a revocation.
//! Invariants: within a generation of a core no tag is given out twice; a new generation starts with all tags flushed. A
//! virtual CPU keeps its tag while its core is in the generation of that, and its domain's guest memory has lost nothing.
//! Concurrency: numbers of one core; a virtual CPU belongs to one core.
//! Source: AMD64 manual volume 2, §15.16 (TLB control); design plan §3 (tags by generation).
use crate::extra::{GENERATION, SEEN, TAG};
use crate::{load, store};
use objects::Page;
use objects::frame::Register;

/// The tags of a core.
#[derive(Default)]
pub struct Tags {
    generation: Register,
    last: Register,
}

/// A tag, whether it is another than last time, and whether all tags of the core have to be flushed before it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Never 0, which is the host's.
    pub number: u64,
    /// Another.
    pub fresh: bool,
    /// Flush.
    pub flush: bool,
}

impl Tags {
    /// The tag for an entry of the virtual CPU with this extra page, whose domain's guest memory has lost something `lost`
    /// times; tags are below `limit`, which is at least 2.
    #[inline]
    pub fn choose(&self, extra: &Page, lost: u64, limit: u64) -> Tag {
        let [tag, generation, seen] = [TAG, GENERATION, SEEN].map(|index| load(extra, index));
        if tag != 0 && generation == self.generation.get() && seen == lost {
            return Tag { number: tag, fresh: false, flush: false };
        }
        let flush = self.last.get() == 0 || self.last.get() + 1 >= limit;
        if flush {
            self.last.set(0);
            self.generation.add(1);
        }
        self.last.add(1);
        let number = self.last.get();
        let words = [(TAG, number), (GENERATION, self.generation.get()), (SEEN, lost)];
        words.into_iter().for_each(|(index, value)| store(extra, index, value));
        Tag { number, fresh: true, flush }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::array;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use sync::atomic::AtomicU64;

    proptest! {
        /// A processor that remembers which tags have translations of which virtual CPU and loss never finds stale ones.
        #[test]
        fn no_entry_finds_translations_that_are_not_its_own(
            limit in 2u64..6, steps in prop::collection::vec((0usize..5, prop::bool::ANY), 1..200),
        ) {
            let tags = Tags::default();
            let pages: [Page; 5] = array::from_fn(|_| array::from_fn(|_| AtomicU64::new(0)));
            let (mut lost, mut remembered) = (0, BTreeSet::from([(1, usize::MAX, 7)]));
            for (who, revokes) in steps {
                lost += u64::from(revokes);
                let tag = tags.choose(&pages[who], lost, limit);
                prop_assert!(tag.number > 0 && tag.number < limit);
                if tag.flush {
                    remembered.clear();
                }
                prop_assert!(remembered.iter().all(|&(number, owner, at)| number != tag.number || (owner, at) == (who, lost)));
                remembered.insert((tag.number, who, lost));
                prop_assert_eq!(tags.choose(&pages[who], lost, limit), Tag { fresh: false, flush: false, ..tag });
            }
        }
    }
}
