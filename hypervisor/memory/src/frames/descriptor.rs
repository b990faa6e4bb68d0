//! Purpose: what the allocator remembers about one frame.
//!
//! Invariants: all bits zero is a valid descriptor, [`Descriptor::TAIL`], so
//! the array is set up by clearing its memory: the kind says first which it is,
//! and 0 is [`Kind::Tail`]. Links are indices, not pointers, so the allocator
//! needs no unsafe code.
//!
//! Concurrency: plain values behind the allocator's lock.
//!
//! Source: the module above.

use super::frame::Order;

/// The state of one frame of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Descriptor {
    pub(super) kind: Kind,
    /// Of a free block: the one before it in its list. Of an allocated one: see `ring.rs`.
    pub(super) previous: Link,
    /// Of a free block: the one behind it in its list, or on its shelf. Of an allocated one: see `ring.rs`.
    pub(super) next: Link,
}

/// What a descriptor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Not the first frame of a block, or reserved.
    Tail = 0,
    /// First frame of a free block.
    Free(Order) = 1,
    /// First frame of an allocated block.
    Allocated(Order) = 2,
    /// A free frame on a shelf.
    Kept = 3,
}

/// A frame's index plus one, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Link(u32);

impl Link {
    pub(super) const NONE: Self = Self(0);

    /// The link to a frame, whose index is below the largest number.
    pub(super) const fn to(index: u32) -> Self {
        Self(index + 1)
    }

    pub(super) const fn index(self) -> Option<u32> {
        self.0.checked_sub(1)
    }
}

impl Descriptor {
    /// A frame that is not the first of a block: all bits zero.
    pub const TAIL: Self = Self { kind: Kind::Tail, previous: Link::NONE, next: Link::NONE };
}
