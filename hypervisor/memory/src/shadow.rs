//! What cores may remember of tables and should not: a shadow of their translations, for a debug build.
//!
//! Purpose: an error in making cores forget is noticed at the next switch or the end of the operation, whether the processor,
//! or an emulator of one, had really kept the translation or not.
//! Invariants: what a core may remember of a view is what its tables say, and what they have said since the core last forgot
//! it and do not say any more. Fills by the processor are seen by nobody, and need not be: they add to the first part only. The
//! second is in here: noted where tables lose something, for each core whose own tables lead there and whatever the set of
//! sharers, the notes and the targets are; removed by flushes, and by loads that forget. Trusted is the Accessed bit: what
//! was never accessed is not noted. Asserted are two things. (a) When an operation returns, no core that has a view loaded has
//! something in here that the operation has taken from it. (b) Who loads a view and keeps what he remembers has nothing in
//! here of that view that an operation has taken that has returned, and the tag is the view's. What an operation has taken
//! that has not returned may still be used.
//! Concurrency: behind one lock. A core notes before it flushes or loads: what is added in between belongs to operations
//! that will ask it, or that it has seen the note of.
//! Source: `docs/src/shootdown.md`; Intel SDM volume 3, §4.10.
use crate::format::{Entry, Format, Host};
use crate::mmu::Mmu;
use crate::shootdown::{ADDRESS, Machine, Pages};
use crate::space::{DIRECTORY, Space, entries, existing};
use crate::table::{Change, Table};
use crate::tags::TAG;
use abi::PhysAddr;
use abi::address::PAGE_BITS;
use core::fmt;

/// Tags that are followed: those below twice this.
const TAGS: usize = 64;

/// Something that the tables of a view do not say any more.
#[derive(Clone, Copy)]
struct Lost {
    root: u64,
    /// None if the place is free.
    pages: Pages,
    /// The core whose operation has taken it, until that returns.
    by: Option<u32>,
}

/// A core.
#[derive(Clone, Copy)]
struct Known<const PLACES: usize> {
    /// Root of the view that it uses, 0 for none.
    loaded: u64,
    /// The last root that was loaded with each tag.
    owners: [u64; TAGS],
    lost: [Lost; PLACES],
}

/// The cores below `CORES`, and for each at most `PLACES` parts of views.
pub struct Shadow<const CORES: usize, const PLACES: usize>([Known<PLACES>; CORES]);

/// What is wrong, and with which core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// An operation returns, and the core has not forgotten what it has taken.
    Kept(u32),
    /// The core comes back to a view, and has not forgotten what was taken meanwhile.
    Stale(u32),
    /// The core loads a view with a tag that is another's.
    Tag(u32),
    /// There is no room.
    Full(u32),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept(core) => write!(f, "core {core} may use what was taken"),
            Self::Stale(core) => write!(f, "core {core} comes back and may use what was taken"),
            Self::Tag(core) => write!(f, "core {core} loads a tag of another domain"),
            Self::Full(core) => write!(f, "no room for what core {core} has lost"),
        }
    }
}

/// What was done was right.
pub type Checked = Result<(), Wrong>;

impl<const PLACES: usize> Known<PLACES> {
    fn free(&mut self, which: impl Fn(&Lost) -> bool) {
        self.lost.iter_mut().filter(|lost| which(lost)).for_each(|lost| lost.pages = Pages::NONE);
    }

    fn of(&self, root: u64) -> impl Iterator<Item = &Lost> {
        self.lost.iter().filter(move |lost| lost.root == root && lost.pages != Pages::NONE)
    }

    /// Adds pages; false if there is no room.
    fn add(&mut self, new: Lost) -> bool {
        let same = |lost: &&mut Lost| lost.pages != Pages::NONE && (lost.root, lost.by) == (new.root, new.by);
        if let Some(lost) = self.lost.iter_mut().find(same) {
            lost.pages = lost.pages.and(new.pages);
            return true;
        }
        let free = self.lost.iter_mut().find(|lost| lost.pages == Pages::NONE);
        free.map(|lost| *lost = new).is_some()
    }
}

