//! The locks of the mapping tree.
//!
//! Purpose: cores that work on different domains do not wait for each other. A region is what one domain has: its nodes,
//! their order in its spaces, and the rings of their children, whosever those are. Who knows beforehand which one or two
//! domains an operation touches takes these; who revokes takes them as it meets them; who cannot takes all.
//! Invariants: a node is changed, or freed, by who holds its domain's region; its place in a ring, also by who holds its
//! parent's; so what holds a region sees its domain's nodes and their children stay.
//! Concurrency: who waits for a region holds none, or one at a lower address; another is only tried. A core that holds
//! locks for long looks whether one is wanted, and opens them for a moment. Who waits is counted while it does.
//! Source: issue of the memory system (locking by region); `sync::gate`; `docs/src/locking.md`,
//! `docs/src/decisions/0033-regions.md`.
use crate::{cores, translations};
use abi::counter::Counter;
use arrayvec::ArrayVec;
use core::cell::Cell;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use objects::Domain;
use sync::{Closed, Gate, Inside, Latch, Taken};

static GATE: Gate = Gate::new();
/// Cores that wait for a region, or for all.
static WAITING: AtomicU32 = AtomicU32::new(0);

/// One region, or two; open when it is dropped.
pub struct Held<'s> {
    _second: Option<Taken<'s>>,
    _first: Taken<'s>,
    _inside: Inside<'s>,
}

/// Takes the regions of one or two domains.
#[inline(always)]
pub fn of<'s>(one: &'s Domain, other: &'s Domain) -> Held<'s> {
    let _inside = enter();
    let _first = take(&one.region);
    if core::ptr::eq(one, other) {
        return Held { _second: None, _first, _inside };
    }
    match other.region.take() {
        Some(second) => Held { _second: Some(second), _first, _inside },
        None => {
            drop(_first);
            both(one, other, _inside)
        }
    }
}

/// Takes the region of a domain if it is free now.
pub fn attempt(domain: &Domain) -> Option<Held<'_>> {
    let _inside = GATE.enter(&percpu::this().shared.mark)?;
    domain.region.take().map(|_first| Held { _second: None, _first, _inside })
}

/// Takes both, in the order of their addresses.
#[cold]
fn both<'s>(one: &'s Domain, other: &'s Domain, _inside: Inside<'s>) -> Held<'s> {
    let (low, high) = if core::ptr::from_ref(one) < core::ptr::from_ref(other) { (one, other) } else { (other, one) };
    let _first = take(&low.region);
    Held { _second: Some(take(&high.region)), _first, _inside }
}

impl<'s> Held<'s> {
    /// Takes another domain's region too, where only one is held, if it is free.
    #[inline(always)]
    pub fn add(&mut self, other: &'s Domain) -> bool {
        self._second = other.region.take();
        self._second.is_some()
    }
}

/// The regions of what an operation has met; open when it is dropped.
pub struct Met<'s> {
    taken: ArrayVec<Taken<'s>, 8>,
    _inside: Inside<'s>,
}

/// Takes the region of a domain, and others as they are met.
pub fn met(domain: &Domain) -> Met<'_> {
    let _inside = enter();
    Met { taken: core::iter::once(take(&domain.region)).collect(), _inside }
}

impl<'s> Met<'s> {
    /// Takes another domain's region too, if it is free and not taken already, and they are not too many.
    pub fn add(&mut self, other: &'s Domain) -> bool {
        let region = &other.region;
        let is_new = !self.taken.iter().any(|taken| taken.is_of(region));
        !is_new || region.take().is_some_and(|taken| self.taken.try_push(taken).is_ok())
    }
}

/// Takes all regions.
pub fn all() -> Closed<'static> {
    let waiting = Waiting(Cell::new(false));
    let marks = || cores::running().iter().map(|core| &core.shared().mark);
    until(&waiting, || GATE.close(marks(), || waiting.goes_on()))
}

#[inline(always)]
fn enter() -> Inside<'static> {
    let mark = &percpu::this().shared.mark;
    match GATE.enter(mark) {
        Some(inside) => inside,
        // Marks that come and go would keep whoever closes it.
        None => wait(|| if GATE.is_open() { GATE.enter(mark) } else { None }),
    }
}

#[inline(always)]
fn take(region: &Latch) -> Taken<'_> {
    match region.take() {
        Some(taken) => taken,
        None => wait(|| region.take()),
    }
}

/// Waits until `attempt`, which has failed, succeeds.
#[cold]
fn wait<T>(attempt: impl Fn() -> Option<T>) -> T {
    let waiting = Waiting(Cell::new(false));
    waiting.note();
    until(&waiting, attempt)
}

#[inline(always)]
fn until<T>(waiting: &Waiting, attempt: impl Fn() -> Option<T>) -> T {
    loop {
        if let Some(taken) = attempt() {
            return taken;
        }
        waiting.goes_on();
        sync::relax();
    }
}

/// Whether this core waits, counted from the first time that it says so until this is dropped.
struct Waiting(Cell<bool>);

impl Waiting {
    fn note(&self) {
        if !self.0.replace(true) {
            percpu::this().shared.count(Counter::RegionWaits, 1);
            WAITING.fetch_add(1, Relaxed);
        }
    }

    /// It does. Who has what it waits for may be waiting for this core to forget something (`tidy.rs`).
    fn goes_on(&self) {
        self.note();
        translations::serve();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.0.get() {
            WAITING.fetch_sub(1, Relaxed);
        }
    }
}

/// Whether another core waits for a region.
pub fn is_wanted() -> bool {
    WAITING.load(Relaxed) != 0
}
