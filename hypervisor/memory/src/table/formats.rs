//! Tables of every format against a map of pages, with leaves of all sizes that the format has.
//!
//! Purpose: what is mapped, taken in part, left with fewer rights and given more is what the map says after each step; who pays
//! for tables pays for those that are there and for those that large leaves may need, and taking never asks for more.
//! Invariants: none.
//! Concurrency: one thread.
//! Source: design plan §3; `docs/src/testing.md`.

use super::*;
use crate::format::{Dma, Ept, Giant, Host};
use crate::mmu::arena::Arena;
use proptest::prelude::*;
use std::collections::BTreeMap;

const RW: Attributes = Attributes::READ.union(Attributes::WRITE).union(Attributes::USER);
const GIB: u64 = 1 << 18;

/// A step: pages from a unit on, as far as they go, mapped to others, or with fewer rights.
#[derive(Clone, Copy, Debug)]
enum Step {
    Map(u64, u64, u64),
    Restrict(u64, u64, Attributes),
    Raise(u64, u64),
}

/// Ranges whose ends lie on boundaries of all sizes.
fn edge() -> impl Strategy<Value = u64> {
    (0..2u64, 0..3u64, 0..3u64).prop_map(|(giants, larges, pages)| giants * GIB + larges * 512 + pages)
}

fn step() -> impl Strategy<Value = Step> {
    let map = (edge(), edge(), edge()).prop_map(|(virt, phys, pages)| Step::Map(virt, phys, pages + 1));
    let left = prop_oneof![Just(Attributes::empty()), Just(!Attributes::WRITE)];
    let restrict = (edge(), edge(), left).prop_map(|(virt, pages, left)| Step::Restrict(virt, pages + 1, left));
    let raise = (edge(), edge()).prop_map(|(virt, pages)| Step::Raise(virt, pages + 1));
    prop_oneof![2 => map, 2 => restrict, 1 => raise]
}

/// What pages show, by their first page: how many, which, and whether they can be written. Runs, as a gigabyte has many.
#[derive(Default)]
struct Model(BTreeMap<u64, (u64, u64, bool)>);

impl Model {
    fn at(&self, page: u64) -> Option<(u64, bool)> {
        let (&start, &(count, phys, writable)) = self.0.range(..=page).next_back()?;
        (page < start + count).then_some((phys + (page - start), writable))
    }

    /// Divides the run that has pages on both sides of `page`.
    fn cut(&mut self, page: u64) {
        if let Some((&start, &(count, phys, writable))) = self.0.range(..page).next_back()
            && page < start + count
        {
            self.0.insert(start, (page - start, phys, writable));
            self.0.insert(page, (start + count - page, phys + (page - start), writable));
        }
    }

    fn restrict(&mut self, page: u64, count: u64, left: Attributes) {
        [page, page + count].into_iter().for_each(|edge| self.cut(edge));
        self.0.range_mut(page..page + count).for_each(|(_, run)| run.2 = false);
        if left.is_empty() {
            self.0.retain(|start, _| !(page..page + count).contains(start));
        }
    }

    /// Makes what the range shows writable, as far as `raised` says so of the first page of each run, if not all of it.
    fn raise(&mut self, page: u64, count: u64, all: bool, raised: impl Fn(u64) -> bool) {
        for at in probes().chain([page, page + count]) {
            if (page..=page + count).contains(&at) {
                self.cut(at);
            }
        }
        self.0.range_mut(page..page + count).for_each(|(&start, run)| run.2 = run.2 || all || raised(start));
    }

    fn is_free(&self, page: u64, count: u64) -> bool {
        self.at(page).is_none() && self.0.range(page..page + count).next().is_none()
    }
}