/// Tells a machine that is watched of a change of `space`, before anything else is done for it: which cores had been led there.
pub(crate) fn watch<V: Fn(u32) -> Option<PhysAddr>>(
    space: &Space<'_, V>,
    (mmu, machine): (&impl Mmu, &impl Machine),
    change: &Change,
) {
    if !machine.is_watched() {
        return;
    }
    let large = change.level >= DIRECTORY;
    let pages = if large { Pages::ALL } else { Pages::new(change.virt.get(), change.size) };
    for (id, root) in (0..machine.cores()).filter_map(|id| Some((id, (space.view)(id)?))) {
        machine.lost(id, root, pages, || {
            let Ok(directory) = existing(mmu, &Table::new(root), change.virt) else { return false };
            let first = change.virt.index(DIRECTORY);
            (first..first + entries(change)).any(|index| {
                let entry = mmu.read(directory, index);
                match Host::decode(entry, DIRECTORY) {
                    Entry::Leaf(..) => large && entry & Host::ACCESSED != 0,
                    Entry::Table(leaves) => !large && leaves == change.table,
                    Entry::Absent => false,
                }
            })
        });
    }
}

/// Whether all of `some` is in `pages`.
fn contains(pages: Pages, some: Pages) -> bool {
    match (pages.range(), some.range()) {
        (None, _) => true,
        (Some((start, count)), Some((first, more))) => {
            start <= first && first + (more << PAGE_BITS) <= start + (count << PAGE_BITS)
        }
        _ => false,
    }
}

impl<const CORES: usize, const PLACES: usize> Default for Shadow<CORES, PLACES> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const CORES: usize, const PLACES: usize> Shadow<CORES, PLACES> {
    /// Cores that remember nothing.
    #[must_use]
    pub const fn new() -> Self {
        let lost = Lost { root: 0, pages: Pages::NONE, by: None };
        Self([Known { loaded: 0, owners: [0; TAGS], lost: [lost; PLACES] }; CORES])
    }

    fn core(&mut self, id: u32) -> Option<&mut Known<PLACES>> {
        self.0.get_mut(id as usize)
    }

    /// An operation of core `by` has taken `pages` from the view at `root` of core `id`.
    ///
    /// # Errors
    /// There is no room.
    pub fn lost(&mut self, by: u32, id: u32, root: u64, pages: Pages) -> Checked {
        let noted = self.core(id).is_none_or(|core| core.add(Lost { root, pages, by: Some(by) }));
        if noted { Ok(()) } else { Err(Wrong::Full(id)) }
    }

    /// The operation of core `by` returns.
    ///
    /// # Errors
    /// See (a).
    pub fn returns(&mut self, by: u32) -> Checked {
        for (id, core) in (0..).zip(&mut self.0) {
            let loaded = core.loaded;
            while let Some(lost) = core.lost.iter_mut().find(|lost| lost.pages != Pages::NONE && lost.by == Some(by)) {
                if lost.root == loaded {
                    return Err(Wrong::Kept(id));
                }
                let taken = Lost { by: None, ..*lost };
                lost.pages = Pages::NONE;
                // Its own place is free.
                core.add(taken);
            }
        }
        Ok(())
    }

    /// Core `id` forgets `pages` of what it has loaded.
    pub fn forgets(&mut self, id: u32, pages: Pages) {
        if let Some(core) = self.core(id) {
            let loaded = core.loaded;
            core.free(|lost| lost.root == loaded && contains(pages, lost.pages));
        }
    }

    /// Core `id` is about to show that it loads another view, or its own tables: in the kernel, it uses no view any more.
    pub fn departs(&mut self, id: u32) {
        if let Some(core) = self.core(id) {
            core.loaded = 0;
        }
    }

