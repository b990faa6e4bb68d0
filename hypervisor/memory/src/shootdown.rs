//! Making cores forget what they remember of tables that have changed.
//!
//! Purpose: after a change that takes something away, exactly the cores that may remember it forget it: those that share
//! the part of the tables in question and run the domain at once, others when they switch to it.
//! Invariants: 1. whoever uses a table has its bit in the table's set of sharers before it can walk there. 2. A change is
//! written to the tables, then sharers are read; the roots of their views get a note, then it is read what they have loaded.
//! 3. A core publishes the root that it loads before it looks for a note. 4. [`Acknowledged`] comes into being when no core
//! remembers anything of what an operation took, or found taken by another that is not finished.
//! Concurrency: between the halves of 2 and 3, and between sharing a table and looking at its master again, stands a
//! fence; so of two cores at least one sees what the other did. Requests are counted: whoever waits waits for all that
//! were made up to then, his own among them. Who waits serves the requests to himself, so that two can wait for each other.
//! Source: A. Clements et al., "RadixVM" (2013), precise targets; N. Amit et al., "Don't shoot down TLB shootdowns!" (2020),
//! send to all before waiting; E. Dijkstra, "Cooperating sequential processes" (1965), publish and look; traps T3-T5.
mod later;
mod threshold;

use crate::mmu::Mmu;
use abi::PhysAddr;
use abi::address::{PAGE_BITS, PAGE_SIZE};
use sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
    fence,
};
pub use threshold::Costs;

/// Pages that may be forgotten one by one; of more than these, everything is.
pub const MOST: u64 = 64;

/// Pages whose translations are to be forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pages(u64);

impl Pages {
    /// None.
    pub const NONE: Self = Self(0);
    /// All that are not global.
    pub const ALL: Self = Self(u64::MAX);

    /// Those of `size` bytes from `start` on, both multiples of the page size.
    pub const fn new(start: u64, size: u64) -> Self {
        let count = size >> PAGE_BITS;
        if count > MOST { Self::ALL } else { Self(start & !(PAGE_SIZE - 1) | count) }
    }

    /// Both.
    pub fn and(self, other: Self) -> Self {
        match (self.range(), other.range()) {
            _ if self == other || other == Self::NONE => self,
            _ if self == Self::NONE => other,
            (Some((start, count)), Some((next, more))) if start + (count << PAGE_BITS) == next => {
                Self::new(start, (count + more) << PAGE_BITS)
            }
            (Some((start, count)), Some((next, more))) if next + (more << PAGE_BITS) == start => {
                Self::new(next, (count + more) << PAGE_BITS)
            }
            _ => Self::ALL,
        }
    }

    /// First address and number of pages; `None` for all.
    pub fn range(self) -> Option<(u64, u64)> {
        (self != Self::ALL).then_some((self.0 & !(PAGE_SIZE - 1), self.0 & (PAGE_SIZE - 1)))
    }

    /// The same, or all if these are more than `most`.
    #[inline]
    #[must_use]
    pub const fn at_most(self, most: u64) -> Self {
        if self.0 & (PAGE_SIZE - 1) > most { Self::ALL } else { self }
    }
}

/// What a core shows of itself, and is asked.
#[derive(Debug, Default)]
pub struct Core {
    /// The root of the view that it has loaded, 0 for its own tables; what is not of the address is the tag. Written by
    /// the core itself.
    current: AtomicU64,
    /// What it is to forget.
    pages: AtomicU64,
    /// Requests so far, and those that are done.
    asked: AtomicU64,
    done: AtomicU64,
    /// Odd while others may use what an operation of this core has taken.
    flight: AtomicU64,
    /// See `later.rs`: who is to be told when it has forgotten, and what it has taken without waiting.
    tell: AtomicU64,
    later: AtomicU64,
}

/// The machine, as seen by the calling core.
pub trait Machine {
    /// Number of cores that run.
    fn cores(&self) -> u32;
    /// The calling core.
    fn own(&self) -> u32;
    /// What core `id`, one that runs, shows.
    fn core(&self, id: u32) -> &Core;
    /// Makes the other cores `ids`, so many, come to [`Core::serve`] before they run anything but the kernel, and soon.
    fn interrupt(&self, ids: impl Iterator<Item = u32>, count: u32);
    /// Makes the calling core forget `pages` of the tables it has loaded.
    fn flush(&self, pages: Pages);
    /// So many pages, at most [`MOST`], are forgotten one by one.
    #[inline]
    fn threshold(&self) -> u64 {
        MOST
    }
    /// Makes core `id` look for [`Acknowledged::of_landed`] soon.
    fn landed(&self, id: u32);
    /// How many cores have taken something that others may still use.
    fn flights(&self) -> &AtomicU64;
    /// Whether [`Self::lost`] and [`Self::returns`] do something.
    #[cfg(any(test, feature = "shadow"))]
    fn is_watched(&self) -> bool {
        false
    }
    /// An operation of the calling core has taken `pages`, and the tables of core `id` with this root had led there if `led`
    /// says so, which is asked while nobody forgets anything.
    #[cfg(any(test, feature = "shadow"))]
    fn lost(&self, _id: u32, _root: PhysAddr, _pages: Pages, _led: impl FnOnce() -> bool) {}
    /// The operation of the calling core returns.
    #[cfg(any(test, feature = "shadow"))]
    fn returns(&self) {}
}