/// Pages at which something can begin or end.
fn probes() -> impl Iterator<Item = u64> {
    let near = |edge: u64| [edge.wrapping_sub(1), edge];
    (0..5u64)
        .flat_map(|giants| (0..7u64).map(move |larges| giants * GIB + larges * 512))
        .flat_map(move |at| (0..8u64).flat_map(move |pages| near(at + pages)))
        .filter(|&page| page < 5 * GIB)
        .step_by(if cfg!(miri) { 37 } else { 1 })
}

/// Who pays for tables, and has paid for all there are but the first.
struct Payer<'a> {
    arena: &'a Arena,
    left: u32,
    aside: u32,
}

impl Payer<'_> {
    fn pay(&mut self, count: u32) -> Result<(), OutOfMemory> {
        self.left = self.left.checked_sub(count).ok_or(OutOfMemory::Quota)?;
        Ok(())
    }
}

impl Supply for Payer<'_> {
    fn table(&mut self, table: PhysAddr, index: usize) -> Result<PhysAddr, OutOfMemory> {
        assert_eq!(self.arena.read(table, index), 0);
        self.pay(1).map(|()| self.arena.table())
    }
    fn reserve(&mut self, count: u32) -> Result<(), OutOfMemory> {
        self.pay(count).map(|()| self.aside += count)
    }
    fn reserved(&mut self, table: PhysAddr, index: usize) -> Result<PhysAddr, OutOfMemory> {
        assert_ne!(self.arena.read(table, index), 0);
        self.aside = self.aside.checked_sub(1).expect("it was set aside");
        Ok(self.arena.table())
    }
    fn release(&mut self, count: u32) {
        self.aside = self.aside.checked_sub(count).expect("it was set aside");
        self.left += count;
    }
}

/// Tables that would have to be made to have nothing but pages below a table of `level`.
fn missing<F: Format>(arena: &Arena, table: PhysAddr, level: u32) -> u32 {
    let of = |index: usize| match F::decode(arena.read(table, index), level) {
        Entry::Table(next) if level > 1 => missing::<F>(arena, next, level - 1),
        Entry::Leaf(..) => (1..level).map(|below| 512u32.pow(below - 1)).sum(),
        _ => 0,
    };
    (0..512).map(of).sum()
}

