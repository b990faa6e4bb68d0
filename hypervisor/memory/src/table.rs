//! A hierarchy of translation tables: walk, look up, map a range.
//!
//! Purpose: the page tables of the kernel and of domains are built by this code, over any [`Format`] and any
//! [`Mmu`].
//! Invariants: a range operation visits each table once; the largest leaf that size and alignment allow is used; an
//! entry that is present is never replaced (that is an error of the caller, reported); recursion depth is at most
//! the number of levels.
//! Concurrency: the caller holds the lock of the space; entries become visible to the hardware one at a time, a new
//! table only after it is complete (it is handed out zeroed).
//! Source: lecture D:385-401 (software walk), D:466-482 (generic entries).
mod raise;

use crate::format::{Attributes, Entry, Format};
use crate::frames::OutOfMemory;
use crate::mmu::Mmu;
use abi::{PhysAddr, VirtAddr, address::PAGE_BITS};
use core::marker::PhantomData;

/// Why a range was not mapped completely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// Something is mapped at this address already, or behind it in the same table.
    Occupied(VirtAddr),
    /// Start, end or physical address is not a multiple of the page size, or the end lies before the start.
    Misaligned,
    /// No frame for a table.
    NoTable(OutOfMemory),
}

impl From<OutOfMemory> for MapError {
    fn from(error: OutOfMemory) -> Self {
        Self::NoTable(error)
    }
}

/// What became of a change to tables.
pub type Result<T, E = MapError> = core::result::Result<T, E>;

/// Where zeroed frames for tables come from. Who takes a part of a large leaf has to get a table to divide it; so it is paid for
/// when the leaf is entered, as if all tables below were there.
pub trait Supply {
    /// A frame; entry `index` of `table` is to refer to it.
    ///
    /// # Errors
    /// There is none, or nobody pays for it.
    fn table(&mut self, table: PhysAddr, index: usize) -> Result<PhysAddr, OutOfMemory>;

    /// Sets `count` tables aside for a leaf.
    ///
    /// # Errors
    /// Nobody pays for them.
    fn reserve(&mut self, _count: u32) -> Result<(), OutOfMemory> {
        Ok(())
    }

    /// As [`Self::table`], one of those that were set aside, which are one less, whatever comes of it.
    ///
    /// # Errors
    /// There is none, though it was paid for.
    fn reserved(&mut self, table: PhysAddr, index: usize) -> Result<PhysAddr, OutOfMemory> {
        self.table(table, index)
    }

    /// `count` tables that were set aside are not needed.
    fn release(&mut self, _count: u32) {}
}

impl<F: FnMut(PhysAddr, usize) -> Result<PhysAddr, OutOfMemory>> Supply for F {
    fn table(&mut self, table: PhysAddr, index: usize) -> Result<PhysAddr, OutOfMemory> {
        self(table, index)
    }
}

/// See [`Supply`].
pub type Source<'a> = &'a mut dyn Supply;

/// A range of virtual addresses and the memory that it is to show.
#[derive(Clone, Copy, Debug)]
pub struct Mapping {
    /// First address, page-aligned.
    pub virt: VirtAddr,
    /// What the first address shows, page-aligned; the rest follows contiguously.
    pub phys: PhysAddr,
    /// Length in bytes, a multiple of the page size.
    pub size: u64,
    /// Rights and memory type of all of it.
    pub attributes: Attributes,
}

/// What was taken from a table, that somebody may remember.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// The table.
    pub table: PhysAddr,
    /// Its level.
    pub level: u32,
    /// First address.
    pub virt: VirtAddr,
    /// Length in bytes.
    pub size: u64,
}

/// A hierarchy of tables in format `F`, named by its top-level table.
pub struct Table<F> {
    root: PhysAddr,
    format: PhantomData<F>,
}

/// log2 of the bytes that one entry of `level` covers.
const fn shift(level: u32) -> u32 {
    PAGE_BITS + 9 * (level - 1)
}

