//! A domain's user memory on one core: filled from the master table, on demand.
//!
//! Purpose: the tables of a (domain, core) pair are a cache of the domain's master; a page fault brings in the
//! directory entry that it needs. The unit is the directory entry: 2 MiB, or a large leaf.
//! Invariants: leaf tables belong to the domain and are shared by all its cores; directories and above are private.
//! Concurrency: the caller holds the space's lock. The precise protocol with sharer sets builds on this.
//! Source: lecture D:295, D:346-361; trap T7; design plan §3.
use crate::format::{Attributes, Entry, Format, Host};
use crate::frames::OutOfMemory;
use crate::mmu::Mmu;
use crate::table::{Result, Source, Table};
use abi::VirtAddr;

/// Level whose entries are private to a core.
const DIRECTORY: u32 = 2;

/// Copies the directory entry for `virt` from `master` to `local` if they differ. Whether the master has one.
///
/// # Errors
/// [`MapError::NoTable`](crate::table::MapError) if `frame`, a source of zeroed frames, fails.
pub fn sync(
    mmu: &impl Mmu,
    master: &Table<Host>,
    local: &Table<Host>,
    virt: VirtAddr,
    frame: Source<'_>,
) -> Result<bool> {
    let none = &mut |_, _| Err(OutOfMemory::Pool);
    let entry = master.descend(mmu, virt, DIRECTORY, none).map_or(0, |table| mmu.read(table, virt.index(DIRECTORY)));
    let present = Host::decode(entry, DIRECTORY) != Entry::Absent;
    if present {
        local.put(mmu, virt, DIRECTORY, entry, frame)?;
    }
    Ok(present)
}

/// Removes what `local` has copied of the directory entries for `size` bytes at `virt`; a fault brings back what the
/// master still has.
pub fn forget(mmu: &impl Mmu, local: &Table<Host>, virt: VirtAddr, size: u64) {
    const COVERED: u64 = abi::address::LARGE_PAGE_SIZE;
    let all = virt.get() & !(COVERED - 1)..virt.get().saturating_add(size);
    for at in all.step_by(COVERED as usize).map(VirtAddr::new) {
        if let Ok(directory) = local.descend(mmu, at, DIRECTORY, &mut |_, _| Err(OutOfMemory::Pool)) {
            mmu.write(directory, at.index(DIRECTORY), 0);
        }
    }
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
        sync(arena, master, local, VirtAddr::new(virt), &mut |_, _| Ok(arena.table()))
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
        forget(&arena, &local, VirtAddr::new(0x40_0000), 0x1000);
        forget(&arena, &local, VirtAddr::new(1 << 40), 0x1000);
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
}
