//! How objects begin, and when they end.
//!
//! Purpose: storage for objects, charged to the domain that pays; and what follows when the last reference to one goes.
//! Invariants: what refers to an object has counted itself. The release that finds the count at 0 puts the object aside,
//! once; [`crate::reclaim`] gives it back. Contexts and scheduling contexts end on their own core first, which is asked to.
//! Concurrency: any core, with regions of the mapping tree held or not.
//! Source: design plan §3; interface §8; `docs/src/decisions/0019-lifetimes.md`.
use crate::mapping::lock;
use crate::{contexts, pool, scheduler, translations};
use abi::address::PAGE_SIZE;
use capability::word::Kind;
use memory::format::Attributes;
use memory::frames::{FrameNumber, Order, OutOfMemory, Unshown};
use memory::shootdown::Shootdown;
use objects::{Charged, Context, Domain, Plain, Portal, Ref, Scheduling, Semaphore, Slot, Store};
use percpu::Hazard;
use sync::Count;

/// Makes [`Counted`]: the objects, the number of each in words, and what counts its references.
macro_rules! counted {
    ($($(#[$about:meta])* $name:ident of $object:ident is $number:expr, by $count:ident;)+) => {
        /// A reference to an object that is counted.
        #[derive(Clone, Copy)]
        pub enum Counted { $($(#[$about])* $name(Ref<$object>),)+ }

        impl Counted {
            /// Reads a unit of an object space, or the word of a chain.
            pub fn from_word(store: &Store<'_>, word: u64) -> Option<Self> {
                match word & 7 {
                    // SAFETY: words are made from references to objects of the kind in the low bits, which still exist.
                    $(number if number == $number => unsafe { store.trusted(word >> 3) }.map(Self::$name),)+
                    _ => None,
                }
            }

            /// The word for a chain.
            pub fn word(self) -> u64 {
                match self { $(Self::$name(it) => it.to_word() << 3 | $number,)+ }
            }

            /// Its count.
            pub fn count<'s>(self, store: &'s Store<'_>) -> &'s Count {
                match self { $(Self::$name(it) => &store.get(it).$count,)+ }
            }
        }
    };
}

counted! {
    /// A use of a domain.
    Domain of Domain is Kind::Domain as u64, by uses;
    /// The record of a domain, for something that it has paid for.
    Record of Domain is 6, by count;
    /// A context.
    Context of Context is Kind::Context as u64, by count;
    /// A scheduling context.
    Scheduling of Scheduling is Kind::Scheduling as u64, by count;
    /// A portal.
    Portal of Portal is Kind::Portal as u64, by count;
    /// A semaphore.
    Semaphore of Semaphore is Kind::Semaphore as u64, by references;
}

impl Counted {
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

/// Stores what `make` returns; `payer` pays for the page if it takes a new one.
///
/// # Errors
/// The payer's quota or the pool is exhausted.
#[inline(always)]
pub fn add<T: Charged>(store: &Store<'_>, payer: Ref<Domain>, make: impl FnOnce() -> T) -> Result<Ref<T>, OutOfMemory> {
    let slot = slot(store, payer).ok_or(OutOfMemory::Quota)?;
    Ok(store.write(slot, make()))
}

/// A slot that `payer` pays for.
#[inline(always)]
pub fn slot<T: Charged>(store: &Store<'_>, payer: Ref<Domain>) -> Option<Slot<T>> {
    slots(store, payer, 1).map(|(slot, _)| slot)
}

/// Slots that follow each other, from one to `most`, that `payer` pays for: the first, and how many.
#[inline(always)]
pub fn slots<T: Charged>(store: &Store<'_>, payer: Ref<Domain>, most: u64) -> Option<(Slot<T>, u64)> {
    let run = T::slab(&mut pool::lock(&store.get(payer).slabs)).reserve_run(store, most);
    run.or_else(|| extend(store, payer, most))
}

/// As [`slots`], in a new page of the slab.
#[cold]
fn extend<T: Charged>(store: &Store<'_>, payer: Ref<Domain>, most: u64) -> Option<(Slot<T>, u64)> {
    let domain = store.get(payer);
    let page = pool::dirty(Order::PAGE, &domain.quota).ok()?.into_number();
    // Who makes it pay has found it in use, so the count is not 0.
    let _ = domain.count.acquire();
    let mut slabs = pool::lock(&domain.slabs);
    let slab = T::slab(&mut slabs);
    // SAFETY: the page was just handed out to us and is given to the slab for good.
    unsafe { slab.grow(store, page, payer.id().get()) };
    slab.reserve_run(store, most)
}

/// Takes an object out of the store, and gives its page back if it was the last one there. Then there is one reference less
/// to what it `held`.
///
/// # Safety
/// No reference to it is left anywhere, and no core has a borrow of it.
#[inline(always)]
pub unsafe fn remove<T: Charged>(store: &Store<'_>, reference: Ref<T>, held: Option<Counted>) {
    let Some(payer) = store.payer(reference) else { return };
    // SAFETY: the caller's promise.
    let page = unsafe { T::slab(&mut pool::lock(&store.get(payer).slabs)).remove(store, reference) };
    give_back(store, payer, page);
    if let Some(held) = held {
        held.release(store);
    }
}

/// As [`remove`], of `count` objects whose slots follow each other, from `first` on.
///
/// # Safety
/// As for [`remove`]; they are of one page.
#[inline(always)]
pub unsafe fn remove_run<T: Charged + Plain>(store: &Store<'_>, first: Ref<T>, count: u32) {
    let Some(payer) = store.payer(first) else { return };
    // SAFETY: the caller's promise.
    let page = unsafe { T::slab(&mut pool::lock(&store.get(payer).slabs)).remove_run(store, first, count) };
    give_back(store, payer, page);
}

/// Gives back the page of a slab.
#[inline(always)]
fn give_back(store: &Store<'_>, payer: Ref<Domain>, page: Option<FrameNumber>) {
    if let Some(page) = page {
        // SAFETY: the slab gave the page up.
        unsafe { pool::release(arch::pool::phys(page.0), &store.get(payer).quota, Unshown) };
        Counted::Record(payer).release(store);
    }
}

/// As [`unnamed`], with no region held.
pub fn unnamed_alone(store: &Store<'_>, unit: u64) {
    let mut shootdown = translations::shootdown();
    let domain = match Counted::from_word(store, unit) {
        Some(Counted::Context(context)) => Some(store.get(store.get(context).identity().domain)),
        _ => None,
    };
    let region = domain.map(|domain| lock::of(domain, domain));
    unnamed(store, unit, &mut shootdown);
    drop(region);
    shootdown.finish(&translations::Cores);
}

/// The last capability to the object that `unit` of an object space stands for is gone. The region is held of the domain, if
/// it is a context.
pub fn unnamed(store: &Store<'_>, unit: u64, shootdown: &mut Shootdown) {
    match Counted::from_word(store, unit) {
        Some(Counted::Context(reference)) => {
            let identity = store.get(reference).identity();
            // Before its message page goes, which it may be using.
            store.get(reference).revoked.set(1);
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
