//! The hardware below the shootdown.
//!
//! Purpose: memory with one domain: a master and a view per core, down to one directory entry and two pages; processors
//! with translations.
//! Invariants: tables above the directory never change, and are no atomics, to keep the number of steps small. A processor
//! sets Accessed before it remembers, as the manuals say, and remembers per tag, of which there are two for three domains.
//! Concurrency: a [`Cpu`] belongs to its thread.
//! Source: AMD64 manual volume 2, §5.4.2 and §5.5; Intel SDM volume 3, §4.10.
use abi::{PhysAddr, VirtAddr};
use memory::format::{Attributes, Entry, Format, Host};
use memory::frames::OutOfMemory;
use memory::mmu::Mmu;
use memory::shootdown::{Acknowledged, Core, Machine, NOTE, Pages, Shootdown};
use memory::space::{self, Filled, Latest, Space};
use memory::table::Table;
use memory::tags::{KEEP, LOADS, TAG, Tags};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

/// First address: entry 2 of the first directory.
const BASE: u64 = 0x40_0000;
/// Tables by page: the master's from here on, and the one of leaves.
const MASTER: u64 = 1;
const LEAVES: u64 = 4;
/// Those of core n from here + 4n on.
const VIEWS: u64 = 8;
/// Roots of two other domains' views of core n, from here + 2n on.
const ELSEWHERE: u64 = 100;
const ENTRY: usize = 2;
/// Nobody has such a page.
const FOREIGN: Attributes = Attributes::EXECUTE;
const RIGHTS: Attributes = Attributes::READ.union(Attributes::WRITE).union(Attributes::USER);

const fn at(page: u64) -> PhysAddr {
    PhysAddr::truncate(page << 12)
}

/// What all cores share.
pub struct World {
    cores: Vec<(Core, AtomicBool, Tags<2>)>,
    /// Words of tables that change, by page and index.
    words: HashMap<(u64, usize), AtomicU64>,
    sharers: HashMap<u64, AtomicU64>,
    /// Revocations that have returned: of each page.
    pub returned: [AtomicBool; 2],
    /// Whether core 1 remembers page 0.
    remembered: AtomicBool,
    flights: AtomicU64,
    /// One more than the core that has been told that what it has taken has landed.
    landed: AtomicU64,
}

impl World {
    /// `count` cores, with the two pages in a table or, if `large`, one large page.
    pub fn new(count: u32, large: bool) -> Self {
        let directory = MASTER + 2;
        let entry = if large { Host::leaf(PhysAddr::truncate(BASE), 2, RIGHTS) } else { Host::table(at(LEAVES)) };
        let mut words = HashMap::from([((directory, ENTRY), AtomicU64::new(entry))]);
        for index in 0..2 {
            words.insert((LEAVES, index), AtomicU64::new(Host::leaf(at(500 + index as u64), 1, RIGHTS)));
        }
        for core in 0..u64::from(count) {
            words.insert((VIEWS + 4 * core, NOTE), AtomicU64::new(0));
            words.insert((VIEWS + 4 * core + 2, ENTRY), AtomicU64::new(0));
        }
        World {
            cores: (0..count).map(|_| (Core::default(), AtomicBool::new(false), Tags::default())).collect(),
            words,
            sharers: HashMap::from([directory, LEAVES].map(|page| (page, AtomicU64::new(0)))),
            returned: [AtomicBool::new(false), AtomicBool::new(false)],
            remembered: AtomicBool::new(false),
            flights: AtomicU64::new(0),
            landed: AtomicU64::new(0),
        }
    }
}

impl Mmu for World {
    fn read(&self, table: PhysAddr, index: usize) -> u64 {
        match self.words.get(&(table.page(), index)) {
            Some(word) => word.load(Acquire),
            // The upper two tables of master and views are one behind the other.
            None if index == 0 && matches!(table.page(), 1..=2) => Host::table(at(table.page() + 1)),
            None if index == 0 && table.page() >= VIEWS && table.page() % 4 < 2 => Host::table(at(table.page() + 1)),
            None => 0,
        }
    }
    fn write(&self, table: PhysAddr, index: usize, entry: u64) {
        if let Some(word) = self.words.get(&(table.page(), index)) {
            word.store(entry, Release);
        }
    }
    fn exchange(&self, table: PhysAddr, index: usize, entry: u64) -> u64 {
        self.words.get(&(table.page(), index)).map_or(0, |word| word.swap(entry, AcqRel))
    }
    fn sharers(&self, table: PhysAddr) -> u64 {
        self.sharers.get(&table.page()).map_or(0, |word| word.load(Relaxed))
    }
    fn share(&self, table: PhysAddr, cores: u64) {
        self.sharers.get(&table.page()).into_iter().for_each(|word| _ = word.fetch_or(cores, Relaxed));
    }
}