/// Tables that a leaf of `level` needs to become pages.
const fn spare(level: u32) -> u32 {
    (512u32.pow(level - 1) - 1) / 511
}

impl<F: Format> Table<F> {
    /// The hierarchy whose top-level table, a zeroed frame or an existing one, is at `root`.
    pub const fn new(root: PhysAddr) -> Self {
        Self { root, format: PhantomData }
    }

    /// Physical address of the top-level table.
    pub const fn root(&self) -> PhysAddr {
        self.root
    }

    /// The leaf that translates `virt`: what `virt` itself shows, with which attributes, and the leaf's level.
    pub fn lookup(&self, mmu: &impl Mmu, virt: VirtAddr) -> Option<(PhysAddr, Attributes, u32)> {
        let (mut table, mut level) = (self.root, F::LEVELS);
        loop {
            match F::decode(mmu.read(table, virt.index(level)), level) {
                Entry::Absent => return None,
                Entry::Table(next) => (table, level) = (next, level - 1),
                Entry::Leaf(base, attributes) => {
                    let inside = virt.get() & ((1 << shift(level)) - 1);
                    return Some((base.offset(inside), attributes, level));
                }
            }
        }
    }

    /// How many of `size` bytes from `virt` on, both multiples of the page size, show nothing before the first that does.
    pub fn free(&self, mmu: &impl Mmu, range: (VirtAddr, u64)) -> u64 {
        self.free_below(mmu, F::LEVELS, range)
    }

    fn free_below(&self, mmu: &impl Mmu, level: u32, (virt, size): (VirtAddr, u64)) -> u64 {
        for (done, part) in parts(level, virt, size) {
            let at = virt.offset(done);
            let free = match F::decode(mmu.read(self.root, at.index(level)), level) {
                Entry::Absent => part,
                Entry::Table(next) => Self::new(next).free_below(mmu, level - 1, (at, part)),
                Entry::Leaf(..) => 0,
            };
            if free != part {
                return done + free;
            }
        }
        size
    }

    /// The table of `level` (1 to `LEVELS` − 1) that translates `virt`; made from `frame`, a source of zeroed frames,
    /// where it is missing.
    ///
    /// # Errors
    /// [`MapError::Occupied`] if a leaf of a higher level is in the way, [`MapError::NoTable`] if `frame` fails.
    pub fn descend(&self, mmu: &impl Mmu, virt: VirtAddr, level: u32, frame: Source<'_>) -> Result<PhysAddr> {
        let mut levels = (level + 1..=F::LEVELS).rev();
        levels.try_fold(self.root, |table, at| Self::new(table).below(mmu, virt, at, frame).map(|below| below.root))
    }

    /// Makes `entry` the entry of `level` for `virt`. Whether that changed more than what the hardware notes in it, which is
    /// kept.
    ///
    /// # Errors
    /// As for [`Self::descend`].
    pub fn put(&self, mmu: &impl Mmu, virt: VirtAddr, level: u32, entry: u64, frame: Source<'_>) -> Result<bool> {
        let (table, index) = (self.descend(mmu, virt, level, frame)?, virt.index(level));
        let old = mmu.read(table, index);
        let differs = (old ^ entry) & !F::EVIDENCE != 0;
        if differs {
            // What was there may be remembered, whatever has been noted of it.
            let noted = if old == 0 { 0 } else { old & F::EVIDENCE | F::ACCESSED };
            mmu.write(table, index, entry | noted);
        }
        Ok(differs)
    }

    /// Enters `count` leaves into this table, one of `level`, which holds them all, from `virt` on, if nothing is there;
    /// `entry` is the first, [`Format::leaf`]. Whether nothing was.
    #[inline(always)]
    pub fn enter(&self, mmu: &impl Mmu, (level, virt): (u32, VirtAddr), count: u64, entry: u64) -> bool {
        let (first, step) = (virt.index(level), 1 << shift(level));
        if level == 1 && count != 1 {
            return mmu.fill(self.root, first, count as usize, entry, step);
        }
        mmu.fill_few(self.root, first, count as usize, entry, step)
    }

