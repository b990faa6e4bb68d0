//! A domain's user memory on one core: filled from the master table, on demand.
//!
//! Purpose: the tables of a (domain, core) pair are a cache of the domain's master; a page fault brings in the
//! directory entry that it needs. The unit is the directory entry: 2 MiB, or a large leaf. What is taken from the master
//! goes from all of them at once.
//! Invariants: leaf tables belong to the domain and are shared by all its cores; directories and above are private. A core
//! that has an entry from the master is among the sharers: of the leaf table, or for a large leaf of the master's
//! directory. No private entry is left that the master does not have any more.
//! Concurrency: changes of the master hold the space's lock, filling does not: it looks again afterwards.
//! Source: lecture D:295, D:346-361; trap T7; design plan §3; `docs/src/shootdown.md`.
pub mod cache;
pub mod empty;
mod evidence;

use crate::format::{Attributes, Entry, Format, Host};
use crate::frames::OutOfMemory;
use crate::mmu::Mmu;
use crate::shootdown::{Machine, Pages, Shootdown, bit, members};
use crate::table::{Change, Result, Source, Table};
use abi::{PhysAddr, VirtAddr, address::PAGE_BITS};
use sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
    fence,
};

/// Level whose entries are private to a core.
pub(crate) const DIRECTORY: u32 = 2;
/// log2 of the bytes of such an entry.
const DIRECTORY_BITS: u32 = PAGE_BITS + 9;

/// What became of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// The master has nothing there.
    Absent,
    /// The core had what the master has already.
    Present,
    /// It has it now.
    Copied,
    /// The master changed meanwhile; the core has to forget what it remembers.
    Changed,
}

/// Copies the directory entry for `virt` from `master` to `local`, a table of core `id`, if they differ.
///
/// # Errors
/// [`MapError::NoTable`](crate::table::MapError) if `frame`, a source of zeroed frames, fails.
pub fn sync(
    mmu: &impl Mmu,
    master: &Table<Host>,
    (local, id): (&Table<Host>, u32),
    virt: VirtAddr,
    frame: Source<'_>,
) -> Result<Filled> {
    let Ok(directory) = existing(mmu, master, virt) else { return Ok(Filled::Absent) };
    // What a copy that is gone has left noted there is not noted of this one.
    let entry = mmu.read(directory, virt.index(DIRECTORY)) & !Host::EVIDENCE;
    let shared = match Host::decode(entry, DIRECTORY) {
        Entry::Absent => return Ok(Filled::Absent),
        Entry::Table(leaves) => leaves,
        Entry::Leaf(..) => directory,
    };
    mmu.share(shared, bit(id));
    // The processor may walk there as soon as it can.
    fence(SeqCst);
    if !local.put(mmu, virt, DIRECTORY, entry, frame)? {
        return Ok(Filled::Present);
    }
    // Whoever changes the master from here on finds what was put; who did before is seen.
    fence(SeqCst);
    if (mmu.read(directory, virt.index(DIRECTORY)) ^ entry) & !Host::EVIDENCE == 0 {
        return Ok(Filled::Copied);
    }
    forget(mmu, local, virt);
    Ok(Filled::Changed)
}

/// The directory for `virt`, if there is one.
pub(crate) fn existing(mmu: &impl Mmu, table: &Table<Host>, virt: VirtAddr) -> Result<PhysAddr> {
    table.descend(mmu, virt, DIRECTORY, &mut |_, _| Err(OutOfMemory::Pool))
}

/// Removes what `local` has copied of the directory entry for `virt`; a fault brings back what the master still has. What was
/// noted in it, of [`Host::EVIDENCE`].
pub fn forget(mmu: &impl Mmu, local: &Table<Host>, virt: VirtAddr) -> u64 {
    forget_all(mmu, local, virt, 1)
}

/// [`forget`] for so many directory entries of one directory; what was noted in any of them.
fn forget_all(mmu: &impl Mmu, local: &Table<Host>, virt: VirtAddr, count: usize) -> u64 {
    let Ok(directory) = existing(mmu, local, virt) else { return 0 };
    let entries = virt.index(DIRECTORY)..virt.index(DIRECTORY) + count;
    entries.fold(0, |noted, index| noted | mmu.exchange(directory, index, 0) & Host::EVIDENCE)
}

