//! A node: one cache line.
//!
//! Purpose: the fields, and reading them as a [`Piece`].
//! Invariants: see `tree.rs`; 64 bytes.
//! Concurrency: relaxed atomics; whoever uses them holds the tree's lock.
//! Source: lecture C:331-336 (node apart from the page table), C:456-492 (list with depths).
use super::{Attributes, Piece, Space, Span};
use abi::{Crd, Rights};
use core::num::NonZeroU32;
use sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

/// Name of a node, given by [`super::Nodes::allocate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeId(NonZeroU32);

impl NodeId {
    /// A name from a number other than 0.
    #[must_use]
    pub const fn new(number: NonZeroU32) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> NonZeroU32 {
        self.0
    }
}

macro_rules! field {
    ($name:ident, $atomic:ident, $int:ty) => {
        #[derive(Debug, Default)]
        pub(super) struct $name($atomic);
        impl $name {
            #[inline]
            pub fn get(&self) -> $int {
                self.0.load(Relaxed)
            }
            #[inline]
            pub fn set(&self, value: $int) {
                self.0.store(value, Relaxed);
            }
        }
    };
}
field!(Byte, AtomicU8, u8);
field!(Half, AtomicU16, u16);
field!(Number, AtomicU32, u32);
field!(Word, AtomicU64, u64);

/// A field that names a node or none.
#[derive(Debug, Default)]
pub(super) struct Link(AtomicU32);

impl Link {
    #[inline]
    pub fn get(&self) -> Option<NodeId> {
        NonZeroU32::new(self.0.load(Relaxed)).map(NodeId)
    }

    #[inline]
    pub fn set(&self, node: Option<NodeId>) {
        self.0.store(node.map_or(0, |node| node.0.get()), Relaxed);
    }
}

/// A run of mappings; see [`super`].
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Node {
    pub(super) base: Word,
    pub(super) count: Word,
    pub(super) origin: Word,
    pub(super) owner: Number,
    /// Neighbours in the list of the tree.
    pub(super) next: Link,
    pub(super) previous: Link,
    /// The node it was delegated from; none for a root.
    pub(super) parent: Link,
    /// Place in the index of the space.
    pub(super) up: Link,
    pub(super) child: [Link; 2],
    /// Number of ancestors.
    pub(super) depth: Half,
    /// Of its subtree in the index.
    pub(super) height: Byte,
    pub(super) kind: Byte,
    pub(super) rights: Byte,
    pub(super) attributes: Byte,
}

const _: () = assert!(size_of::<Node>() == 64);

impl Node {
    pub(super) fn end(&self) -> u64 {
        self.base.get() + self.count.get()
    }

    pub(super) fn rights(&self) -> Rights {
        Rights::new(self.rights.get())
    }

    pub(super) fn attributes(&self) -> Attributes {
        Attributes(self.attributes.get())
    }

    pub(super) fn space(&self) -> Space {
        // The low bits of a range descriptor are its type, so its decoder decodes ours.
        Space { owner: self.owner.get(), kind: Crd::from_word(u64::from(self.kind.get())).kind() }
    }

    pub(super) fn origins(&self) -> Span {
        Span { base: self.origin.get(), count: self.count.get() }
    }

    pub(super) fn piece(&self) -> Piece {
        Piece {
            space: self.space(),
            span: Span { base: self.base.get(), count: self.count.get() },
            origin: self.origin.get(),
            rights: self.rights(),
            attributes: self.attributes(),
        }
    }

    /// Sets everything but the links and the depth.
    pub(super) fn fill(&self, piece: &Piece) {
        self.base.set(piece.span.base);
        self.count.set(piece.span.count);
        self.origin.set(piece.origin);
        self.owner.set(piece.space.owner);
        self.kind.set(piece.space.kind as u8);
        self.rights.set(piece.rights.bits());
        self.attributes.set(piece.attributes.0);
    }
}
