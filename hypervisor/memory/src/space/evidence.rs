//! What processors have noted of pages: accessed, dirty.
//!
//! Purpose: a pager asks which pages were used since it last asked.
//! Invariants: what is cleared is forgotten by whoever may remember it, so that the next access is noted again. Of a large
//! leaf the copies are noted in, and in the master what was noted in copies that are gone: its value is that of all of them
//! together, and clearing takes them from the views. When it is divided its parts have its value.
//! Concurrency: as for the space: changes hold its lock.
//! Source: AMD64 manual volume 2, §5.4.2; Intel SDM volume 3, §4.8.
use super::{DIRECTORY, Space, existing, forget};
use crate::format::{Entry, Format, Host};
use crate::mmu::Mmu;
use crate::shootdown::{Machine, Pages, Shootdown, bit, members};
use crate::table::Table;
use abi::address::PAGE_SIZE;
use abi::{PhysAddr, VirtAddr};

/// What was noted of copies of a large leaf at `virt` of `directory` is noted of all of its parts, if it has been divided.
pub(super) fn inherit(mmu: &impl Mmu, directory: PhysAddr, virt: VirtAddr, noted: u64) {
    let Entry::Table(leaves) = Host::decode(mmu.read(directory, virt.index(DIRECTORY)), DIRECTORY) else { return };
    for index in 0..512 {
        let entry = mmu.read(leaves, index) | noted;
        // Who walks there already may have noted more meanwhile; that it was accessed is known.
        let missed = mmu.exchange(leaves, index, entry) & Host::EVIDENCE & !entry;
        if missed != 0 {
            mmu.exchange(leaves, index, entry | missed);
        }
    }
}

impl<V: Fn(u32) -> Option<PhysAddr>> Space<'_, V> {
    /// What is noted of the leaf at `virt`, of [`Host::EVIDENCE`], and the leaf's level; `None` if there is none. With `clear`
    /// it is not noted any more, once `shootdown` is finished.
    pub fn evidence(
        &self,
        (mmu, machine): (&impl Mmu, &impl Machine),
        virt: VirtAddr,
        clear: bool,
        shootdown: &mut Shootdown,
    ) -> Option<(u64, u32)> {
        let directory = existing(mmu, self.master, virt).ok()?;
        let (leaves, index) = match Host::decode(mmu.read(directory, virt.index(DIRECTORY)), DIRECTORY) {
            Entry::Absent => return None,
            Entry::Table(leaves) => (leaves, virt.index(1)),
            Entry::Leaf(..) => {
                return Some((self.copied((mmu, machine), directory, virt, clear, shootdown), DIRECTORY));
            }
        };
        let entry = mmu.read(leaves, index);
        if entry == 0 {
            return None;
        }
        let noted = if clear { mmu.exchange(leaves, index, entry & !Host::EVIDENCE) } else { entry } & Host::EVIDENCE;
        if clear && noted != 0 {
            let sharers = shootdown.sharers(|| mmu.sharers(leaves));
            shootdown.add((mmu, machine), sharers, self.view, Pages::new(virt.get(), PAGE_SIZE));
        }
        Some((noted, 1))
    }

    /// [`Self::evidence`] of a large leaf, whose copies are in the views of the sharers of `directory`.
    fn copied(
        &self,
        (mmu, machine): (&impl Mmu, &impl Machine),
        directory: PhysAddr,
        virt: VirtAddr,
        clear: bool,
        shootdown: &mut Shootdown,
    ) -> u64 {
        let index = virt.index(DIRECTORY);
        let entry = mmu.read(directory, index);
        let (mut noted, mut users) = (entry & Host::EVIDENCE, 0);
        if clear && noted != 0 {
            mmu.write(directory, index, entry & !Host::EVIDENCE);
        }
        for id in members(shootdown.sharers(|| mmu.sharers(directory)), machine.cores()) {
            let view = (self.view)(id).map(Table::new);
            let found = view.map_or(0, |view| match existing(mmu, &view, virt) {
                Ok(_) if clear => forget(mmu, &view, virt),
                Ok(copies) => mmu.read(copies, index) & Host::EVIDENCE,
                Err(_) => 0,
            });
            noted |= found;
            users |= if found != 0 { bit(id) } else { 0 };
        }
        if clear && users != 0 {
            shootdown.add((mmu, machine), users, self.view, Pages::ALL);
        }
        noted
    }
}