/// A core: what it has loaded, and what it remembers, by tag and page.
pub struct Cpu {
    world: Arc<World>,
    id: u32,
    loaded: Cell<u64>,
    tag: Cell<u64>,
    /// What its views say is to be loaded.
    loads: RefCell<HashMap<u64, u64>>,
    known: RefCell<HashMap<(u64, u64), Attributes>>,
}

/// Tables as the core itself changes them: it walks as soon as it can, whether it needs to or not.
impl Mmu for Cpu {
    fn read(&self, table: PhysAddr, index: usize) -> u64 {
        if index == LOADS {
            return self.loads.borrow().get(&table.page()).copied().unwrap_or(0);
        }
        self.world.read(table, index)
    }
    fn write(&self, table: PhysAddr, index: usize, entry: u64) {
        if index == LOADS {
            self.loads.borrow_mut().insert(table.page(), entry);
        }
        self.world.write(table, index, entry);
        if (table.page(), index) == (self.loaded.get() + 2, ENTRY)
            && let Some(rights) = self.walk(0)
        {
            self.remember(BASE >> 12, rights);
        }
    }
    fn exchange(&self, table: PhysAddr, index: usize, entry: u64) -> u64 {
        self.world.exchange(table, index, entry)
    }
    fn sharers(&self, table: PhysAddr) -> u64 {
        self.world.sharers(table)
    }
    fn share(&self, table: PhysAddr, cores: u64) {
        self.world.share(table, cores);
    }
}

impl Machine for Cpu {
    fn cores(&self) -> u32 {
        self.world.cores.len() as u32
    }
    fn own(&self) -> u32 {
        self.id
    }
    fn core(&self, id: u32) -> &Core {
        &self.world.cores[id as usize].0
    }
    fn interrupt(&self, ids: impl Iterator<Item = u32>, _: u32) {
        for id in ids {
            self.world.cores[id as usize].1.swap(true, AcqRel);
        }
    }
    fn landed(&self, id: u32) {
        self.world.landed.store(u64::from(id) + 1, Release);
    }
    fn flights(&self) -> &AtomicU64 {
        &self.world.flights
    }
    fn flush(&self, pages: Pages) {
        let contains =
            |page| pages.range().is_none_or(|(start, count)| (start >> 12..(start >> 12) + count).contains(&page));
        self.known.borrow_mut().retain(|&(tag, page), _| tag != self.tag.get() || !contains(page));
        if self.id == 1 && self.known.borrow().is_empty() {
            self.world.remembered.store(false, Release);
        }
    }
}

impl Cpu {
    /// Core `id`, on which another domain runs.
    pub fn new(world: &Arc<World>, id: u32) -> Self {
        let (loaded, tag, loads, known) = Default::default();
        let cpu = Self { world: Arc::clone(world), id, loaded, tag, loads, known };
        cpu.depart();
        cpu
    }

    fn view(id: u32) -> PhysAddr {
        at(VIEWS + 4 * u64::from(id))
    }

    fn load(&self, root: PhysAddr) {
        let (core, _, tags) = &self.world.cores[self.id as usize];
        let mut loads = self.read(root, LOADS);
        // The short way first, as the kernel does.
        if loads == 0 || !core.enter_if_right(loads, || self.read(root, NOTE)) {
            loads = tags.enter(core, self, root, true).0;
        }
        self.tag.set(loads & TAG);
        if loads & KEEP == 0 {
            self.known.borrow_mut().retain(|&(of, _), _| of != self.tag.get());
        }
        self.loaded.set(root.page());
    }

    /// Switches to the domain.
    pub fn arrive(&self) {
        self.load(Self::view(self.id));
    }

    /// Switches to another domain.
    pub fn depart(&self) {
        self.load(at(ELSEWHERE + 2 * u64::from(self.id)));
    }

    /// Switches to a third one, for which there is no tag left.
    pub fn depart_far(&self) {
        self.load(at(ELSEWHERE + 2 * u64::from(self.id) + 1));
    }

    /// Takes an interrupt, if there is one.
    pub fn breathe(&self) {
        if self.world.cores[self.id as usize].1.swap(false, AcqRel) {
            self.core(self.id).serve(self);
        }
    }