/// Entry of the root of a view that nobody walks to, where a note says that what the core remembers of it is stale.
pub const NOTE: usize = 256;
/// The note; absent to the processor.
pub(crate) const STALE: u64 = 1 << 1;
/// Bits of what is loaded that are the address of a root.
pub(crate) const ADDRESS: u64 = ((1 << abi::address::PHYS_BITS) - 1) & !(PAGE_SIZE - 1);

/// Whether the tables at `root` are what is loaded, whatever the tag.
#[inline]
const fn is_root(loaded: u64, root: PhysAddr) -> bool {
    (loaded ^ root.get()) & ADDRESS == 0
}

impl Core {
    /// This core loads the view at `root` next. What it remembers of that is still right if the answer is yes; else it
    /// has to forget all of it.
    #[inline]
    pub fn enter(&self, mmu: &impl Mmu, root: PhysAddr) -> bool {
        let right = self.enter_if_right(root.get(), || mmu.read(root, NOTE));
        if !right {
            mmu.write(root, NOTE, 0);
        }
        right
    }

    /// As [`Self::enter`], which has to follow if the answer is no: for the view whose [`tags::LOADS`](crate::tags::LOADS)
    /// says `loads`, with `note` to read its [`NOTE`].
    #[inline]
    pub fn enter_if_right(&self, loads: u64, note: impl FnOnce() -> u64) -> bool {
        self.current.store(loads, Relaxed);
        fence(SeqCst);
        note() == 0
    }

    /// This core has loaded its own tables.
    pub fn leave(&self) {
        self.current.store(0, Release);
    }

    /// Asks for `pages`; an interrupt has to follow. When it is done it tells the cores in `tell`.
    #[inline]
    fn ask(&self, pages: Pages, tell: u64) {
        let mut known = self.pages.load(Relaxed);
        while let Err(newer) = self.pages.compare_exchange(known, Pages(known).and(pages).0, AcqRel, Relaxed) {
            known = newer;
        }
        if tell != 0 {
            self.tell.fetch_or(tell, AcqRel);
        }
        self.asked.fetch_add(1, AcqRel);
    }

    /// Does what this core, the calling one, was asked for up to now; whether there was something.
    #[inline]
    pub fn serve(&self, machine: &impl Machine) -> bool {
        let asked = self.asked.load(Acquire);
        if asked == self.done.load(Relaxed) {
            return false;
        }
        let told = self.told();
        machine.flush(Pages(self.pages.swap(0, AcqRel)));
        self.done.store(asked, Release);
        if told != 0 {
            later::tell(machine, told);
        }
        true
    }
}

/// Number of bits in a set of cores. On a larger machine a bit stands for all cores that are equal modulo this.
const BITS: u32 = 64;

/// The set with core `id`.
#[inline]
pub const fn bit(id: u32) -> u64 {
    1 << (id % BITS)
}

/// The cores, of `count`, that are in `set`.
#[inline]
pub fn members(mut set: u64, count: u32) -> impl Iterator<Item = u32> {
    let mut next = count;
    core::iter::from_fn(move || {
        while next >= count {
            if set == 0 {
                return None;
            }
            next = set.trailing_zeros();
            set &= set - 1;
        }
        let id = next;
        next += BITS;
        Some(id)
    })
}

/// Nobody remembers what was taken: it may be used for something else ([`crate::frames::Reusable`]).
#[derive(Debug)]
pub struct Acknowledged(());

impl Acknowledged {
    /// That of a domain that nobody runs any more, whose views `view` knows: whoever has loaded one has loaded other tables
    /// since, and what was taken before is over. `None` if a core still has one.
    pub fn of_ended(machine: &impl Machine, view: &impl Fn(u32) -> Option<PhysAddr>) -> Option<Self> {
        let has = |id| view(id).is_some_and(|root| is_root(machine.core(id).current.load(Acquire), root));
        (!(0..machine.cores()).any(has)).then(|| Self::of_earlier(machine))
    }

    /// That of all that others have taken up to now.
    #[inline]
    pub fn of_earlier(machine: &impl Machine) -> Self {
        if machine.flights().load(Acquire) != 0 {
            others_land(machine);
            later::land(machine, machine.own());
        }
        Self(())
    }
}

/// What one operation, however long, has made stale so far.
#[derive(Debug)]
#[must_use = "cores go on using what was taken until it is finished"]
pub struct Shootdown {
    targets: u64,
    pages: Pages,
    naive: bool,
    /// Whether others are among the targets.
    flies: bool,
}