    /// Maps `mapping`; tables that are missing come from `frame`, a source of zeroed frames.
    ///
    /// # Errors
    /// See [`MapError`]; what was mapped before the error stays mapped.
    pub fn map(&self, mmu: &impl Mmu, mapping: Mapping, frame: Source<'_>) -> Result<()> {
        let mask = (1 << PAGE_BITS) - 1;
        if (mapping.virt.get() | mapping.phys.get() | mapping.size) & mask != 0
            || mapping.virt.get().checked_add(mapping.size.saturating_sub(1)).is_none()
        {
            return Err(MapError::Misaligned);
        }
        // The most frequent case, without parts of ranges.
        if mapping.size == 1 << PAGE_BITS {
            let (virt, table) = (mapping.virt, self.descend(mmu, mapping.virt, 1, frame)?);
            if F::decode(mmu.read(table, virt.index(1)), 1) != Entry::Absent {
                return Err(MapError::Occupied(virt));
            }
            mmu.write(table, virt.index(1), F::leaf(mapping.phys, 1, mapping.attributes));
            return Ok(());
        }
        self.fill(mmu, F::LEVELS, mapping, frame)
    }

    /// Leaves of `size` bytes at `virt`, both multiples of the page size, only the rights in `left`; if that is empty, what is
    /// mapped there is unmapped. What is not mapped stays so. A larger leaf that is covered in part is divided, with a table
    /// from `frame`; with all rights left that is all that is done. Tables stay. `changed` is told of each table what in it
    /// somebody may remember.
    ///
    /// # Errors
    /// [`MapError::NoTable`] if `frame` has not what was set aside; the leaf in question is unmapped in full then.
    pub fn restrict(
        &self,
        mmu: &impl Mmu,
        (virt, size): (VirtAddr, u64),
        left: Attributes,
        frame: Source<'_>,
        changed: &mut dyn FnMut(Change),
    ) -> Result<()> {
        if size == 0 {
            return Ok(());
        }
        // Down to the table that holds the whole range, which is most often one of leaves.
        let (mut table, mut level, last) = (self.root, F::LEVELS, virt.get() + size - 1);
        while virt.get() >> shift(level) == last >> shift(level) {
            match F::decode(mmu.read(table, virt.index(level)), level) {
                Entry::Absent => return Ok(()),
                Entry::Table(next) => (table, level) = (next, level - 1),
                Entry::Leaf(..) => break,
            }
            if level == 1 {
                Self::new(table).take_leaves(mmu, (virt, size), left).map(changed);
                return Ok(());
            }
        }
        Self::new(table).take(mmu, level, (virt, size), left, frame, changed)
    }

    /// [`Self::restrict`] for a range of this table of leaves; what somebody may remember.
    #[inline(always)]
    pub fn take_leaves(&self, mmu: &impl Mmu, (virt, size): (VirtAddr, u64), left: Attributes) -> Option<Change> {
        // Of a page nobody remembers anything who has not noted an access.
        let (first, end) = if left.is_empty() {
            mmu.clear(self.root, virt.index(1), (size >> PAGE_BITS) as usize, F::ACCESSED)
        } else if left.is_all() {
            return None;
        } else {
            (0..size >> PAGE_BITS).fold((u64::MAX, 0), |(first, end), page| {
                let index = virt.index(1) + page as usize;
                let entry = Self::restricted(mmu.read(self.root, index), left);
                let accessed = mmu.exchange(self.root, index, entry) & F::ACCESSED != 0;
                if accessed { (first.min(page), page + 1) } else { (first, end) }
            })
        };
        (first < end).then(|| {
            let size = (end - first) << PAGE_BITS;
            Change { table: self.root, level: 1, virt: virt.offset(first << PAGE_BITS), size }
        })
    }