    /// Sets Accessed in the entry, unless it has changed: then the walk begins anew.
    fn note(&self, table: u64, index: usize, entry: u64) -> bool {
        entry & Host::ACCESSED != 0
            || self.world.words[&(table, index)]
                .compare_exchange(entry, entry | Host::ACCESSED, AcqRel, Acquire)
                .is_ok()
    }

    /// What the tables say of page `index` of the domain, which is loaded, and remembers it.
    fn walk(&self, index: usize) -> Option<Attributes> {
        loop {
            let directory = self.loaded.get() + 2;
            let entry = self.world.read(at(directory), ENTRY);
            let (table, index, entry, level) = match Host::decode(entry, 2) {
                Entry::Absent => return None,
                Entry::Leaf(..) => (directory, ENTRY, entry, 2),
                Entry::Table(leaves) if self.note(directory, ENTRY, entry) => {
                    (leaves.page(), index, self.world.read(leaves, index), 1)
                }
                Entry::Table(_) => continue,
            };
            match Host::decode(entry, level) {
                Entry::Leaf(_, rights) if self.note(table, index, entry) => {
                    assert!(!rights.contains(FOREIGN), "core {} walks what is used for something else", self.id);
                    return Some(rights);
                }
                Entry::Leaf(..) => {}
                _ => return None,
            }
        }
    }

    fn remember(&self, page: u64, rights: Attributes) {
        self.known.borrow_mut().insert((self.tag.get(), page), rights);
        if self.id == 1 {
            self.world.remembered.store(true, Release);
        }
    }

    /// Nobody remembers page 0 any more, where core 1 has never left the domain: its frame may have another content now.
    pub fn reuse(&self) {
        assert!(!self.world.remembered.load(Acquire), "the frame is reused before core 1 has forgotten it");
    }

    /// An access to page `index` by the domain; what its translation allows. A fault is resolved as the kernel does.
    pub fn access(&self, index: usize) -> Option<Attributes> {
        let page = (BASE >> 12) + index as u64;
        if let Some(rights) = self.known.borrow().get(&(self.tag.get(), page)) {
            return Some(*rights);
        }
        for _ in 0..2 {
            if let Some(rights) = self.walk(index) {
                self.remember(page, rights);
                return Some(rights);
            }
            let (master, local) = (Table::new(at(MASTER)), Table::new(Self::view(self.id)));
            let virt = VirtAddr::new(page << 12);
            let filled = space::sync(self, &master, (&local, self.id), virt, &mut |_, _| Err(OutOfMemory::Pool));
            match filled {
                Ok(Filled::Changed) => self.flush(Pages::ALL),
                Ok(Filled::Absent) | Err(_) => return None,
                Ok(_) => {}
            }
        }
        None
    }

    /// An access that may not find more than `left` if page `index` had been revoked before it began.
    pub fn check(&self, index: usize, left: Attributes) {
        let returned = self.world.returned[index].load(Acquire);
        let found = self.access(index).unwrap_or(Attributes::empty());
        assert!(!returned || (left | Attributes::USER).contains(found), "core {} uses what was revoked", self.id);
    }

    /// Takes all rights but `left` to page `index`, or to all pages, from the domain.
    pub fn revoke(&self, index: Option<usize>, left: Attributes, naive: bool) {
        self.take(index, left, naive).finish(self);
        for page in index.map_or(0..2, |index| index..index + 1) {
            self.world.returned[page].store(true, Release);
        }
    }

    /// Takes both pages from the domain, and then their table, which is used for something else: a page that nobody has.
    pub fn revoke_and_empty(&self) {
        self.take(None, Attributes::empty(), false).finish(self);
        let view = |id| Some(Self::view(id));
        let (space, mut shootdown) = (Space { master: &Table::new(at(MASTER)), view: &view }, Shootdown::new(false));
        let views = (0..self.cores()).map(Self::view);
        let forget = || views.for_each(|view| _ = space::forget(self, &Table::new(view), VirtAddr::new(BASE)));
        space.take_empty((self, self), (at(MASTER + 2), ENTRY), forget, &Latest::default(), &mut shootdown);
        shootdown.reach(self);
        self.world.write(at(LEAVES), 0, Host::leaf(at(600), 1, RIGHTS | FOREIGN));
        self.world.returned.iter().for_each(|page| page.store(true, Release));
    }

