//! Memory, and processors that remember.
//!
//! Invariants: a table is a frame of its own; a frame of memory is mapped once in its life, so that a translation says which
//! mapping it comes from.
//! Concurrency: one thread at a time, see above.
//! Source: see above.
use std::collections::{BTreeMap, BTreeSet};

use abi::{PhysAddr, VirtAddr};
use memory::format::{Attributes, Entry, Format, Host};
use memory::shootdown::Pages;
use memory::tags::{KEEP, TAG};

use super::turns::Choices;

/// Pages of a domain that are used: two in a table or leaf, the last of it, two in the next.
pub const PAGES: [u64; 5] = [0x400, 0x401, 0x5FF, 0x600, 0x601];

/// First frame that no domain has.
pub const FOREIGN: u64 = 0x200;

/// A frame, and rights to it.
pub type Found = (u64, Attributes);

/// A processor.
#[derive(Default)]
pub struct Processor {
    /// Root that is loaded, 0 before the first, and with which tag.
    pub loaded: u64,
    tag: u64,
    /// All translations that it remembers, by tag and page.
    known: BTreeMap<(u64, u64), BTreeSet<(u64, u32)>>,
    /// All tables of leaves, by tag and directory entry.
    tables: BTreeMap<(u64, u64), BTreeSet<u64>>,
    /// All directories, by tag.
    directories: BTreeMap<u64, BTreeSet<u64>>,
    /// Whether it is in ring 0, where it uses nothing of what the domain has.
    pub kernel: bool,
    /// Whether an interrupt waits.
    pub interrupted: bool,
}

/// The machine.
pub struct Machine {
    tables: Vec<[u64; 512]>,
    /// Those that are used again.
    free: Vec<u64>,
    /// Cores that may use a table.
    pub sharers: Vec<u64>,
    /// The cores.
    pub processors: Vec<Processor>,
    /// What each domain may find at a page: everything that was mapped there and that no revocation has taken.
    pub allowed: BTreeMap<(usize, u64), Vec<Found>>,
    /// The domain that a root belongs to.
    pub owners: BTreeMap<u64, usize>,
    /// Who is next.
    pub choices: Choices,
    frames: u64,
    /// Tables that are used for something else.
    spare: Vec<u64>,
    /// Steps so far.
    pub steps: u32,
    /// Whether something may have become wrong since it was looked at.
    pub changed: bool,
}

impl Machine {
    /// One with nothing mapped.
    pub fn new(cores: usize, choices: Choices) -> Self {
        let processors = (0..cores).map(|_| Processor::default()).collect();
        let (allowed, owners) = Default::default();
        // Nothing is at address 0.
        Self {
            tables: vec![[0; 512]],
            free: Vec::new(),
            sharers: vec![0],
            processors,
            allowed,
            owners,
            choices,
            frames: 1 << 20,
            spare: Vec::new(),
            steps: 0,
            changed: false,
        }
    }

    /// An empty table: one that was given back first of all.
    pub fn table(&mut self) -> PhysAddr {
        if let Some(table) = self.spare.pop() {
            (self.tables[table as usize], self.sharers[table as usize]) = ([0; 512], 0);
            return PhysAddr::truncate(table << 12);
        }
        if let Some(table) = self.free.pop() {
            self.sharers[table as usize] = 0;
            return PhysAddr::truncate(table << 12);
        }
        self.tables.push([0; 512]);
        self.sharers.push(0);
        PhysAddr::truncate((self.tables.len() as u64 - 1) << 12)
    }

    /// Takes a table that nobody uses any more. Whether it is empty.
    pub fn reuse(&mut self, table: PhysAddr) -> bool {
        self.free.push(table.page());
        self.tables[table.page() as usize] == [0; 512]
    }

    /// Frames that nobody had yet, 1024 of them, aligned to 512.
    pub fn fresh(&mut self) -> u64 {
        self.frames += 1024;
        self.frames
    }

    /// Uses a table for something else. To who walks there it shows frames that no domain has.
    pub fn spoil(&mut self, table: PhysAddr) {
        let leaf = Host::leaf(PhysAddr::truncate(FOREIGN << 12), 2, Attributes::all());
        self.tables[table.page() as usize] = [leaf | Host::EVIDENCE; 512];
        self.spare.push(table.page());
    }

    /// Whether there is nothing in a table.
    pub fn is_empty(&self, table: PhysAddr) -> bool {
        self.tables[table.page() as usize] == [0; 512]
    }

