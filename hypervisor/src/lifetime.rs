//! How objects begin, and when they end.
//!
//! Purpose: storage for objects, charged to the domain that pays; and what follows when the last reference to one goes.
//! Invariants: what refers to an object has counted itself. The release that finds the count at 0 puts the object aside,
//! once; [`crate::reclaim`] gives it back. Contexts and scheduling contexts end on their own core first, which is asked to.
//! Concurrency: any core, with the tree's lock held or not.
//! Source: design plan §3; interface §8; `docs/src/decisions/0019-lifetimes.md`.
use crate::{contexts, pool, scheduler, translations};
use abi::address::PAGE_SIZE;
use capability::word::Kind;
use memory::format::Attributes;
use memory::frames::{Order, OutOfMemory};
use memory::shootdown::Shootdown;
use objects::{Charged, Context, Domain, Object, Portal, Ref, Scheduling, Semaphore, Slot, Store};
use percpu::Hazard;
use sync::Count;

/// A reference to an object that is counted.
#[derive(Clone, Copy)]
pub enum Counted {
    /// A use of a domain.
    Domain(Ref<Domain>),
    /// The record of a domain, for something that it has paid for.
    Record(Ref<Domain>),
    /// A context.
    Context(Ref<Context>),
    /// A scheduling context.
    Scheduling(Ref<Scheduling>),
    /// A portal.
    Portal(Ref<Portal>),
    /// A semaphore.
    Semaphore(Ref<Semaphore>),
}

/// The kind, in words of chains, of [`Counted::Record`].
const RECORD: u64 = 6;

impl Counted {
    /// Reads a unit of an object space, or the word of a chain.
    pub fn from_word(store: &Store<'_>, word: u64) -> Option<Self> {
        fn to<T: Object>(store: &Store<'_>, word: u64) -> Option<Ref<T>> {
            // SAFETY: the words are made from references to objects of the kind in the low bits, which still exist.
            unsafe { store.trusted(word >> 3) }
        }
        match Kind::from_number(word & 7) {
            Some(Kind::Domain) => to(store, word).map(Self::Domain),
            Some(Kind::Context) => to(store, word).map(Self::Context),
            Some(Kind::Scheduling) => to(store, word).map(Self::Scheduling),
            Some(Kind::Portal) => to(store, word).map(Self::Portal),
            Some(Kind::Semaphore) => to(store, word).map(Self::Semaphore),
            None => to(store, word).map(Self::Record),
        }
    }

    /// The word for a chain.
    pub fn word(self) -> u64 {
        match self {
            Self::Domain(it) => it.to_word() << 3 | Kind::Domain as u64,
            Self::Record(it) => it.to_word() << 3 | RECORD,
            Self::Context(it) => it.to_word() << 3 | Kind::Context as u64,
            Self::Scheduling(it) => it.to_word() << 3 | Kind::Scheduling as u64,
            Self::Portal(it) => it.to_word() << 3 | Kind::Portal as u64,
            Self::Semaphore(it) => it.to_word() << 3 | Kind::Semaphore as u64,
        }
    }

    /// Its count.
    pub fn count<'s>(self, store: &'s Store<'_>) -> &'s Count {
        match self {
            Self::Domain(it) => &store.get(it).uses,
            Self::Record(it) => &store.get(it).count,
            Self::Context(it) => &store.get(it).count,
            Self::Scheduling(it) => &store.get(it).count,
            Self::Portal(it) => &store.get(it).count,
            Self::Semaphore(it) => &store.get(it).references,
        }
    }

    /// One reference less; the last one puts the object aside, or has it end on its own core first.
    pub fn release(self, store: &Store<'_>) {
        match self {
            _ if !self.count(store).release() => {}
            Self::Context(context) => contexts::end(store, context, true),
            _ => self.put_aside(store),
        }
    }