/// A domain, as a shootdown sees it.
#[derive(Clone, Copy)]
pub struct Space<'a, V> {
    /// The master.
    pub master: &'a Table<Host>,
    /// The root of a core's view, if it has one.
    pub view: &'a V,
}

impl<V: Fn(u32) -> Option<PhysAddr>> Space<'_, V> {
    /// Leaves of `size` bytes at `virt`, both multiples of the page size, only the rights in `left`, and nothing at all if
    /// that is empty, in the master and what the cores have copied. What they remember is left to `shootdown`.
    ///
    /// # Errors
    /// As for [`Table::restrict`].
    pub fn restrict(
        &self,
        (mmu, machine): (&impl Mmu, &impl Machine),
        (virt, size): (VirtAddr, u64),
        left: Attributes,
        frame: Source<'_>,
        shootdown: &mut Shootdown,
    ) -> Result<()> {
        let mut note = |change| self.note((mmu, machine), change, shootdown);
        self.master.restrict(mmu, (virt, size), left, frame, &mut note)
    }

    /// [`Self::restrict`] where all of the range lies in `leaves`, a table of leaves of the master.
    #[inline(always)]
    pub fn restrict_leaves(
        &self,
        (mmu, machine): (&impl Mmu, &impl Machine),
        leaves: PhysAddr,
        range: (VirtAddr, u64),
        left: Attributes,
        shootdown: &mut Shootdown,
    ) {
        if let Some(change) = Table::<Host>::new(leaves).take_leaves(mmu, range, left) {
            self.note((mmu, machine), change, shootdown);
        }
    }

    /// Takes large leaves, if nothing else lies in the range, from the master, in whose table `directory` they are, and what
    /// the cores have copied. What these remember is left to `shootdown`. False if there is something else, with nothing done.
    #[inline(always)]
    pub fn take_large(
        &self,
        (mmu, machine): (&impl Mmu, &impl Machine),
        directory: PhysAddr,
        (virt, size): (VirtAddr, u64),
        shootdown: &mut Shootdown,
    ) -> bool {
        let taken = Table::<Host>::new(directory).take_large(mmu, (DIRECTORY, virt), size >> DIRECTORY_BITS);
        if taken {
            self.note((mmu, machine), Change { table: directory, level: DIRECTORY, virt, size }, shootdown);
        }
        taken
    }

    /// Removes what the cores have copied of a change of the master, and notes what they may remember.
    #[inline(always)]
    fn note(&self, (mmu, machine): (&impl Mmu, &impl Machine), change: Change, shootdown: &mut Shootdown) {
        // Who is led there from here on is among the sharers, or finds it changed.
        #[cfg(any(test, feature = "shadow"))]
        crate::shadow::watch(self, (mmu, machine), &change);
        let sharers = shootdown.sharers(|| mmu.sharers(change.table));
        if sharers != 0 {
            self.note_shared((mmu, machine), change, sharers, shootdown);
        }
    }

    #[inline(never)]
    fn note_shared(
        &self,
        (mmu, machine): (&impl Mmu, &impl Machine),
        change: Change,
        mut sharers: u64,
        shootdown: &mut Shootdown,
    ) {
        let mut pages = Pages::new(change.virt.get(), change.size);
        if change.level >= DIRECTORY {
            let (entries, mut noted) = (entries(&change), 0);
            let copied = |id: &u32| {
                let view = (self.view)(*id).map(Table::new);
                let found = view.map_or(0, |view| forget_all(mmu, &view, change.virt, entries));
                noted |= found;
                found & Host::ACCESSED != 0
            };
            sharers = members(sharers, machine.cores()).filter(copied).fold(0, |set, id| set | bit(id));
            pages = Pages::ALL;
            if noted != 0 && change.level == DIRECTORY {
                evidence::inherit(mmu, change.table, change.virt, noted);
            }
        }
        shootdown.add((mmu, machine), sharers, self.view, pages);
    }
}

/// Entries of a directory that a change of it, or of a table below, concerns.
pub(crate) const fn entries(change: &Change) -> usize {
    change.size.div_ceil(1 << DIRECTORY_BITS) as usize
}

/// The directory of a master that was asked for last: the next one is often the same.
#[derive(Debug, Default)]
pub struct Latest {
    /// The last address that it translates, 0 before there is one.
    end: AtomicU64,
    directory: AtomicU64,
}

