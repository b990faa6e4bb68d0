//! References to objects.
//!
//! Purpose: 32 bits that say where an object is, and at compile time of which type it is.
//! Invariants: never 0; the number of bytes from the start of the pool, a multiple of [`GRANULE`](crate::GRANULE), so that
//! an address is one addition. The first page of the pool holds frame descriptors, so 0 is free to mean "none".
//! Concurrency: plain values.
//! Source: `docs/src/decisions/0003-objects-and-sync.md`.
use abi::Rights;
use capability::word::Capability;
pub use capability::word::Kind;
use core::marker::PhantomData;
use core::num::NonZeroU32;

/// A type whose values live in the store.
///
/// # Safety
/// No other type has the same [`Object::KIND`].
pub unsafe trait Object: Sync + Sized {
    /// The type.
    const KIND: Kind;
}

/// An object for which any bytes are a value.
///
/// # Safety
/// It consists of integers, or atomics of them.
pub unsafe trait Plain: Object {}

/// A reference to an object of type `T`.
pub struct Ref<T>(NonZeroU32, PhantomData<fn() -> T>);

impl<T> Ref<T> {
    pub(crate) const fn new(offset: NonZeroU32) -> Self {
        Self(offset, PhantomData)
    }

    pub(crate) const fn offset(self) -> usize {
        self.0.get() as usize
    }

    /// The reference as the name of an element of a queue.
    pub const fn id(self) -> NonZeroU32 {
        self.0
    }

    /// The reference as a word, for a field that holds one; never 0.
    pub const fn to_word(self) -> u64 {
        self.0.get() as u64
    }
}

impl<T: Object> Ref<T> {
    /// The capability to the object with these rights.
    pub const fn capability(self, rights: Rights) -> Capability {
        const { assert!(!matches!(T::KIND, Kind::Node), "there are no capabilities to nodes") };
        Capability::new(T::KIND, rights, self.to_word())
    }
}

impl<T> Clone for Ref<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Ref<T> {}
impl<T> PartialEq for Ref<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<T> Eq for Ref<T> {}

#[cfg(test)]
impl<T> core::fmt::Debug for Ref<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "@{:#x}", self.0)
    }
}