    /// Takes all rights but `left` to page `index`, or to all pages, from the tables.
    fn take(&self, index: Option<usize>, left: Attributes, naive: bool) -> Shootdown {
        let range = index.map_or((BASE, 1 << 21), |index| (BASE + ((index as u64) << 12), 1 << 12));
        let view = |id| Some(Self::view(id));
        let space = Space { master: &Table::new(at(MASTER)), view: &view };
        let mut shootdown = Shootdown::new(naive);
        let range = (VirtAddr::new(range.0), range.1);
        // As the kernel: whole large leaves go a short way.
        let short = index.is_none() && left.is_empty();
        if !short || !space.take_large((self, self), at(MASTER + 2), range, &mut shootdown) {
            let done = space.restrict((self, self), range, left, &mut |_, _| Err(OutOfMemory::Pool), &mut shootdown);
            assert_eq!(done, Ok(()));
        }
        shootdown
    }

    /// Takes page `index` and does not wait; `meanwhile` it does something else, then waits until it is told.
    pub fn revoke_later(&self, index: usize, meanwhile: impl Fn(&Self)) {
        let acknowledged = self.take(Some(index), Attributes::empty(), false).finish_later(self);
        meanwhile(self);
        if acknowledged.is_none() {
            self.await_landing();
        }
        self.world.returned[index].store(true, Release);
    }

    /// Waits until this core is told that what it has taken last without waiting is forgotten.
    fn await_landing(&self) {
        while self.world.landed.load(Acquire) != u64::from(self.id) + 1 {
            self.breathe();
            sync::relax();
        }
        assert!(Acknowledged::of_landed(self).is_some());
    }

    /// Clears what is noted of page `index`, which is over then.
    pub fn clear(&self, index: usize) {
        let view = |id| Some(Self::view(id));
        let space = Space { master: &Table::new(at(MASTER)), view: &view };
        let mut shootdown = Shootdown::new(false);
        let virt = VirtAddr::new(BASE + ((index as u64) << 12));
        assert!(space.evidence((self, self), virt, true, &mut shootdown).is_some());
        shootdown.finish(self);
        self.world.returned[index].store(true, Release);
    }

    /// An access to page `index`, which is noted if what was noted had been cleared before it began.
    pub fn leaves_evidence(&self, index: usize) {
        let cleared = self.world.returned[index].load(Acquire);
        assert!(self.access(index).is_some());
        let directory = self.world.read(at(self.loaded.get() + 2), ENTRY);
        let large = matches!(Host::decode(directory, 2), Entry::Leaf(..));
        let entry = if large { directory } else { self.world.read(at(LEAVES), index) };
        assert!(!cleared || entry & Host::ACCESSED != 0, "core {}: an access is not noted", self.id);
    }

    /// Takes interrupts until what is noted of page `index` is cleared, and uses it then.
    pub fn outlast_clearing(&self, index: usize) {
        while !self.world.returned[index].load(Acquire) {
            self.breathe();
            sync::relax();
        }
        self.leaves_evidence(index);
    }

    /// Takes interrupts until page `index` is revoked, and uses it then.
    pub fn outlast(&self, index: usize, left: Attributes) {
        while !self.world.returned[index].load(Acquire) {
            self.breathe();
            sync::relax();
        }
        self.check(index, left);
    }
}

#[cfg(loom)]
impl Cpu {
    /// Loads the core's own tables; it does not walk others from here on.
    pub fn leave(&self) {
        self.core(self.id).leave();
    }

    /// Whether the tables of the domain, which nobody runs any more, can be used for something else.
    pub fn has_ended(&self) -> bool {
        Acknowledged::of_ended(self, &|id| Some(Self::view(id))).is_some()
    }
}

#[cfg(shuttle)]
impl Cpu {
    /// Asks core 2, which runs the domain, to forget page `index`, as if it had been taken from the tables.
    /// With `later` it does not wait, but until it is told.
    pub fn ask(&self, index: usize, later: bool) {
        let view = |id| (id == 2).then(|| Self::view(id));
        let mut shootdown = Shootdown::new(false);
        let sharers = shootdown.sharers(|| memory::shootdown::bit(2));
        shootdown.add((self, self), sharers, &view, Pages::new(BASE + ((index as u64) << 12), 1 << 12));
        if !later {
            shootdown.finish(self);
        } else if shootdown.finish_later(self).is_none() {
            self.await_landing();
        }
        self.world.returned[index].store(true, Release);
    }

    /// Whether the core remembers page `index`.
    pub fn remembers(&self, index: usize) -> bool {
        self.known.borrow().contains_key(&(self.tag.get(), (BASE >> 12) + index as u64))
    }

    /// Whether the revocation of page `index` has returned.
    pub fn is_over(&self, index: usize) -> bool {
        self.world.returned[index].load(Acquire)
    }
}
