//! Tags of what a core remembers of views (process-context identifiers): which view has which.
//!
//! Purpose: a core that comes back to a domain still knows what it knew of it, and never takes another's for it.
//! Invariants: 1. a tag of a core has one owner, a view of that core, or none. 2. A view without a note whose [`LOADS`] is
//! not 0 owns the tag in that. 3. Who gets a tag, or had a note, is loaded without [`KEEP`], so that the processor forgets
//! all that it remembers with the tag. So a note stands for both: something was taken from the view, or its tag was.
//! Concurrency: a core gives its own tags to its own views. A view is given back by any core, when its own core has not
//! loaded it and will not; it lets go of the tag under the lock under which its core would leave a note in it.
//! Source: Intel SDM volume 3, §4.10.4; `docs/src/decisions/0031-tags.md`.
use crate::mmu::Mmu;
use crate::shootdown::{Core, NOTE, STALE};
use abi::PhysAddr;
use sync::Spin;

/// Entry of the root of a view that nobody walks to, where it says what its core loads for it; 0 if it never has. Absent to the
/// processor: tags are even.
pub const LOADS: usize = NOTE + 1;
/// Bit of what is loaded: what is remembered with the tag stays.
pub const KEEP: u64 = 1 << 63;
/// Bits of what is loaded that are the tag. That of place n is 2(n + 1); 0 is for the core's own tables.
pub const TAG: u64 = 0xFFF;

/// The tags of a core, at most 2047.
pub struct Tags<const COUNT: usize>(Spin<Owners<COUNT>>);

/// The roots of their owners, 0 for none, and whose turn it is to lose one.
struct Owners<const COUNT: usize> {
    of: [u64; COUNT],
    next: usize,
}

/// The place of the tag in what is loaded.
const fn place(loads: u64) -> Option<usize> {
    ((loads & TAG) as usize / 2).checked_sub(1)
}

impl<const COUNT: usize> Default for Tags<COUNT> {
    fn default() -> Self {
        Self(Spin::new(Owners { of: [0; COUNT], next: 0 }))
    }
}

impl<const COUNT: usize> Tags<COUNT> {
    /// `core`, the calling one, whose tags these are, loads the view at `root` next: what it has to load, and whether what it
    /// remembers of it is stale. If it is not `tagged`, the processor has no tags: it always forgets everything.
    pub fn enter(&self, core: &Core, mmu: &impl Mmu, root: PhysAddr, tagged: bool) -> (u64, bool) {
        let right = core.enter(mmu, root);
        let known = mmu.read(root, LOADS);
        if right && known != 0 {
            return (known, false);
        }
        let loads = if tagged { KEEP | root.get() | self.tag(mmu, root, known) } else { root.get() };
        mmu.write(root, LOADS, loads);
        (loads & !KEEP, !right)
    }

    /// The tag of the view at `root`: the one that it had, or that of the view that got one longest ago.
    fn tag(&self, mmu: &impl Mmu, root: PhysAddr, known: u64) -> u64 {
        let mut owners = self.0.lock();
        let own = place(known).filter(|&place| owners.of.get(place) == Some(&root.get()));
        let place = own.unwrap_or(owners.next);
        if own.is_none() {
            owners.next = (place + 1) % COUNT;
            let before = owners.of.get_mut(place).map_or(0, |owner| core::mem::replace(owner, root.get()));
            if before != 0 {
                mmu.write(PhysAddr::truncate(before), NOTE, STALE);
            }
        }
        2 * (place as u64 + 1)
    }

    /// The view at `root`, of the core whose tags these are, is given back.
    pub fn release(&self, mmu: &impl Mmu, root: PhysAddr) {
        let mut owners = self.0.lock();
        let owner = place(mmu.read(root, LOADS)).and_then(|place| owners.of.get_mut(place));
        if let Some(owner) = owner.filter(|owner| **owner == root.get()) {
            *owner = 0;
        }
        mmu.write(root, LOADS, 0);
    }
}

