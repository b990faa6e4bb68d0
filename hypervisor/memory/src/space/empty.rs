//! Taking tables out of a master that have nothing in them.
//!
//! Purpose: what is left of a domain's tables when all that was mapped in them has been taken comes back while the domain
//! goes on.
//! Invariants: the entry that refers to the table goes from the master, then what was copied of it from the views, then every
//! core that may have walked there is made to forget. The table's frame is used for something else when that is done and who
//! walks masters without the lock has come out.
//! Concurrency: changes hold the space's lock until all cores have forgotten: what is entered meanwhile would be entered
//! elsewhere, and not be found by who still remembers the empty table. A core that fills its view looks again afterwards.
//! Source: P. McKenney, J. Slingwine, "Read-copy update" (1998); `docs/src/decisions/0002-table-pages.md`.
use super::{Latest, Space};
use crate::mmu::Mmu;
use crate::shootdown::{Machine, Pages, Shootdown};
use abi::PhysAddr;
use core::cell::Cell;

impl<V: Fn(u32) -> Option<PhysAddr>> Space<'_, V> {
    /// Takes an empty table out of the master: the one to which entry `index` of `table` refers, which `forget` takes from the
    /// views. [`Shootdown::reach`] has to follow before the lock is given away.
    pub fn take_empty(
        &self,
        (mmu, machine): (&impl Mmu, &impl Machine),
        (table, index): (PhysAddr, usize),
        forget: impl FnOnce(),
        latest: &Latest,
        shootdown: &mut Shootdown,
    ) {
        mmu.exchange(table, index, 0);
        latest.forget();
        // Who copies it from here on finds it gone when he looks again.
        let all = shootdown.sharers(|| u64::MAX);
        forget();
        shootdown.add((mmu, machine), all, self.view, Pages::ALL);
    }
}

/// Looks through the tables that `next` names, each from the one before that stays, the first from `at`. `take` takes one out,
/// which is told with the one before, if it is empty, and answers `None` if it cannot. `None` if there are no more, or from
/// where on to go on, because one could not be taken or something `waits`.
pub fn look_through(
    mut at: PhysAddr,
    next: impl Fn(PhysAddr) -> Option<PhysAddr>,
    mut take: impl FnMut(PhysAddr, PhysAddr) -> Option<bool>,
    waits: impl Fn() -> bool,
) -> Option<PhysAddr> {
    while let Some(table) = next(at) {
        let taken = take(at, table);
        if taken == Some(false) {
            at = table;
        }
        if taken.is_none() || waits() {
            return Some(at);
        }
    }
    None
}

/// How many tables a core has taken out that others may still walk.
#[derive(Debug, Default)]
pub struct Emptied(Cell<u32>);

impl Emptied {
    /// One more.
    pub fn add(&self) {
        self.0.set(self.0.get() + 1);
    }

    /// So many.
    pub fn count(&self) -> u32 {
        self.0.get()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// Has `free` give back each, if there are any, when `grace` has waited until nobody walks without a lock who did before.
    pub fn give_back(&self, grace: impl FnOnce(), free: impl Fn()) {
        if !self.is_empty() {
            grace();
            (0..self.0.take()).for_each(|_| free());
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