    /// Unmaps `count` large leaves of this table, one of `level`, which holds them all, from `virt` on, if that is what is
    /// there. Whether it was.
    #[inline(always)]
    pub fn take_large(&self, mmu: &impl Mmu, (level, virt): (u32, VirtAddr), count: u64) -> bool {
        let entries = virt.index(level)..virt.index(level) + count as usize;
        let is_leaf = |index| matches!(F::decode(mmu.read(self.root, index), level), Entry::Leaf(..));
        let whole = entries.clone().fold(true, |whole, index| whole & is_leaf(index));
        if whole {
            entries.for_each(|index| _ = mmu.exchange(self.root, index, 0));
        }
        whole
    }

    /// The entry of a table of leaves with only the rights in `left`.
    fn restricted(entry: u64, left: Attributes) -> u64 {
        match F::decode(entry, 1) {
            Entry::Leaf(base, attributes) => F::leaf(base, 1, attributes & left),
            _ => 0,
        }
    }

    /// [`Self::restrict`] for the part that lies under this table, one of `level`.
    fn take(
        &self,
        mmu: &impl Mmu,
        level: u32,
        (virt, size): (VirtAddr, u64),
        left: Attributes,
        frame: Source<'_>,
        changed: &mut dyn FnMut(Change),
    ) -> Result<()> {
        if level == 1 {
            self.take_leaves(mmu, (virt, size), left).map(changed);
            return Ok(());
        }
        let mut outcome = Ok(());
        for (done, part) in parts(level, virt, size) {
            let at = virt.offset(done);
            let index = at.index(level);
            let old = mmu.read(self.root, index);
            let next = match F::decode(old, level) {
                Entry::Absent => continue,
                Entry::Table(next) => Self::new(next),
                Entry::Leaf(..) if part == 1 << shift(level) && left.is_all() => continue,
                Entry::Leaf(base, attributes) => {
                    let whole = part == 1 << shift(level);
                    let divided = (!whole).then(|| frame.reserved(self.root, index)).transpose();
                    let entry = match divided {
                        Ok(Some(next)) => {
                            for entry in 0..512 {
                                let below = base.offset((entry as u64) << shift(level - 1));
                                mmu.write(next, entry, F::leaf(below, level - 1, attributes) | old & F::EVIDENCE);
                            }
                            F::table(next)
                        }
                        _ if whole && !left.is_empty() => F::leaf(base, level, attributes & left),
                        _ => 0,
                    };
                    mmu.exchange(self.root, index, entry);
                    // Of larger leaves there are copies, which have noted accesses.
                    changed(Change { table: self.root, level, virt: at, size: part });
                    if entry == 0 {
                        frame.release(spare(level) - u32::from(!whole));
                    }
                    match divided {
                        Ok(Some(next)) => Self::new(next),
                        other => {
                            outcome = outcome.and(other.map(drop).map_err(MapError::NoTable));
                            continue;
                        }
                    }
                }
            };
            outcome = outcome.and(next.take(mmu, level - 1, (at, part), left, frame, changed));
        }
        outcome
    }

    /// The table that the entry for `virt` of this table, one of `level`, refers to; made if absent.
    fn below(&self, mmu: &impl Mmu, virt: VirtAddr, level: u32, frame: Source<'_>) -> Result<Self> {
        match F::decode(mmu.read(self.root, virt.index(level)), level) {
            Entry::Table(next) => Ok(Self::new(next)),
            Entry::Leaf(..) => Err(MapError::Occupied(virt)),
            Entry::Absent => {
                let next = frame.table(self.root, virt.index(level))?;
                mmu.write(self.root, virt.index(level), F::table(next));
                Ok(Self::new(next))
            }
        }
    }

