//! A top-level table with an entry that refers to itself: tables as memory of the space that they make.
//!
//! Purpose: the lecture's other way to reach tables, beside the walk over a map of all of them that Vela has: addresses of
//! entries by shifting, what each way has to translate, and why it reaches the current space only.
//! Invariants: slot `n` of a root refers to that root, or to another one, which is then reached as a foreign space.
//! Concurrency: none.
//! Source: lecture D:404-421, D:431-445; rows 54 and 55.
use super::Mmu;
use super::arena::Arena;
use crate::format::{Attributes, Entry, Format, Host};
use crate::table::{Mapping, Table};
use abi::{PhysAddr, VirtAddr};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Slots of the own space, and of another.
const OWN: u64 = 510;
const FOREIGN: u64 = 509;

/// A space whose slot [`OWN`] is itself.
fn space(arena: &Arena) -> Table<Host> {
    let root = arena.table();
    arena.write(root, OWN as usize, Host::table(root));
    Table::new(root)
}

/// Maps a page.
fn map(arena: &Arena, space: &Table<Host>, page: u64) {
    let (virt, phys) = (VirtAddr::new(page << 12), PhysAddr::truncate(page << 12));
    let mapping = Mapping { virt, phys, size: 4096, attributes: Attributes::READ };
    assert_eq!(space.map(arena, mapping, &mut |_, _| Ok(arena.table())), Ok(()));
}

/// What the processor finds at `address`: four levels, whatever the entries are. Table and index of the word.
fn found(arena: &Arena, space: &Table<Host>, address: u64) -> Option<(PhysAddr, usize)> {
    let mut table = space.root();
    for level in (1..=4).rev() {
        let entry = arena.read(table, (address >> (3 + 9 * level) & 511) as usize);
        table = Host::target(entry)?;
    }
    Some((table, (address >> 3 & 511) as usize))
}

/// Where the entry of `level` for `virt` lies, of the space in slot `slot` of the current one.
const fn entry_address(slot: u64, virt: u64, level: u32) -> u64 {
    let mut address = virt;
    let mut up = 0;
    while up < level {
        // Through the slot once more, and everything else one level down.
        address = slot << 39 | (address & 0xFFFF_FFFF_FFFF) >> 9 & !7;
        up += 1;
    }
    address
}

/// The entry of `level` for `page` by a software walk: its table and index.
fn walked(arena: &Arena, space: &Table<Host>, page: u64, level: u32) -> Option<(PhysAddr, usize)> {
    let virt = VirtAddr::new(page << 12);
    let mut table = space.root();
    for at in (level + 1..=4).rev() {
        match Host::decode(arena.read(table, virt.index(at)), at) {
            Entry::Table(next) => table = next,
            _ => return None,
        }
    }
    Some((table, virt.index(level)))
}

proptest! {
    #[test]
    fn shifting_an_address_gives_that_of_its_entry_on_each_level(pages in prop::collection::vec(0u64..1 << 30, 1..6)) {
        let arena = Arena::default();
        let own = space(&arena);
        for page in pages.into_iter().collect::<BTreeSet<_>>() {
            map(&arena, &own, page);
            for level in 1..=4 {
                let address = entry_address(OWN, page << 12, level);
                prop_assert_eq!(found(&arena, &own, address), walked(&arena, &own, page, level));
            }
        }
    }

    #[test]
    fn another_space_needs_another_slot(page in 0u64..1 << 30) {
        let arena = Arena::default();
        let (current, other) = (space(&arena), space(&arena));
        map(&arena, &other, page);
        // The own slot shows the tables of whatever space is current, and there is nothing.
        prop_assert_eq!(found(&arena, &current, entry_address(OWN, page << 12, 1)), None);
        arena.write(current.root(), FOREIGN as usize, Host::table(other.root()));
        let entry = found(&arena, &current, entry_address(FOREIGN, page << 12, 1));
        prop_assert_eq!(entry, walked(&arena, &other, page, 1));
    }
}

/// The lecture's price: the processor translates addresses of tables too.
#[test]
fn who_writes_entries_through_the_slot_translates_one_page_for_each_table() {
    let pages = 3 * 512;
    let touched: BTreeSet<_> = (0..pages).map(|page| entry_address(OWN, page << 12, 1) >> 12).collect();
    assert_eq!(touched.len(), 3);
    // Through a map of all memory with large pages it is one translation for 512 tables, wherever they are.
    let tables: BTreeSet<_> = (0..3_u64).map(|table| (table << 12) >> 21).collect();
    assert_eq!(tables.len(), 1);
}