#[cfg(test)]
#[cfg(not(any(loom, shuttle)))]
mod tests {
    use super::*;
    use crate::mmu::arena::Arena;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const COUNT: usize = 6;

    /// A processor: what it has loaded, and of which view, how often taken from, it remembers something with each tag.
    #[derive(Default)]
    struct Processor(BTreeMap<u64, (u64, u64)>);

    impl Processor {
        fn load(&mut self, loads: u64, lost: u64) -> Result<(), TestCaseError> {
            let (tag, now) = (loads & TAG, (loads & !(TAG | KEEP), lost));
            if loads & KEEP == 0 {
                self.0.remove(&tag);
            }
            prop_assert_eq!(*self.0.entry(tag).or_insert(now), now);
            Ok(())
        }
    }

    proptest! {
        /// More views than tags come, lose something, and go, whose frames nobody touches until they are used again.
        #[test]
        fn a_view_finds_what_is_its_own_and_right(steps in prop::collection::vec((0..COUNT + 4, 0..8u32), 1..200)) {
            let (arena, core, tags) = (Arena::default(), Core::default(), Tags::<COUNT>::default());
            let roots: Vec<_> = (0..COUNT + 5).map(|_| arena.table()).skip(1).collect();
            let (mut processor, mut lost, mut now) = (Processor::default(), vec![0; roots.len()], 0);
            let mut gone = vec![false; roots.len()];
            for (which, act) in steps {
                now += 1;
                let root = roots[which];
                gone[which] = act == 1 || act == 0 && gone[which];
                match act {
                    // Something is taken from it while it is not loaded.
                    0 if !gone[which] => {
                        arena.write(root, NOTE, STALE);
                        lost[which] = now;
                    }
                    // Its domain ends, and the frame becomes another's view.
                    1 => {
                        tags.release(&arena, root);
                        prop_assert_eq!(arena.read(root, LOADS), 0);
                        arena.write(root, NOTE, 0);
                        lost[which] = now;
                    }
                    0 => {}
                    // It is loaded, the short way if that will do.
                    _ => {
                        let loads = arena.read(root, LOADS);
                        let right = loads != 0 && core.enter_if_right(loads, || arena.read(root, NOTE));
                        let loads = if right { loads } else { tags.enter(&core, &arena, root, true).0 };
                        prop_assert_eq!(loads & 1, 0);
                        processor.load(loads, lost[which])?;
                    }
                }
                let noted = |&(root, _): &(&PhysAddr, &bool)| arena.read(*root, NOTE) != 0;
                let touched = roots.iter().zip(&gone).find(|pair| *pair.1 && noted(pair));
                prop_assert_eq!(touched, None, "it is another's frame");
            }
        }
    }

    #[test]
    fn a_domain_keeps_its_tag_until_as_many_others_as_there_are_tags_have_got_one() {
        let (arena, core, tags) = (Arena::default(), Core::default(), Tags::<COUNT>::default());
        let roots: Vec<_> = (0..COUNT + 2).map(|_| arena.table()).skip(1).collect();
        for &root in &roots[..COUNT] {
            assert_eq!(tags.enter(&core, &arena, root, true).0 & KEEP, 0, "new");
        }
        assert_eq!(tags.enter(&core, &arena, roots[0], true), (arena.read(roots[0], LOADS), false));
        tags.enter(&core, &arena, roots[COUNT], true);
        let (loads, stale) = tags.enter(&core, &arena, roots[0], true);
        assert!(stale && loads & KEEP == 0, "it has lost its tag");
        assert!(arena.read(roots[0], LOADS) & KEEP != 0);
    }

    #[test]
    fn without_tags_what_is_loaded_is_the_address() {
        let (arena, core, tags) = (Arena::default(), Core::default(), Tags::<COUNT>::default());
        let root = [arena.table(), arena.table()][1];
        for stale in [false, true, false] {
            arena.write(root, NOTE, if stale { STALE } else { 0 });
            assert_eq!(tags.enter(&core, &arena, root, false), (root.get(), stale));
        }
    }
}
