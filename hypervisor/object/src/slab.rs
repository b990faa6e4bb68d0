//! Pages of objects of one type and one owner.
//!
//! Purpose: allocation of objects in a handful of steps; a domain owns a slab per type, so that its quota pays for
//! whole pages and gets them back.
//! Invariants: a page is in the list exactly while it has a free slot; a page whose slots are all free leaves the slab
//! with the removal that freed the last.
//! Concurrency: `&mut self`: the owner's lock.
//! Source: J. Bonwick, "The slab allocator" (1994); `docs/src/decisions/0003-objects-and-sync.md`.
use crate::GRANULE;
use crate::reference::{Object, Plain, Ref};
use crate::store::{PAGE, Store};
use core::marker::PhantomData;
use core::num::NonZeroU32;
use memory::frames::FrameNumber;
use sync::atomic::Ordering::Relaxed;

/// A place for an object of type `T`, which [`Store::write`] makes one. One that is dropped is lost.
#[must_use = "a slot that is dropped is lost"]
pub struct Slot<T>(NonZeroU32, PhantomData<fn() -> T>);

impl<T> Slot<T> {
    pub(crate) const fn into_reference(self) -> Ref<T> {
        Ref::new(self.0)
    }
}

/// Pages of objects of type `T`.
pub struct Slab<T> {
    /// Offset of the first page with a free slot, 0 if none.
    first: u32,
    object: PhantomData<fn() -> T>,
}

impl<T: Object> Default for Slab<T> {
    fn default() -> Self {
        const { assert!(Self::PER_PAGE > 0, "an object must fit a page with its header") };
        Self { first: 0, object: PhantomData }
    }
}

impl<T: Object> Slab<T> {
    const SLOT: usize = size_of::<T>().next_multiple_of(GRANULE);
    /// Objects in a page.
    pub const PER_PAGE: usize = (PAGE - GRANULE) / Self::SLOT;

    /// Takes a free slot; with none there, give the slab a page and try again.
    #[inline(always)]
    pub fn reserve(&mut self, store: &Store<'_>) -> Option<Slot<T>> {
        self.reserve_run(store, 1).map(|(slot, _)| slot)
    }

    /// Takes free slots that follow each other, from one to `most`: the first, and how many. `None` as for [`Self::reserve`].
    #[inline(always)]
    pub fn reserve_run(&mut self, store: &Store<'_>, most: u64) -> Option<(Slot<T>, u64)> {
        if self.first == 0 {
            return None;
        }
        let header = store.header(self.first as usize);
        let (first, fresh, free) = (header.first.load(Relaxed), header.fresh.load(Relaxed), header.free.load(Relaxed));
        // A page of the list has one.
        let (mut count, step) = (if most == 1 { 1 } else { most.min(free.into()) as u32 }, Self::SLOT as u32);
        if first == 0 {
            header.fresh.store(fresh + count * step, Relaxed);
        } else {
            let (mut next, most) = (store.link(first as usize).load(Relaxed), count);
            count = 1;
            while count < most && next == first + count * step {
                (next, count) = (store.link(next as usize).load(Relaxed), count + 1);
            }
            header.first.store(next, Relaxed);
        }
        header.free.store(free - count, Relaxed);
        if free == count {
            self.unlink(store, self.first);
        }
        let slot = NonZeroU32::new(if first == 0 { fresh } else { first });
        slot.map(|slot| (Slot(slot, PhantomData), count.into()))
    }

    /// Takes a page, which `payer` (a domain's [`Ref::id`], or 0) has paid for, into the slab. It is the slab's until
    /// [`Slab::remove`] returns its number.
    ///
    /// # Safety
    /// The page belongs to the caller and to the store's memory, and nothing in it is in use.
    pub unsafe fn grow(&mut self, store: &Store<'_>, page: FrameNumber, payer: u32) {
        let start = page.0 * PAGE as u32;
        let header = store.header(start as usize);
        header.kind.store(T::KIND as u32, Relaxed);
        header.payer.store(payer, Relaxed);
        header.free.store(Self::PER_PAGE as u32, Relaxed);
        header.first.store(0, Relaxed);
        header.fresh.store(start + GRANULE as u32, Relaxed);
        self.link(store, start);
    }

    /// Frees the slot of `reference`. If that was the last object of its page, the page leaves the slab and is returned:
    /// it is the caller's again.
    ///
    /// # Safety
    /// The object is in this slab, no reference to it is left anywhere, and no core has a borrow of it: a grace period
    /// has passed since the last reference went.
    pub unsafe fn remove(&mut self, store: &Store<'_>, reference: Ref<T>) -> Option<FrameNumber> {
        store.drop_in_place(reference);
        self.free(store, reference.offset() as u32, 1)
    }

    /// As [`Self::remove`], of `count` objects whose slots follow each other, from `first` on.
    ///
    /// # Safety
    /// As for [`Self::remove`]; they are of one page.
    pub unsafe fn remove_run(&mut self, store: &Store<'_>, first: Ref<T>, count: u32) -> Option<FrameNumber>
    where
        T: Plain,
    {
        self.free(store, first.offset() as u32, count)
    }

    /// Frees `count` slots of one page, from `offset` on.
    #[inline(always)]
    fn free(&mut self, store: &Store<'_>, offset: u32, count: u32) -> Option<FrameNumber> {
        let (header, last) = (store.header(offset as usize), offset + (count - 1) * Self::SLOT as u32);
        // What is left of a page that is emptied from its end needs no links.
        if count != 1 && header.fresh.load(Relaxed) == last + Self::SLOT as u32 {
            header.fresh.store(offset, Relaxed);
        } else {
            for slot in (offset..last).step_by(Self::SLOT) {
                store.link(slot as usize).store(slot + Self::SLOT as u32, Relaxed);
            }
            store.link(last as usize).store(header.first.load(Relaxed), Relaxed);
            header.first.store(offset, Relaxed);
        }
        let free = header.free.load(Relaxed) + count;
        header.free.store(free, Relaxed);
        let start = offset & !(PAGE as u32 - 1);
        if free == count {
            self.link(store, start);
        }
        if free as usize == Self::PER_PAGE {
            self.unlink(store, start);
            header.kind.store(0, Relaxed);
            return Some(FrameNumber(start / PAGE as u32));
        }
        None
    }

    /// Puts the page at `start` at the head of the list.
    fn link(&mut self, store: &Store<'_>, start: u32) {
        let header = store.header(start as usize);
        header.previous.store(0, Relaxed);
        header.next.store(self.first, Relaxed);
        if self.first != 0 {
            store.header(self.first as usize).previous.store(start, Relaxed);
        }
        self.first = start;
    }

    /// Takes the page at `start` out of the list.
    fn unlink(&mut self, store: &Store<'_>, start: u32) {
        let header = store.header(start as usize);
        let (previous, next) = (header.previous.load(Relaxed), header.next.load(Relaxed));
        match previous {
            0 => self.first = next,
            _ => store.header(previous as usize).next.store(next, Relaxed),
        }
        if next != 0 {
            store.header(next as usize).previous.store(previous, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
