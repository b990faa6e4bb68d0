//! The store: pool memory as objects.
//!
//! Purpose: from a reference to a borrow. On the machine the pool is at a constant address, on the host it is a vector.
//! Invariants: see the crate's; a page that became a page of objects stays one until its slab gives it up, which needs
//! all its slots to be free.
//! Concurrency: a `Store` is a permission to look at objects: the kernel makes one on entry, with interrupts off, and
//! borrows end with it, so that "no entry older than this one" means "no borrow older than this one".
//! Source: `docs/src/decisions/0003-objects-and-sync.md`.
use crate::GRANULE;
use crate::domain::Domain;
use crate::reference::{Object, Plain, Ref};
use crate::slab::Slot;
use core::marker::PhantomData;
use core::num::NonZeroU32;
use core::ptr::NonNull;
use sync::atomic::{AtomicU32, Ordering};

/// Bytes of a page of objects.
pub(crate) const PAGE: usize = 4096;

/// The start of a page of objects.
#[repr(C, align(64))]
pub(crate) struct Header {
    /// [`Object::KIND`] of the objects in the page.
    pub kind: AtomicU32,
    /// Number of free slots.
    pub free: AtomicU32,
    /// Offset of the slot that was freed last, 0 if none.
    pub first: AtomicU32,
    /// Offset of the first slot of those at the end that were never used, or are as if they never were.
    pub fresh: AtomicU32,
    /// Offsets of the neighbours in the slab's list of pages with free slots, 0 if none.
    pub previous: AtomicU32,
    /// See `previous`.
    pub next: AtomicU32,
    /// Id of the domain that has paid for the page, 0 for none.
    pub payer: AtomicU32,
}

const _: () = assert!(size_of::<Header>() == GRANULE);

/// Permission to look at the objects of a pool. On the machine it has no size.
pub struct Store<'m> {
    #[cfg(not(target_os = "none"))]
    base: NonNull<u8>,
    #[cfg(not(target_os = "none"))]
    pages: usize,
    memory: PhantomData<&'m ()>,
    // Not to be sent to another core.
    core: PhantomData<*mut ()>,
}

impl<'m> Store<'m> {
    /// The store over `pages` pages from `base` on.
    ///
    /// # Safety
    /// The memory is readable, writable and aligned to 4096 for `'m`; all accesses to its pages of objects go through
    /// stores over this same memory; what is not a page of objects is not touched by any. On the machine there is one
    /// such memory, at [`memory::layout::POOL_BASE`], whatever `base` and `pages` are.
    pub const unsafe fn new(base: NonNull<u8>, pages: usize) -> Self {
        #[cfg(target_os = "none")]
        let _ = (base, pages);
        Self {
            #[cfg(not(target_os = "none"))]
            base,
            #[cfg(not(target_os = "none"))]
            pages,
            memory: PhantomData,
            core: PhantomData,
        }
    }

    /// What is so far from the start of the memory, and in it. On the machine the start is known.
    #[inline]
    fn place(&self, offset: usize) -> NonNull<u8> {
        #[cfg(target_os = "none")]
        let base = core::ptr::with_exposed_provenance_mut::<u8>(memory::layout::POOL_BASE as usize);
        #[cfg(not(target_os = "none"))]
        let base = self.base.as_ptr();
        // SAFETY: inside the memory, whose size fits `isize` because it exists; it does not start at address 0.
        unsafe { NonNull::new_unchecked(base.add(offset)) }
    }

    /// The object that `reference` names.
    pub fn get<T: Object>(&self, reference: Ref<T>) -> &T {
        debug_assert!(self.kind_of(reference.offset()) == Some(T::KIND as u32), "a stale reference");
        // SAFETY: references come from `write` to this memory (the crate's invariant 2), which wrote a `T` there;
        // it stays one until `Slab::remove`, which happens only when no reference is left. `T` is `Sync`, and a shared
        // borrow is all that is given out.
        unsafe { self.place(reference.offset()).cast().as_ref() }
    }

    /// The reference that a field holds as a word; `None` for 0, and for what is not an object of this type.
    pub fn reference<T: Object>(&self, word: u64) -> Option<Ref<T>> {
        let offset = NonZeroU32::new(u32::try_from(word).ok()?)?;
        (self.kind_of(offset.get() as usize) == Some(T::KIND as u32)).then_some(Ref::new(offset))
    }