    /// A word of a table.
    pub fn word(&mut self, table: u64, index: usize) -> &mut u64 {
        &mut self.tables[table as usize][index]
    }

    /// What core `id` finds at `page` if it walks now: by the tables, or from a directory or table that it remembers. All
    /// that it finds it remembers, after it has noted the access.
    pub fn walk(&mut self, id: usize, page: u64) {
        let (root, tag) = (self.processors[id].loaded, self.processors[id].tag);
        let virt = VirtAddr::new(page << 12);
        let mut table = root;
        for level in (3..=Host::LEVELS).rev() {
            let entry = self.word(table, virt.index(level));
            let Entry::Table(next) = Host::decode(*entry, level) else { break };
            *entry |= Host::ACCESSED;
            table = next.page();
            if level == 3 {
                self.processors[id].directories.entry(tag).or_default().insert(table);
            }
        }
        let directories: Vec<_> = self.processors[id].directories.get(&tag).into_iter().flatten().copied().collect();
        for directory in directories {
            let entry = self.word(directory, virt.index(2));
            match Host::decode(*entry, 2) {
                Entry::Absent => {}
                Entry::Table(next) => {
                    *entry |= Host::ACCESSED;
                    self.processors[id].tables.entry((tag, page >> 9)).or_default().insert(next.page());
                }
                Entry::Leaf(base, rights) => {
                    *entry |= Host::ACCESSED;
                    self.remember(id, page, base.page() + page % 512, rights);
                }
            }
        }
        let remembered: Vec<_> =
            self.processors[id].tables.get(&(tag, page >> 9)).into_iter().flatten().copied().collect();
        for table in remembered {
            let entry = self.word(table, virt.index(1));
            if let Entry::Leaf(base, rights) = Host::decode(*entry, 1) {
                *entry |= Host::ACCESSED;
                self.remember(id, page, base.page(), rights);
            }
        }
    }

    fn remember(&mut self, id: usize, page: u64, frame: u64, rights: Attributes) {
        let processor = &mut self.processors[id];
        self.changed |= processor.known.entry((processor.tag, page)).or_default().insert((frame, rights.bits()));
    }

    /// All that core `id` remembers of `page`.
    pub fn known(&self, id: usize, page: u64) -> Vec<Found> {
        let processor = &self.processors[id];
        let found = processor.known.get(&(processor.tag, page)).into_iter().flatten();
        found.map(|&(frame, rights)| (frame, Attributes::from_bits_retain(rights))).collect()
    }

    /// Makes core `id` forget pages of what it has loaded, and with them all tables of that, as the instruction does.
    pub fn flush(&mut self, id: usize, pages: Pages) {
        let processor = &mut self.processors[id];
        let (loaded, range) = (processor.tag, pages.range());
        let within =
            |page: u64| range.is_none_or(|(start, count)| (start >> 12..(start >> 12) + count).contains(&page));
        processor.known.retain(|&(tag, page), _| tag != loaded || !within(page));
        if pages != Pages::NONE {
            processor.tables.retain(|&(tag, _), _| tag != loaded);
            processor.directories.remove(&loaded);
        }
    }

    /// Has core `id` load what `loads` says, as the instruction does.
    pub fn load(&mut self, id: usize, loads: u64) {
        let processor = &mut self.processors[id];
        (processor.loaded, processor.tag) = ((loads & !KEEP) >> 12, loads & TAG);
        if loads & KEEP == 0 {
            self.flush(id, Pages::ALL);
        }
    }

    /// What processors do on their own at any time.
    pub fn speculate(&mut self) {
        for id in 0..self.processors.len() {
            let Some(pages) = self.choices.some(&PAGES) else { continue };
            if self.processors[id].loaded != 0 {
                pages.iter().for_each(|&page| self.walk(id, page));
            }
        }
    }

    /// What is wrong, if anything: a core in ring 3 remembers what the domain that it runs must not have any more.
    pub fn wrong(&mut self) -> Option<String> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        for (id, processor) in self.processors.iter().enumerate() {
            let Some(&domain) = self.owners.get(&processor.loaded).filter(|_| !processor.kernel) else { continue };
            for page in PAGES {
                let allowed = self.allowed.get(&(domain, page)).map_or(&[][..], Vec::as_slice);
                for (frame, rights) in self.known(id, page) {
                    if !allowed.iter().any(|&(of, may)| of == frame && may.contains(rights)) {
                        return Some(format!("core {id} remembers frame {frame:#x} at page {page:#x}: {rights:?}"));
                    }
                }
            }
        }
        None
    }
}