    /// Core `id` loads the view and the tag that `loads` names, and keeps what it remembers of it, or not.
    ///
    /// # Errors
    /// See (b).
    pub fn loads(&mut self, id: u32, loads: u64, keeps: bool) -> Checked {
        let (root, tag) = (loads & ADDRESS, (loads & TAG) as usize / 2);
        let Some(core) = self.core(id) else { return Ok(()) };
        core.loaded = root;
        if !keeps {
            core.free(|lost| lost.root == root);
        } else if core.of(root).any(|lost| lost.by.is_none()) {
            return Err(Wrong::Stale(id));
        }
        match core.owners.get_mut(tag) {
            Some(owner) if !keeps || tag == 0 => *owner = root,
            Some(owner) if *owner != root => return Err(Wrong::Tag(id)),
            _ => {}
        }
        Ok(())
    }

    /// The view at `root` of core `id` is given back.
    pub fn gone(&mut self, id: u32, root: u64) {
        if let Some(core) = self.core(id) {
            core.free(|lost| lost.root == root);
            core.owners.iter_mut().filter(|owner| **owner == root).for_each(|owner| *owner = 0);
        }
    }
}

#[cfg(test)]
#[cfg(not(any(loom, shuttle)))]
mod tests {
    use super::*;

    const VIEW: u64 = 0x5000;
    const OTHER: u64 = 0x6000;
    const PAGE: Pages = Pages::new(0x40_0000, 0x1000);

    /// Two cores that have loaded the view.
    fn loaded() -> Shadow<2, 4> {
        let mut shadow = Shadow::new();
        assert_eq!([0, 1].map(|id| shadow.loads(id, VIEW | 2, false)), [Ok(()); 2]);
        shadow
    }

    #[test]
    fn an_operation_returns_when_those_who_run_the_domain_have_forgotten() {
        let mut shadow = loaded();
        assert_eq!(shadow.lost(0, 1, VIEW, PAGE), Ok(()));
        shadow.forgets(1, Pages::new(0x40_1000, 0x1000));
        assert_eq!(shadow.returns(0), Err(Wrong::Kept(1)));
        shadow.forgets(1, Pages::new(0x3F_F000, 0x3000));
        assert_eq!(shadow.returns(0), Ok(()));
        assert_eq!(shadow.loads(1, VIEW | 2, true), Ok(()));
    }

    #[test]
    fn a_core_that_comes_back_forgets() {
        for (keeps, found) in [(true, Err(Wrong::Stale(1))), (false, Ok(()))] {
            let mut shadow = loaded();
            shadow.departs(1);
            assert_eq!(shadow.lost(0, 1, VIEW, Pages::ALL), Ok(()));
            assert_eq!(shadow.loads(1, OTHER | 4, false), Ok(()));
            // A flush of another domain's pages does not help.
            shadow.forgets(1, Pages::ALL);
            assert_eq!(shadow.returns(0), Ok(()));
            assert_eq!(shadow.loads(1, VIEW | 2, keeps), found);
        }
    }

    #[test]
    fn a_tag_is_its_last_owners() {
        let mut shadow = loaded();
        assert_eq!(shadow.loads(1, OTHER | 2, true), Err(Wrong::Tag(1)));
        assert_eq!(shadow.loads(1, OTHER | 2, false), Ok(()));
        assert_eq!(shadow.loads(1, VIEW | 2, true), Err(Wrong::Tag(1)));
    }

    #[test]
    fn a_view_that_is_gone_leaves_nothing_for_the_next_at_its_place() {
        let mut shadow = loaded();
        assert_eq!(shadow.loads(1, OTHER | 4, false), Ok(()));
        assert_eq!(shadow.lost(0, 1, VIEW, PAGE), Ok(()));
        assert_eq!(shadow.returns(0), Ok(()));
        shadow.gone(1, VIEW);
        assert_eq!(shadow.loads(1, VIEW | 4, true), Err(Wrong::Tag(1)));
        assert_eq!(shadow.loads(1, VIEW | 4, false), Ok(()));
    }

    #[test]
    fn what_does_not_fit_is_reported() {
        let mut shadow = loaded();
        let all = (0..5).map(|at| shadow.lost(0, 1, 0x10_0000 + (at << 12), PAGE)).collect::<Vec<_>>();
        assert_eq!(all, [Ok(()), Ok(()), Ok(()), Ok(()), Err(Wrong::Full(1))]);
        assert_eq!(shadow.returns(0), Ok(()));
    }
}