    /// The reference that a field holds as a word, without looking at the object; `None` for 0.
    ///
    /// # Safety
    /// `word` is 0 or [`Ref::to_word`] of an object of type `T` that still exists.
    #[inline]
    pub unsafe fn trusted<T: Object>(&self, word: u64) -> Option<Ref<T>> {
        let id = NonZeroU32::new(word as u32)?;
        debug_assert!(self.kind_of(id.get() as usize) == Some(T::KIND as u32), "a stale reference");
        Some(Ref::new(id))
    }

    /// As [`Self::trusted`] of a word that is not 0.
    ///
    /// # Safety
    /// `word` is [`Ref::to_word`] of an object of type `T` that still exists.
    #[inline]
    pub unsafe fn certain<T: Object>(&self, word: u64) -> Ref<T> {
        debug_assert!(self.kind_of(word as usize) == Some(T::KIND as u32), "a stale reference");
        // SAFETY: words of references are not 0.
        Ref::new(unsafe { NonZeroU32::new_unchecked(word as u32) })
    }

    /// The object whose reference is `word`.
    ///
    /// # Safety
    /// `word` is [`Ref::to_word`] of an object of type `T` that still exists.
    #[inline]
    pub unsafe fn at<T: Object>(&self, word: u64) -> &T {
        debug_assert!(self.kind_of(word as usize) == Some(T::KIND as u32), "a stale reference");
        // SAFETY: as for [`Self::get`], with the caller's promise.
        unsafe { self.place(word as usize).cast().as_ref() }
    }

    /// The reference that a queue names.
    ///
    /// # Safety
    /// `id` is [`Ref::id`] of an object of type `T` that still exists.
    pub const unsafe fn named<T: Object>(&self, id: NonZeroU32) -> Ref<T> {
        Ref::new(id)
    }

    /// The domain that pays for the page of an object.
    pub fn payer<T: Object>(&self, reference: Ref<T>) -> Option<Ref<Domain>> {
        NonZeroU32::new(self.header(reference.offset()).payer.load(Ordering::Relaxed)).map(Ref::new)
    }

    fn kind_of(&self, offset: usize) -> Option<u32> {
        // On the machine, where fields hold words of references only, that it may be in the memory.
        #[cfg(target_os = "none")]
        let size = memory::layout::POOL_LIMIT as usize;
        #[cfg(not(target_os = "none"))]
        let size = self.pages * PAGE;
        (offset < size).then(|| self.header(offset).kind.load(Ordering::Relaxed))
    }

    /// Header of the page of objects that holds `offset`, which a reference or a slab names.
    #[inline]
    pub(crate) fn header(&self, offset: usize) -> &Header {
        // SAFETY: references lie in pages of objects, which start with a header; it consists of atomics.
        unsafe { self.place(offset & !(PAGE - 1)).cast().as_ref() }
    }

    /// The word that links free slots, at the start of the free slot at `offset`.
    #[inline]
    pub(crate) fn link(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: a free slot belongs to its slab, which asks; it holds nothing but this atomic.
        unsafe { self.place(offset).cast().as_ref() }
    }

    /// Writes `object` into a slot that a slab gave away.
    #[inline]
    pub fn write<T: Object>(&self, slot: Slot<T>, object: T) -> Ref<T> {
        const { assert!(align_of::<T>() <= GRANULE) };
        let reference = slot.into_reference();
        // SAFETY: the slot was taken from the free ones of its slab, where `grow` put slots of pages inside the memory only:
        // nobody else uses it; it is large and aligned enough.
        unsafe { self.place(reference.offset()).cast().write(object) };
        reference
    }

    /// Takes what is in a slot that a slab gave away for an object.
    #[inline]
    pub fn adopt<T: Plain>(&self, slot: Slot<T>) -> Ref<T> {
        slot.into_reference()
    }

    /// Ends the object in slot `reference`.
    pub(crate) fn drop_in_place<T: Object>(&self, reference: Ref<T>) {
        // SAFETY: the caller of `Slab::remove` promises that no reference is left.
        unsafe { self.place(reference.offset()).cast::<T>().drop_in_place() }
    }
}