impl Latest {
    /// That directory may go. Whoever takes it holds the space's lock.
    fn forget(&self) {
        self.end.store(0, Relaxed);
    }

    /// The table of leaves for `virt` (`level` 1), or the directory (2), if there is one. Whoever asks holds the space's lock.
    #[inline(always)]
    pub fn table_at(&self, mmu: &impl Mmu, master: Table<Host>, virt: VirtAddr, level: u32) -> Option<Table<Host>> {
        let end = virt.get() | ((1 << (DIRECTORY_BITS + 9)) - 1);
        let directory = if self.end.load(Relaxed) == end {
            Table::new(PhysAddr::known(self.directory.load(Relaxed)))
        } else {
            self.find(mmu, master, virt, end)?
        };
        if level == DIRECTORY { Some(directory) } else { below(mmu, directory, virt, DIRECTORY) }
    }

    #[inline(never)]
    fn find(&self, mmu: &impl Mmu, master: Table<Host>, virt: VirtAddr, end: u64) -> Option<Table<Host>> {
        let directory = below(mmu, below(mmu, master, virt, Host::LEVELS)?, virt, DIRECTORY + 1)?;
        self.directory.store(directory.root().get(), Relaxed);
        self.end.store(end, Relaxed);
        Some(directory)
    }
}

/// The table that the entry of `table`, one of `level`, for `virt` refers to, if it does.
#[inline(always)]
fn below(mmu: &impl Mmu, table: Table<Host>, virt: VirtAddr, level: u32) -> Option<Table<Host>> {
    let entry = mmu.read(table.root(), virt.index(level));
    Host::target(entry).filter(|_| !Host::is_large(entry)).map(Table::new)
}

/// Whether `table` certainly translates `virt` to nothing; it may also do so if not.
#[inline]
pub fn lacks(mmu: &impl Mmu, mut table: Table<Host>, virt: VirtAddr) -> bool {
    for level in (1..=Host::LEVELS).rev() {
        let entry = mmu.read(table.root(), virt.index(level));
        match Host::target(entry) {
            None => return true,
            Some(_) if Host::is_large(entry) => return false,
            Some(next) => table = Table::new(next),
        }
    }
    false
}

