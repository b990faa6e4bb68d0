//! Names of elements, and how to get at what they contribute to a list.
//!
//! Purpose: lists that go through objects without pointers.
//! Invariants: 0 names nothing.
//! Concurrency: a [`Link`] is read and written without ordering; the lists say what orders the accesses.
//! Source: `docs/src/decisions/0003-objects-and-sync.md`.
use crate::atomic::{AtomicU32, Ordering::Relaxed};
use core::num::NonZeroU32;

/// Names an element; never 0.
pub type Id = NonZeroU32;

/// How a list gets at its elements: `L` is the part of an element that belongs to the list.
pub trait Elements<L> {
    /// The links of element `id`. The same element always has the same links.
    fn links(&self, id: Id) -> &L;
}

/// The name of another element, or none.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Link(AtomicU32);

impl Link {
    /// The name.
    #[inline]
    pub fn get(&self) -> Option<Id> {
        Id::new(self.0.load(Relaxed))
    }

    /// Replaces the name.
    #[inline]
    pub fn set(&self, id: Option<Id>) {
        self.0.store(id.map_or(0, Id::get), Relaxed);
    }
}
