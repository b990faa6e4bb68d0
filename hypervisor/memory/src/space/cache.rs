//! What a core's views have of user memory: a cache of the masters.
//!
//! Purpose: a core pays for pointer tables and directories, up to a limit. At the limit a view that was not used lately gives
//! some back; a fault brings in what is needed again.
//! Invariants: a view is in its core's ring while it may have such tables, and then its domain exists. What processors noted
//! in copies of large leaves is noted in the master before they go.
//! Concurrency: views join their own core's ring, and leave it there, or on any core that ends their domain: the ring has a
//! lock. Who empties a directory holds the domain's region, as do all who walk the views of others; what its own core
//! remembers is left to a shootdown of that core alone.
//! Source: F. Corbató, "A paging experiment with the Multics system" (1968): a second chance; design plan §3.
use super::existing;
use crate::format::{Format, Host};
use crate::mmu::Mmu;
use crate::shootdown::{Machine, Pages, Shootdown, bit};
use crate::table::Table;
use crate::tags::LOADS;
use abi::{PhysAddr, VirtAddr};
use sync::Spin;

/// Entries of the root of a view that nobody walks to: the neighbours in the ring, 0 outside of it, and whose view it is.
/// Absent to the processor.
const NEXT: usize = LOADS + 1;
const BEFORE: usize = LOADS + 2;
const OWNER: usize = LOADS + 3;
/// Entries of a root that are of user memory.
const USER: usize = 256;
/// Views that are passed over, because they were used, before one that was used has to give.
const CHANCES: usize = 8;

/// What a view had to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// Nothing now: another core is changing its domain's memory.
    Busy,
    /// Something, and there may be more.
    Some,
    /// What there was, or nothing.
    All,
}

/// The views of a core that may have tables of user memory: the root of the one whose turn it is to give some, 0 if there is
/// none.
pub struct Ring(Spin<u64>);

impl Default for Ring {
    fn default() -> Self {
        Self(Spin::new(0))
    }
}

impl Ring {
    /// The view at `root`, of the calling core, gets tables; its turn comes last. `owner`, an even word, says whose it is.
    #[inline]
    pub fn join(&self, mmu: &impl Mmu, root: PhysAddr, owner: u64) {
        if mmu.read(root, NEXT) != 0 {
            return;
        }
        let mut first = self.0.lock();
        if *first == 0 {
            *first = root.get();
            link(mmu, root, root);
        }
        let next = PhysAddr::truncate(*first);
        let last = PhysAddr::truncate(mmu.read(next, BEFORE));
        mmu.write(root, OWNER, owner);
        link(mmu, last, root);
        link(mmu, root, next);
    }

    /// The view at `root` is to give nothing from now on.
    pub fn part(&self, mmu: &impl Mmu, root: PhysAddr) {
        Self::part_from(&mut self.0.lock(), mmu, root);
    }

    fn part_from(first: &mut u64, mmu: &impl Mmu, root: PhysAddr) {
        let [next, before] = [NEXT, BEFORE].map(|entry| PhysAddr::truncate(mmu.read(root, entry)));
        if next.get() == 0 {
            return;
        }
        link(mmu, before, next);
        if *first == root.get() {
            *first = if next == root { 0 } else { next.get() };
        }
        [NEXT, BEFORE, OWNER].into_iter().for_each(|entry| mmu.write(root, entry, 0));
    }

    /// Lets `take`, which is told root and owner, take from one view, preferably one that was not used since it was last
    /// asked. Whether something was taken, or will be when it is asked again; there is nothing if not.
    pub fn give(&self, mmu: &impl Mmu, mut take: impl FnMut(PhysAddr, u64) -> Given) -> bool {
        let mut first = self.0.lock();
        for asked in 0..2 * CHANCES {
            if *first == 0 {
                return false;
            }
            let root = PhysAddr::truncate(*first);
            *first = mmu.read(root, NEXT);
            if asked < CHANCES && was_used(mmu, root) {
                continue;
            }
            match take(root, mmu.read(root, OWNER)) {
                Given::Busy => {}
                Given::Some => {
                    // It is its turn again.
                    *first = root.get();
                    return true;
                }
                Given::All => {
                    Self::part_from(&mut first, mmu, root);
                    return true;
                }
            }
        }
        true
    }
}

fn link(mmu: &impl Mmu, before: PhysAddr, next: PhysAddr) {
    mmu.write(before, NEXT, next.get());
    mmu.write(next, BEFORE, before.get());
}

/// Whether the processor has walked from `root` to user memory since this was last asked.
fn was_used(mmu: &impl Mmu, root: PhysAddr) -> bool {
    (0..USER).fold(false, |used, index| {
        let entry = mmu.read(root, index);
        if entry & Host::ACCESSED != 0 {
            mmu.write(root, index, entry & !Host::ACCESSED);
        }
        used || entry & Host::ACCESSED != 0
    })
}

/// Takes `tables` back that the view at `root`, of the calling core, had of user memory: no entry refers to them any more, and
/// where one is a directory it is said from which address on. They are empty then; they may be used again when `shootdown` is
/// finished.
pub fn take_back(
    (mmu, machine): (&impl Mmu, &impl Machine),
    master: &Table<Host>,
    root: PhysAddr,
    tables: impl Iterator<Item = (PhysAddr, Option<VirtAddr>)>,
    shootdown: &mut Shootdown,
) {
    for (table, virt) in tables {
        if let Some(virt) = virt {
            empty(mmu, master, table, virt);
        }
    }
    let own = machine.own();
    shootdown.add((mmu, machine), bit(own), &|id| (id == own).then_some(root), Pages::ALL);
}

/// Empties `directory`, for the addresses from `virt` on.
fn empty(mmu: &impl Mmu, master: &Table<Host>, directory: PhysAddr, virt: VirtAddr) {
    let of_master = existing(mmu, master, virt);
    for index in 0..512 {
        let entry = mmu.read(directory, index);
        if entry == 0 {
            continue;
        }
        let noted = mmu.exchange(directory, index, 0) & Host::EVIDENCE;
        // A copy is there while the master has the leaf; the processor does not walk to that.
        if let (true, Ok(of_master)) = (Host::is_large(entry) && noted != 0, of_master) {
            mmu.write(of_master, index, mmu.read(of_master, index) | noted);
        }
    }
}

#[cfg(test)]
#[cfg(not(any(loom, shuttle)))]
mod tests;