    /// Fills the part of `mapping` that lies under this table, one of `level`.
    fn fill(&self, mmu: &impl Mmu, level: u32, mapping: Mapping, frame: Source<'_>) -> Result<()> {
        if level == 1 {
            let entry = F::leaf(mapping.phys, 1, mapping.attributes);
            let done = self.enter(mmu, (1, mapping.virt), mapping.size >> PAGE_BITS, entry);
            return if done { Ok(()) } else { Err(MapError::Occupied(mapping.virt)) };
        }
        for (done, size) in parts(level, mapping.virt, mapping.size) {
            let (virt, phys) = (mapping.virt.offset(done), mapping.phys.offset(done));
            let whole = size == 1 << shift(level) && phys.is_aligned(size);
            match F::decode(mmu.read(self.root, virt.index(level)), level) {
                Entry::Leaf(..) => return Err(MapError::Occupied(virt)),
                Entry::Absent if level <= F::LEAF_LEVELS && whole => {
                    frame.reserve(spare(level))?;
                    mmu.write(self.root, virt.index(level), F::leaf(phys, level, mapping.attributes));
                }
                // A table that is empty by now stays, with smaller leaves.
                _ => {
                    let next = self.below(mmu, virt, level, frame)?;
                    next.fill(mmu, level - 1, Mapping { virt, phys, size, ..mapping }, frame)?;
                }
            }
        }
        Ok(())
    }
}

/// `size` bytes at `virt` by the entries of `level` that cover them: distance from the start, and length, of each part.
fn parts(level: u32, virt: VirtAddr, size: u64) -> impl Iterator<Item = (u64, u64)> {
    let span = 1u64 << shift(level);
    let first = (span - (virt.get() & (span - 1))).min(size);
    let next = move |&(done, part): &(u64, u64)| Some((done + part, span.min(size - done - part)));
    core::iter::successors(Some((0, first)), next).take_while(|&(_, part)| part != 0)
}