/// Whether `table` allows ring 3 an access with `needed` rights at `virt`: then a fault was spurious.
pub fn allows(mmu: &impl Mmu, table: &Table<Host>, virt: VirtAddr, needed: Attributes) -> bool {
    let needed = needed | Attributes::READ | Attributes::USER;
    table.lookup(mmu, virt).is_some_and(|(_, attributes, _)| attributes.contains(needed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mmu::arena::Arena;
    use crate::table::Mapping;
    use abi::PhysAddr;

    fn map(arena: &Arena, table: &Table<Host>, virt: u64, phys: u64, attributes: Attributes) {
        let (virt, phys) = (VirtAddr::new(virt), PhysAddr::truncate(phys));
        let mapping = Mapping { virt, phys, size: 4096, attributes };
        assert_eq!(table.map(arena, mapping, &mut |_, _| Ok(arena.table())), Ok(()));
    }

    fn fault(arena: &Arena, master: &Table<Host>, local: &Table<Host>, virt: u64) -> Result<bool> {
        let filled = sync(arena, master, (local, 0), VirtAddr::new(virt), &mut |_, _| Ok(arena.table()));
        filled.map(|filled| filled != Filled::Absent)
    }

    #[test]
    fn a_fault_brings_in_one_directory_entry_and_shares_the_leaf_table() {
        let arena = Arena::default();
        let (master, local) = (Table::<Host>::new(arena.table()), Table::<Host>::new(arena.table()));
        let rights = Attributes::READ | Attributes::USER;
        map(&arena, &master, 0x40_0000, 0x5000, rights);
        map(&arena, &master, 0x60_0000, 0x6000, rights);
        assert_eq!(fault(&arena, &master, &local, 0x40_0123), Ok(true));
        assert_eq!(fault(&arena, &master, &local, 0x40_0123), Ok(true));
        let seen = |virt| local.lookup(&arena, VirtAddr::new(virt)).map(|(phys, ..)| phys.get());
        assert_eq!((seen(0x40_0123), seen(0x60_0000)), (Some(0x5123), None), "the other 2 MiB are not touched");
        map(&arena, &master, 0x40_1000, 0x7000, rights);
        assert_eq!(seen(0x40_1000), Some(0x7000), "a new page in a shared leaf table needs no fault");
    }

    #[test]
    fn what_was_forgotten_comes_back_as_the_master_has_it() {
        let arena = Arena::default();
        let (master, local) = (Table::<Host>::new(arena.table()), Table::<Host>::new(arena.table()));
        map(&arena, &master, 0x40_0000, 0x5000, Attributes::READ | Attributes::USER);
        assert_eq!(fault(&arena, &master, &local, 0x40_0000), Ok(true));
        forget(&arena, &local, VirtAddr::new(0x40_0000));
        forget(&arena, &local, VirtAddr::new(1 << 40));
        assert_eq!(local.lookup(&arena, VirtAddr::new(0x40_0000)), None);
        assert_eq!(fault(&arena, &master, &local, 0x40_0000), Ok(true));
    }

    #[test]
    fn what_the_hardware_notes_in_an_entry_is_no_difference() {
        let arena = Arena::default();
        let (master, local) = (Table::<Host>::new(arena.table()), Table::<Host>::new(arena.table()));
        map(&arena, &master, 0x40_0000, 0x5000, Attributes::READ | Attributes::USER);
        assert_eq!(fault(&arena, &master, &local, 0x40_0000), Ok(true));
        let virt = VirtAddr::new(0x40_0000);
        let directory = local.descend(&arena, virt, DIRECTORY, &mut |_, _| Err(OutOfMemory::Pool));
        assert!(directory.is_ok());
        let Ok(directory) = directory else { return };
        let noted = arena.read(directory, virt.index(DIRECTORY)) | Host::EVIDENCE;
        arena.write(directory, virt.index(DIRECTORY), noted);
        assert_eq!(fault(&arena, &master, &local, 0x40_0000), Ok(true));
        assert_eq!(arena.read(directory, virt.index(DIRECTORY)), noted, "the notes are kept");
    }

    #[test]
    fn nothing_is_made_for_an_address_that_the_master_does_not_map() {
        let arena = Arena::default();
        let (master, local) = (Table::<Host>::new(arena.table()), Table::<Host>::new(arena.table()));
        let tables = arena.tables();
        assert_eq!(fault(&arena, &master, &local, 0x40_0000), Ok(false));
        assert_eq!(arena.tables(), tables);
    }

    #[test]
    fn an_access_that_is_allowed_already_is_spurious() {
        let arena = Arena::default();
        let master = Table::<Host>::new(arena.table());
        map(&arena, &master, 0x1000, 0x5000, Attributes::READ | Attributes::USER);
        let allowed = |virt, needed| allows(&arena, &master, VirtAddr::new(virt), needed);
        assert!(allowed(0x1000, Attributes::READ));
        assert!(!allowed(0x1000, Attributes::WRITE));
        assert!(!allowed(0x1000, Attributes::EXECUTE));
        assert!(!allowed(0x2000, Attributes::READ));
    }

    #[test]
    fn the_latest_directory_is_that_of_the_address() {
        let arena = Arena::default();
        let (master, latest) = (Table::<Host>::new(arena.table()), Latest::default());
        let root = || Table::new(master.root());
        let at = |virt, level| latest.table_at(&arena, root(), VirtAddr::new(virt), level).map(|table| table.root());
        let walked =
            |virt, level| master.descend(&arena, VirtAddr::new(virt), level, &mut |_, _| Err(OutOfMemory::Pool));
        assert_eq!((at(0, 1), at(0, 2)), (None, None));
        let places = [0, 0x20_0000, 0x4000_0000, 0x7f_0000_0000];
        for virt in places {
            map(&arena, &master, virt, 0x5000, Attributes::READ | Attributes::USER);
        }
        for virt in places.into_iter().chain(places.into_iter().rev()) {
            assert_eq!((at(virt, 1), at(virt, 2)), (walked(virt, 1).ok(), walked(virt, 2).ok()));
            assert_eq!(at(virt + 0x40_0000, 1), None, "no table of leaves in the same directory");
        }
        assert_eq!(at(0x8000_0000, 2), None);
    }
}