    /// Leaves an object that nobody refers to, and which is in no queue, to [`crate::reclaim`], before this core leaves the
    /// kernel.
    pub fn put_aside(self, store: &Store<'_>) {
        percpu::this().local.ended.push(self.word(), self.count(store));
        percpu::this().shared.raise(Hazard::Ended);
    }
}

/// Stores `object`; `payer` pays for the page if it takes a new one.
///
/// # Errors
/// The payer's quota or the pool is exhausted.
pub fn add<T: Charged>(store: &Store<'_>, payer: Ref<Domain>, object: T) -> Result<Ref<T>, OutOfMemory> {
    place(store, payer, object).ok_or(OutOfMemory::Quota)
}

/// As [`add`], where it has to be quick.
#[inline(always)]
pub fn place<T: Charged>(store: &Store<'_>, payer: Ref<Domain>, object: T) -> Option<Ref<T>> {
    Some(store.write(slot(store, payer)?, object))
}

/// A slot that `payer` pays for.
#[inline(always)]
pub fn slot<T: Charged>(store: &Store<'_>, payer: Ref<Domain>) -> Option<Slot<T>> {
    let slot = T::slab(&mut store.get(payer).slabs.lock()).reserve(store);
    slot.or_else(|| extend(store, payer))
}

/// A slot in a new page of a slab, which `payer` pays for.
#[cold]
fn extend<T: Charged>(store: &Store<'_>, payer: Ref<Domain>) -> Option<Slot<T>> {
    let domain = store.get(payer);
    let page = pool::dirty(Order::PAGE, &domain.quota).ok()?.into_number();
    // Who makes it pay has found it in use, so the count is not 0.
    let _ = domain.count.acquire();
    let mut slabs = domain.slabs.lock();
    let slab = T::slab(&mut slabs);
    // SAFETY: the page was just handed out to us and is given to the slab for good.
    unsafe { slab.grow(store, page, payer.id().get()) };
    slab.reserve(store)
}

/// Takes an object out of the store, and gives its page back if it was the last one there. Then there is one reference less
/// to what it `held`.
///
/// # Safety
/// No reference to it is left anywhere, and no core has a borrow of it.
#[inline(always)]
pub unsafe fn remove<T: Charged>(store: &Store<'_>, reference: Ref<T>, held: Option<Counted>) {
    let Some(payer) = store.payer(reference) else { return };
    let domain = store.get(payer);
    // SAFETY: the caller's promise.
    let page = unsafe { T::slab(&mut domain.slabs.lock()).remove(store, reference) };
    if let Some(page) = page {
        // SAFETY: the slab gave the page up.
        unsafe { pool::release(arch::pool::phys(page.0), &domain.quota) };
        Counted::Record(payer).release(store);
    }
    if let Some(held) = held {
        held.release(store);
    }
}

/// The last capability to the object that `unit` of an object space stands for is gone.
pub fn unnamed(store: &Store<'_>, unit: u64, shootdown: &mut Shootdown) {
    match Counted::from_word(store, unit) {
        Some(Counted::Context(reference)) => {
            let identity = store.get(reference).identity();
            if identity.message_at != 0 && store.get(reference).owns_page() {
                let range = (identity.message_at, PAGE_SIZE);
                translations::restrict(store.get(identity.domain), range, Attributes::empty(), shootdown);
            }
            if identity.global {
                contexts::end(store, reference, false);
            }
            Counted::Context(reference).release(store);
        }
        Some(Counted::Scheduling(scheduling)) => scheduler::end(store, scheduling),
        Some(Counted::Portal(reference)) => {
            let portal = store.get(reference);
            portal.revoked.set(1);
            if portal.count.release() {
                Counted::Portal(reference).put_aside(store);
            } else {
                // A proxy keeps it: two servers that wait for each other across cores would never end otherwise.
                contexts::post(store, portal.context, 0);
            }
        }
        Some(other) => other.release(store),
        None => {}
    }
}