#[cfg(test)]
mod formats;
#[cfg(test)]
mod runs;
#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Host;
    use crate::mmu::arena::Arena;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const RW: Attributes = Attributes::READ.union(Attributes::WRITE);

    fn mapping(virt: u64, phys: u64, size: u64) -> Mapping {
        Mapping { virt: VirtAddr::new(virt), phys: PhysAddr::truncate(phys), size, attributes: RW }
    }

    fn map(arena: &Arena, table: &Table<Host>, m: Mapping) -> Result<(), MapError> {
        table.map(arena, m, &mut |_, _| Ok(arena.table()))
    }

    #[test]
    fn the_largest_leaf_that_fits_is_used() {
        let arena = Arena::default();
        let table = Table::<Host>::new(arena.table());
        assert_eq!(map(&arena, &table, mapping(0x1F_F000, 0x3F_F000, 0x20_2000)), Ok(()));
        let level = |virt| table.lookup(&arena, VirtAddr::new(virt)).map(|(_, _, level)| level);
        assert_eq!([level(0x1F_F000), level(0x20_0000), level(0x40_0000)], [Some(1), Some(2), Some(1)]);
        assert_eq!(level(0x40_1000), None);
        assert_eq!(arena.tables(), 5, "top, two directories, a leaf table on each side of the large page");
    }

    #[test]
    fn what_is_mapped_is_not_replaced() {
        let arena = Arena::default();
        let table = Table::<Host>::new(arena.table());
        assert_eq!(map(&arena, &table, mapping(0x20_0000, 0x20_0000, 0x20_0000)), Ok(()));
        let inside = VirtAddr::new(0x20_1000);
        assert_eq!(map(&arena, &table, mapping(0x20_1000, 0, 0x1000)), Err(MapError::Occupied(inside)));
        let outcome: Result<_, MapError> = table.descend(&arena, inside, 1, &mut |_, _| Ok(arena.table()));
        assert_eq!(outcome, Err(MapError::Occupied(inside)));
    }

    #[test]
    fn a_large_page_fits_where_small_ones_have_been() {
        let arena = Arena::default();
        let table = Table::<Host>::new(arena.table());
        assert_eq!(map(&arena, &table, mapping(0x20_0000, 0x5000, 0x1000)), Ok(()));
        let range = (VirtAddr::new(0x20_0000), 0x1000);
        let none = Attributes::empty();
        assert_eq!(table.restrict(&arena, range, none, &mut |_, _| Err(OutOfMemory::Pool), &mut |_| {}), Ok(()));
        assert_eq!(map(&arena, &table, mapping(0x20_0000, 0x40_0000, 0x20_0000)), Ok(()));
        let found = table.lookup(&arena, VirtAddr::new(0x30_0000)).map(|(phys, _, level)| (phys.get(), level));
        assert_eq!(found, Some((0x50_0000, 1)));
    }

    #[test]
    fn a_missing_frame_and_a_misaligned_range_are_values() {
        let arena = Arena::default();
        let table = Table::<Host>::new(arena.table());
        assert_eq!(
            table.map(&arena, mapping(0, 0, 0x1000), &mut |_, _| Err(OutOfMemory::Pool)),
            Err(OutOfMemory::Pool.into())
        );
        for bad in [mapping(1, 0, 0x1000), mapping(0, 0x10, 0x1000), mapping(0, 0, 0x123)] {
            assert_eq!(map(&arena, &table, bad), Err(MapError::Misaligned));
        }
        assert_eq!(map(&arena, &table, mapping(u64::MAX << 12, 0, 0x2000)), Err(MapError::Misaligned));
        assert_eq!(map(&arena, &table, mapping(u64::MAX << 12, 0, 0x1000)), Ok(()), "the last page can be mapped");
    }

    /// Pages that are looked at: under Miri a sample.
    fn looked_at() -> impl Iterator<Item = u64> {
        (0..4096).step_by(if cfg!(miri) { 61 } else { 1 })
    }

    proptest! {
        #[test]
        fn unmapping_takes_exactly_the_range(
            large in 0u64..4, page in 0u64..2048, pages in 1u64..1500,
        ) {
            let arena = Arena::default();
            let table = Table::<Host>::new(arena.table());
            prop_assert_eq!(map(&arena, &table, mapping(large << 21, large << 21, 3 << 21)), Ok(()));
            let before = |at: u64| (large << 9..(large + 3) << 9).contains(&at).then_some(at);
            let range = (VirtAddr::new(page << 12), pages << 12);
            let outcome = table.restrict(&arena, range, Attributes::empty(), &mut |_, _| Ok(arena.table()), &mut |_| {});
            prop_assert_eq!(outcome, Ok(()));
            for at in looked_at() {
                let found = table.lookup(&arena, VirtAddr::new(at << 12)).map(|(phys, ..)| phys.page());
                let gone = (page..page + pages).contains(&at);
                prop_assert_eq!(found, before(at).filter(|_| !gone));
            }
        }

        #[test]
        fn tables_agree_with_a_map_of_pages(
            ranges in prop::collection::vec((0u64..2048, 0u64..4096, 1u64..1200), 1..8),
        ) {
            let arena = Arena::default();
            let table = Table::<Host>::new(arena.table());
            let mut model = BTreeMap::new();
            for (virt, phys, pages) in ranges {
                let outcome = map(&arena, &table, mapping(virt << 12, phys << 12, pages << 12));
                let first = (virt..virt + pages).find(|page| model.contains_key(page));
                prop_assert_eq!(outcome.is_ok(), first.is_none());
                if outcome.is_ok() {
                    model.extend((0..pages).map(|page| (virt + page, phys + page)));
                } else {
                    break; // What was mapped before the error is not specified further.
                }
                for page in looked_at() {
                    let found = table.lookup(&arena, VirtAddr::new(page << 12)).map(|(phys, ..)| phys.page());
                    prop_assert_eq!(found, model.get(&page).copied());
                }
            }
        }
    }
}
