//! Tables seen by somebody who wants to know what was noted in the entries that go.
//!
//! Purpose: a revocation that reports whether what it takes was accessed or written.
//! Invariants: what goes, goes by an exchange, here as everywhere; so whatever the hardware has noted up to then is seen, and
//! nothing can be noted afterwards.
//! Concurrency: as for the tables below; the sum is the caller's own.
//! Source: lecture C:81-84; `docs/src/decisions/0030-revocations-report.md`.
use super::Mmu;
use crate::format::Format;
use abi::PhysAddr;
use abi::operation::Noted;
use core::cell::Cell;
use core::marker::PhantomData;

/// Access to tables in format `F` through `M`, which remembers what was noted in all entries that were exchanged.
#[derive(Debug)]
pub struct Noting<'m, M, F> {
    mmu: &'m M,
    found: Cell<u64>,
    format: PhantomData<F>,
}

impl<'m, M: Mmu, F: Format> Noting<'m, M, F> {
    /// Nothing so far.
    pub const fn new(mmu: &'m M) -> Self {
        Self { mmu, found: Cell::new(0), format: PhantomData }
    }

    /// What was noted in any of the entries so far.
    pub fn noted(&self) -> Noted {
        let found = self.found.get();
        let mut noted = Noted::empty();
        noted.set(Noted::ACCESSED, found & F::EVIDENCE & F::ACCESSED != 0);
        noted.set(Noted::DIRTY, found & F::EVIDENCE & !F::ACCESSED != 0);
        noted
    }
}

impl<M: Mmu, F: Format> Mmu for Noting<'_, M, F> {
    fn read(&self, table: PhysAddr, index: usize) -> u64 {
        self.mmu.read(table, index)
    }
    fn write(&self, table: PhysAddr, index: usize, entry: u64) {
        self.mmu.write(table, index, entry);
    }
    fn exchange(&self, table: PhysAddr, index: usize, entry: u64) -> u64 {
        let old = self.mmu.exchange(table, index, entry);
        self.found.set(self.found.get() | old);
        old
    }
    fn sharers(&self, table: PhysAddr) -> u64 {
        self.mmu.sharers(table)
    }
    fn share(&self, table: PhysAddr, cores: u64) {
        self.mmu.share(table, cores);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Attributes, Dma, Ept, Host};
    use crate::mmu::arena::Arena;
    use crate::table::{Mapping, Table};
    use abi::VirtAddr;
    use proptest::prelude::*;

    /// Small pages that are mapped.
    const LEAVES: u64 = if cfg!(miri) { 96 } else { 1536 };

    /// Maps them, of which some entries have noted something, takes `pages` from `first` on, and gives what is told of them
    /// and what should be.
    fn told<F: Format>(noted: &[(u64, bool, bool)], (first, pages): (u64, u64), left: Attributes) -> (Noted, Noted) {
        let arena = Arena::default();
        let table = Table::<F>::new(arena.table());
        let rights = Attributes::READ | Attributes::WRITE | Attributes::USER;
        for leaf in 0..LEAVES {
            let (virt, phys) = (VirtAddr::new(leaf << 12), PhysAddr::truncate(leaf << 12));
            let mapping = Mapping { virt, phys, size: 4096, attributes: rights };
            assert_eq!(table.map(&arena, mapping, &mut |_, _| Ok(arena.table())), Ok(()));
        }
        let mut expected = Noted::empty();
        for &(page, accessed, dirty) in noted {
            let bits = if accessed { F::EVIDENCE & F::ACCESSED } else { 0 }
                | if dirty { F::EVIDENCE & !F::ACCESSED } else { 0 };
            let virt = VirtAddr::new(page << 12);
            let found = table.descend(&arena, virt, 1, &mut |_, _| Ok(arena.table()));
            let Ok(leaves) = found else { panic!("it is mapped") };
            let old = arena.read(leaves, virt.index(1));
            arena.write(leaves, virt.index(1), old | bits);
            if (first..first + pages).contains(&page) {
                expected.set(Noted::ACCESSED, expected.contains(Noted::ACCESSED) || accessed && F::EVIDENCE != 0);
                expected.set(Noted::DIRTY, expected.contains(Noted::DIRTY) || dirty && F::EVIDENCE != 0);
            }
        }
        let noting = Noting::<_, F>::new(&arena);
        let range = (VirtAddr::new(first << 12), pages << 12);
        assert_eq!(table.restrict(&noting, range, left, &mut |_, _| Ok(arena.table()), &mut |_| {}), Ok(()));
        (noting.noted(), expected)
    }

    proptest! {
        #[test]
        fn what_is_told_is_what_was_noted_of_the_pages_that_go(
            noted in prop::collection::vec((0..LEAVES, any::<bool>(), any::<bool>()), 0..6),
            first in 0..LEAVES * 2 / 3, pages in 1..=LEAVES / 3, weaken: bool,
        ) {
            let left = if weaken { !Attributes::WRITE } else { Attributes::empty() };
            for (told, expected) in [
                told::<Host>(&noted, (first, pages), left),
                told::<Ept>(&noted, (first, pages), left),
                told::<Dma>(&noted, (first, pages), left),
            ] {
                prop_assert_eq!(told, expected);
            }
        }
    }

    #[test]
    fn of_a_large_leaf_that_is_divided_all_is_told() {
        let arena = Arena::default();
        let table = Table::<Ept>::new(arena.table());
        let (virt, phys) = (VirtAddr::new(0x20_0000), PhysAddr::truncate(0x20_0000));
        let mapping = Mapping { virt, phys, size: 0x20_0000, attributes: Attributes::READ };
        assert_eq!(table.map(&arena, mapping, &mut |_, _| Ok(arena.table())), Ok(()));
        let Ok(directory) = table.descend(&arena, virt, 2, &mut |_, _| Ok(arena.table())) else {
            panic!("it is there")
        };
        arena.write(directory, 1, arena.read(directory, 1) | Ept::EVIDENCE);
        let noting = Noting::<_, Ept>::new(&arena);
        let range = (VirtAddr::new(0x20_5000), 0x1000);
        let taken = table.restrict(&noting, range, Attributes::empty(), &mut |_, _| Ok(arena.table()), &mut |_| {});
        assert_eq!((taken, noting.noted()), (Ok(()), Noted::all()));
    }
}
