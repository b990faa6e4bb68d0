//! Pages of objects of one type and one owner.
//!
//! Purpose: allocation of objects in a handful of steps; a domain owns a slab per type, so that its quota pays for
//! whole pages and gets them back.
//! Invariants: a page is in the list exactly while it has a free slot; a page whose slots are all free leaves the slab
//! with the removal that freed the last.
//! Concurrency: `&mut self`: the owner's lock.
//! Source: J. Bonwick, "The slab allocator" (1994); `docs/src/decisions/0003-objects-and-sync.md`.
use crate::GRANULE;
use crate::reference::{Object, Ref};
use crate::store::{PAGE, Store};
use core::marker::PhantomData;
use core::num::NonZeroU32;
use memory::frames::FrameNumber;
use sync::atomic::Ordering::Relaxed;

/// No free slot: the slab needs a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Pages of objects of type `T`.
#[derive(Debug)]
pub struct Slab<T> {
    /// Granule of the first page with a free slot, 0 if none.
    first: u32,
    object: PhantomData<fn() -> T>,
}

impl<T: Object> Default for Slab<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Object> Slab<T> {
    const SLOT: usize = size_of::<T>().div_ceil(GRANULE);
    /// Objects in a page.
    pub const PER_PAGE: usize = (PAGE / GRANULE - 1) / Self::SLOT;

    /// A slab without pages.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(Self::PER_PAGE > 0, "an object must fit a page with its header") };
        Self { first: 0, object: PhantomData }
    }

    /// Stores `object`.
    ///
    /// # Errors
    /// [`Full`] with the object, if there is no free slot: give the slab a page and try again.
    pub fn insert(&mut self, store: &Store<'_>, object: T) -> Result<Ref<T>, (Full, T)> {
        let Some((header, slot)) = store
            .header(self.first as usize)
            .filter(|_| self.first != 0)
            .and_then(|header| Some((header, NonZeroU32::new(header.first.load(Relaxed))?)))
        else {
            return Err((Full, object));
        };
        let next = store.link(slot.get() as usize).map_or(0, |link| link.load(Relaxed));
        header.first.store(next, Relaxed);
        let free = header.free.load(Relaxed) - 1;
        header.free.store(free, Relaxed);
        if free == 0 {
            self.unlink(store, self.first);
        }
        Ok(store.write(slot, object))
    }

    /// Takes a page, which `payer` (a domain's [`Ref::id`], or 0) has paid for, into the slab. It is the slab's until
    /// [`Slab::remove`] returns its number.
    ///
    /// # Safety
    /// The page belongs to the caller and to the store's memory, and nothing in it is in use.
    pub unsafe fn grow(&mut self, store: &Store<'_>, page: FrameNumber, payer: u32) {
        let start = page.0 * (PAGE / GRANULE) as u32;
        let Some(header) = store.header(start as usize) else { return };
        header.kind.store(T::KIND, Relaxed);
        header.payer.store(payer, Relaxed);
        header.free.store(Self::PER_PAGE as u32, Relaxed);
        let mut next = 0;
        for slot in (0..Self::PER_PAGE).rev() {
            let granule = start + 1 + (slot * Self::SLOT) as u32;
            if let Some(link) = store.link(granule as usize) {
                link.store(next, Relaxed);
            }
            next = granule;
        }
        header.first.store(next, Relaxed);
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
        let granule = reference.granule() as u32;
        let header = store.header(granule as usize)?;
        store.link(granule as usize)?.store(header.first.load(Relaxed), Relaxed);
        header.first.store(granule, Relaxed);
        let free = header.free.load(Relaxed) + 1;
        header.free.store(free, Relaxed);
        let per_page = (PAGE / GRANULE) as u32;
        let start = granule / per_page * per_page;
        if free == 1 {
            self.link(store, start);
        }
        if free as usize == Self::PER_PAGE {
            self.unlink(store, start);
            header.kind.store(0, Relaxed);
            return Some(FrameNumber(start / per_page));
        }
        None
    }

    /// Puts the page at granule `start` at the head of the list.
    fn link(&mut self, store: &Store<'_>, start: u32) {
        let Some(header) = store.header(start as usize) else { return };
        header.previous.store(0, Relaxed);
        header.next.store(self.first, Relaxed);
        if let Some(next) = store.header(self.first as usize).filter(|_| self.first != 0) {
            next.previous.store(start, Relaxed);
        }
        self.first = start;
    }

    /// Takes the page at granule `start` out of the list.
    fn unlink(&mut self, store: &Store<'_>, start: u32) {
        let Some(header) = store.header(start as usize) else { return };
        let (previous, next) = (header.previous.load(Relaxed), header.next.load(Relaxed));
        match store.header(previous as usize).filter(|_| previous != 0) {
            Some(neighbour) => neighbour.next.store(next, Relaxed),
            None => self.first = next,
        }
        if let Some(neighbour) = store.header(next as usize).filter(|_| next != 0) {
            neighbour.previous.store(previous, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