fn agrees<F: Format>(steps: &[Step], limit: u32) {
    let (arena, mut model) = (Arena::default(), Model::default());
    let table = Table::<F>::new(arena.table());
    let mut payer = Payer { arena: &arena, left: limit, aside: 0 };
    for &step in steps {
        match step {
            Step::Map(virt, phys, count) if model.is_free(virt, count) => {
                let mapping = Mapping {
                    virt: VirtAddr::new(virt << 12),
                    phys: PhysAddr::truncate(phys << 12),
                    size: count << 12,
                    attributes: RW,
                };
                match table.map(&arena, mapping, &mut payer) {
                    Ok(()) => _ = model.0.insert(virt, (count, phys, true)),
                    Err(error) => {
                        assert_eq!(error, OutOfMemory::Quota.into());
                        let range = (mapping.virt, mapping.size);
                        let none = Attributes::empty();
                        assert_eq!(table.restrict(&arena, range, none, &mut payer, &mut |_| {}), Ok(()));
                    }
                }
            }
            Step::Map(..) => {}
            Step::Restrict(virt, count, left) => {
                let range = (VirtAddr::new(virt << 12), count << 12);
                assert_eq!(table.restrict(&arena, range, left, &mut payer, &mut |_| {}), Ok(()));
                model.restrict(virt, count, left);
            }
            Step::Raise(virt, count) => {
                let tables = arena.tables();
                let complete = table.raise(&arena, (VirtAddr::new(virt << 12), count << 12), RW);
                assert_eq!(tables, arena.tables());
                let larger = |page: u64| table.lookup(&arena, VirtAddr::new(page << 12)).is_some_and(|(.., at)| at > 1);
                assert!(
                    complete || larger(virt) || larger(virt + count - 1),
                    "only large leaves can be covered in part"
                );
                // What is complete is raised in full, and what is not at most that.
                let raised = |page: u64| {
                    table.lookup(&arena, VirtAddr::new(page << 12)).is_some_and(|(_, rights, _)| rights.contains(RW))
                };
                model.raise(virt, count, complete, raised);
                // The kernel divides what is large then, without a change, and raises again.
                let range = (VirtAddr::new(virt << 12), count << 12);
                assert_eq!(table.restrict(&arena, range, Attributes::all(), &mut payer, &mut |_| {}), Ok(()));
                assert!(table.raise(&arena, range, RW));
                model.raise(virt, count, true, |_| true);
            }
        }
        assert_eq!(payer.aside, missing::<F>(&arena, table.root(), F::LEVELS), "each leaf has set aside what it needs");
        assert_eq!(
            payer.left + payer.aside + arena.tables() as u32,
            limit + 1,
            "all that is paid for is used or set aside"
        );
        for page in probes() {
            let next = model.0.range(page..).next().map(|(&start, _)| start);
            let free = if model.at(page).is_some() { 0 } else { next.unwrap_or(u64::MAX).min(page + GIB) - page };
            assert_eq!(table.free(&arena, (VirtAddr::new(page << 12), GIB << 12)), free << 12, "page {page:#x}");
            let found = table.lookup(&arena, VirtAddr::new(page << 12));
            let found = found.map(|(phys, rights, _)| (phys.page(), rights.contains(Attributes::WRITE)));
            assert_eq!(found, model.at(page), "page {page:#x}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 16 }))]
    #[test]
    fn tables_of_every_format_agree_with_a_map_of_pages(
        steps in prop::collection::vec(step(), 1..if cfg!(miri) { 3 } else { 6 }),
        limit in prop_oneof![2 => Just(1 << 20), 1 => 0u32..2000, 1 => 0u32..20],
    ) {
        agrees::<Host>(&steps, limit);
        agrees::<Giant<Host>>(&steps, limit);
        agrees::<Giant<Ept>>(&steps, limit);
        agrees::<Giant<Dma>>(&steps, limit);
    }
}

#[test]
fn what_a_large_leaf_set_aside_is_used_or_given_back() {
    let none = Attributes::empty();
    let steps = [
        Step::Map(512, 512, 1024),
        // Taken whole; divided, and then the rest.
        Step::Restrict(512, 512, none),
        Step::Restrict(1027, 1, none),
        Step::Restrict(1024, 512, none),
        // Divided for a right, and then taken whole.
        Step::Map(GIB, 2 * GIB, GIB),
        Step::Restrict(GIB + 1, 1, !Attributes::WRITE),
        Step::Restrict(GIB, GIB, none),
    ];
    agrees::<Host>(&steps, 1 << 20);
    agrees::<Giant<Ept>>(&steps, 1 << 20);
}

#[test]
fn only_formats_that_have_them_use_leaves_of_a_gigabyte() {
    fn level<F: Format>() -> (Option<u32>, usize) {
        let (arena, table) = (Arena::default(), PhysAddr::truncate(0));
        arena.table();
        let mapping =
            Mapping { virt: VirtAddr::new(1 << 30), phys: PhysAddr::truncate(1 << 30), size: 1 << 30, attributes: RW };
        assert_eq!(Table::<F>::new(table).map(&arena, mapping, &mut |_, _| Ok(arena.table())), Ok(()));
        let found = Table::<F>::new(table).lookup(&arena, VirtAddr::new(1 << 30));
        (found.map(|(.., level)| level), arena.tables())
    }
    assert_eq!(level::<Giant<Host>>(), (Some(3), 2));
    assert_eq!(level::<Host>(), (Some(2), 3));
    assert_eq!(level::<Giant<Ept>>(), (Some(3), 2));
    assert_eq!(level::<Ept>(), (Some(2), 3));
    assert_eq!(level::<Giant<Dma>>(), (Some(3), 2));
}

#[test]
fn a_gigabyte_of_which_a_page_is_taken_is_divided_twice() {
    let arena = Arena::default();
    let table = Table::<Giant<Ept>>::new(arena.table());
    let mapping = Mapping { virt: VirtAddr::new(0), phys: PhysAddr::truncate(0), size: 1 << 30, attributes: RW };
    assert_eq!(table.map(&arena, mapping, &mut |_, _| Ok(arena.table())), Ok(()));
    let range = (VirtAddr::new(0x40_3000), 0x1000);
    let none = Attributes::empty();
    assert_eq!(table.restrict(&arena, range, none, &mut |_, _| Ok(arena.table()), &mut |_| {}), Ok(()));
    let level = |virt| table.lookup(&arena, VirtAddr::new(virt)).map(|(.., level)| level);
    assert_eq!([level(0x40_3000), level(0x40_2000), level(0x20_0000)], [None, Some(1), Some(2)]);
    assert_eq!(arena.tables(), 4);
    // Without memory for the division nothing of it is left.
    let other = Table::<Giant<Ept>>::new(arena.table());
    assert_eq!(other.map(&arena, mapping, &mut |_, _| Ok(arena.table())), Ok(()));
    let failed = other.restrict(&arena, range, none, &mut |_, _| Err(OutOfMemory::Pool), &mut |_| {});
    assert_eq!((failed.is_err(), other.lookup(&arena, VirtAddr::new(0))), (true, None));
}

#[test]
fn rights_are_added_in_place_and_what_was_noted_stays() {
    let (arena, mut source) = (Arena::default(), 0);
    let table = Table::<Host>::new(arena.table());
    let read = Mapping {
        virt: VirtAddr::new(0x1000),
        phys: PhysAddr::truncate(0x5000),
        size: 0x3000,
        attributes: Attributes::READ | Attributes::USER,
    };
    let mut frame = |_: PhysAddr, _: usize| {
        source += 1;
        Ok(arena.table())
    };
    assert_eq!(table.map(&arena, read, &mut frame), Ok(()));
    let leaves = table.descend(&arena, read.virt, 1, &mut frame).unwrap_or(PhysAddr::truncate(0));
    arena.write(leaves, 2, arena.read(leaves, 2) | Host::EVIDENCE);
    assert!(table.raise(&arena, (VirtAddr::new(0x2000), 0x4000), Attributes::WRITE));
    let rights =
        |virt| table.lookup(&arena, VirtAddr::new(virt)).map(|(_, rights, _)| rights.contains(Attributes::WRITE));
    assert_eq!(
        [rights(0x1000), rights(0x2000), rights(0x3000), rights(0x4000)],
        [Some(false), Some(true), Some(true), None]
    );
    let noted = |index| arena.read(leaves, index) & Host::EVIDENCE;
    assert_eq!([noted(2), noted(3)], [Host::EVIDENCE, 0]);
    // Dividing what is larger, which comes first, changes nothing else.
    let (large, mut changed) = (Mapping { virt: VirtAddr::new(0x20_0000), size: 0x40_0000, ..read }, 0);
    let large = Mapping { phys: PhysAddr::truncate(0x40_0000), ..large };
    assert_eq!(table.map(&arena, large, &mut frame), Ok(()));
    let range = (VirtAddr::new(0x2000), 0x20_0000);
    assert!(!table.raise(&arena, range, Attributes::WRITE));
    assert_eq!(table.restrict(&arena, range, Attributes::all(), &mut frame, &mut |_| changed += 1), Ok(()));
    assert!(table.raise(&arena, range, Attributes::WRITE));
    assert_eq!([noted(2), noted(3)], [Host::EVIDENCE, 0]);
    assert_eq!((source, changed, rights(0x20_1000), rights(0x20_2000)), (4, 1, Some(true), Some(false)));
}

#[test]
fn a_leaf_sets_aside_all_tables_below_it() {
    assert_eq!([1, 2, 3].map(crate::table::spare), [0, 1, 513]);
}
