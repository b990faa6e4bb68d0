//! The hardware that the memory code runs on, as a trait.
//!
//! Purpose: page tables are arrays of 512 words in frames of the kernel's pool. On the machine they are reached
//! through the pool's constant offset, on the host through an arena, and the algorithm cannot tell.
//! Invariants: a table is named by its physical address and was handed out by the frame allocator; an index is below
//! 512; an address that is not a table of the pool reads as 0 and swallows writes.
//! Concurrency: words are read and written as single atomic 64-bit accesses; the hardware walker reads at any time.
//! Source: AMD64 manual volume 2, §5.3; design plan §3 (two traits: `Mmu` and `Clock`).
mod noting;
#[cfg(test)]
mod recursive;

use abi::PhysAddr;

pub use noting::Noting;

/// Access to page tables.
pub trait Mmu {
    /// Entry `index` (below 512) of the table at `table`.
    fn read(&self, table: PhysAddr, index: usize) -> u64;
    /// Replaces entry `index` (below 512) of the table at `table`.
    fn write(&self, table: PhysAddr, index: usize, entry: u64);
    /// Replaces entry `index` (below 512) of the table at `table` at once: what was there, with what the hardware has noted.
    fn exchange(&self, table: PhysAddr, index: usize, entry: u64) -> u64;
    /// Writes `entry`, and after it entries that differ from one to the next by `step`, to the `count` words of the table at
    /// `table` from `index` on, if all of them are 0. Whether they were.
    fn fill(&self, table: PhysAddr, index: usize, count: usize, entry: u64, step: u64) -> bool {
        let free = (index..index + count).all(|index| self.read(table, index) == 0);
        let entries = core::iter::successors(Some(entry), |entry| Some(entry.wrapping_add(step)));
        if free {
            (index..index + count).zip(entries).for_each(|(index, entry)| self.write(table, index, entry));
        }
        free
    }
    /// As [`Self::fill`], where it is quick for a few words.
    fn fill_few(&self, table: PhysAddr, index: usize, count: usize, entry: u64, step: u64) -> bool {
        self.fill(table, index, count, entry, step)
    }
    /// [`Self::exchange`] of `count` entries for 0: which of them, as distances from `index`, are the first that had any of
    /// `bits` and the one after the last; the first is not lower if there were none.
    fn clear(&self, table: PhysAddr, index: usize, count: usize, bits: u64) -> (u64, u64) {
        let had = (0..count).map(|at| self.exchange(table, index + at, 0) & bits != 0);
        had.zip(0..).filter(|&(had, _)| had).fold((u64::MAX, 0), |(first, _), (_, at)| (first.min(at), at + 1))
    }
    /// The cores that may use the table at `table`, or copies of large leaves in it.
    fn sharers(&self, table: PhysAddr) -> u64;
    /// Adds `cores` to them.
    fn share(&self, table: PhysAddr, cores: u64);
}

#[cfg(test)]
pub(crate) mod arena {
    //! Page tables in ordinary memory.
    use super::Mmu;
    use abi::{PhysAddr, address::PAGE_BITS};
    use core::cell::RefCell;

    /// A machine whose memory is nothing but page tables; table n has the physical address n pages.
    #[derive(Default)]
    pub struct Arena(RefCell<Vec<[u64; 513]>>);

    impl Arena {
        /// A new empty table.
        pub fn table(&self) -> PhysAddr {
            let mut tables = self.0.borrow_mut();
            tables.push([0; 513]);
            PhysAddr::truncate((tables.len() as u64 - 1) << PAGE_BITS)
        }

        /// Number of tables made so far.
        pub fn tables(&self) -> usize {
            self.0.borrow().len()
        }
    }

    impl Mmu for Arena {
        fn read(&self, table: PhysAddr, index: usize) -> u64 {
            self.0.borrow()[table.page() as usize][index]
        }
        fn write(&self, table: PhysAddr, index: usize, entry: u64) {
            self.0.borrow_mut()[table.page() as usize][index] = entry;
        }
        fn exchange(&self, table: PhysAddr, index: usize, entry: u64) -> u64 {
            core::mem::replace(&mut self.0.borrow_mut()[table.page() as usize][index], entry)
        }
        fn sharers(&self, table: PhysAddr) -> u64 {
            self.read(table, 512)
        }
        fn share(&self, table: PhysAddr, cores: u64) {
            self.0.borrow_mut()[table.page() as usize][512] |= cores;
        }
    }
}