impl Shootdown {
    /// Nothing so far. A `naive` one, to compare with, asks all cores that run a domain, one after the other.
    pub const fn new(naive: bool) -> Self {
        Self { targets: 0, pages: Pages::NONE, naive, flies: false }
    }

    /// Whom [`Self::add`] has to be told of, after tables have been changed: `sharers` reads them.
    pub fn sharers(&self, sharers: impl FnOnce() -> u64) -> u64 {
        fence(SeqCst);
        if self.naive { u64::MAX } else { sharers() }
    }

    /// Notes `pages` as stale in the views, whose roots `view` knows, of the cores in `sharers`. Those that have them loaded
    /// are to forget them; others find the note.
    #[inline]
    pub fn add(
        &mut self,
        (mmu, machine): (&impl Mmu, &impl Machine),
        sharers: u64,
        view: &impl Fn(u32) -> Option<PhysAddr>,
        pages: Pages,
    ) {
        let (own, count) = (machine.own(), machine.cores());
        let loaded = |id, root| is_root(machine.core(id).current.load(Relaxed), root);
        let mut targets = 0;
        for id in members(sharers, count) {
            match view(id) {
                // What this core has loaded it has loaded until the end.
                Some(root) if id == own && loaded(id, root) => targets = bit(own),
                Some(root) => mmu.write(root, NOTE, STALE),
                None => {}
            }
        }
        fence(SeqCst);
        for id in members(sharers, count).filter(|&id| id != own) {
            if view(id).is_some_and(|root| loaded(id, root)) {
                targets |= bit(id);
            }
        }
        if targets != 0 {
            self.pages = self.pages.and(pages);
            self.aim(machine, targets);
        }
    }

    /// Adds the cores of these bits, for a change to tables that have no sharers: they leave ring 3 and guests.
    pub fn add_cores(&mut self, machine: &impl Machine, cores: u64) {
        if cores != 0 {
            self.aim(machine, cores);
        }
    }

    /// Adds targets. Who takes the same from now on finds it gone, or not accessed, but may not return before this is over.
    #[inline]
    fn aim(&mut self, machine: &impl Machine, targets: u64) {
        self.targets |= targets;
        if !self.flies && (targets & !bit(machine.own()) != 0 || machine.cores() > BITS) {
            self.flies = true;
            machine.core(machine.own()).flight.fetch_add(1, AcqRel);
            machine.flights().fetch_add(1, AcqRel);
        }
    }

    /// Makes all of them forget, and waits until they have, and until those have who were made to by operations that began
    /// before. Without locks that somebody waits for with interrupts off.
    #[inline(always)]
    pub fn finish(self, machine: &impl Machine) -> Acknowledged {
        if self.targets != 0 {
            self.tell(machine);
        }
        let acknowledged = Acknowledged::of_earlier(machine);
        #[cfg(any(test, feature = "shadow"))]
        machine.returns();
        acknowledged
    }

    /// As [`Self::finish`], without a wait for what others have taken: for who holds locks whose waiters all [`Core::serve`].
    pub fn reach(self, machine: &impl Machine) {
        if self.targets != 0 {
            self.tell(machine);
        }
    }

    /// Makes all targets forget, and waits until they have.
    #[inline(never)]
    fn tell(&self, machine: &impl Machine) {
        let (own, count) = (machine.own(), machine.cores());
        let others = || members(self.targets, count).filter(|&id| id != own);
        let pages = self.pages.at_most(machine.threshold());
        let ask = |id| machine.core(id).ask(pages, 0);
        let wait = |id| {
            let core: &Core = machine.core(id);
            let asked = core.asked.load(Relaxed);
            while core.done.load(Acquire) < asked {
                machine.core(own).serve(machine);
                sync::relax();
            }
        };
        if self.naive {
            others().for_each(|id| {
                ask(id);
                machine.interrupt(core::iter::once(id), 1);
                wait(id);
            });
        } else {
            let count = others().map(ask).count();
            machine.interrupt(others(), count as u32);
        }
        if self.targets & bit(own) != 0 {
            machine.flush(pages);
        }
        others().for_each(wait);
        self.end_flight(machine);
    }

    #[inline]
    fn end_flight(&self, machine: &impl Machine) {
        if self.flies {
            machine.flights().fetch_sub(1, AcqRel);
            machine.core(machine.own()).flight.fetch_add(1, AcqRel);
        }
    }
}

/// Waits until what other cores have taken by now is used by nobody.
#[cold]
fn others_land(machine: &impl Machine) {
    let own = machine.own();
    for id in (0..machine.cores()).filter(|&id| id != own) {
        let core = machine.core(id);
        let flight = core.flight.load(Acquire);
        while flight % 2 == 1 && core.flight.load(Acquire) == flight {
            machine.core(own).serve(machine);
            sync::relax();
        }
        later::land(machine, id);
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
pub(crate) mod alone;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
