//! Purpose: what the allocator remembers about one frame, in one word.
//!
//! | bits | field |
//! |---|---|
//! | 1:0 | kind: 0 tail, 1 free, 2 allocated |
//! | 5:2 | order of the block that starts here |
//! | 35:8 | next block in the free list, plus one; 0 is none |
//! | 63:36 | previous block in the free list, plus one; 0 is none |
//!
//! Invariants: all bits zero is a valid descriptor, [`Descriptor::TAIL`], so
//! the array is set up by clearing its memory. Links are indices, not
//! pointers, so the allocator needs no unsafe code.
//!
//! Concurrency: plain values behind the allocator's lock.
//!
//! Source: the module above.

use super::frame::Order;

const KIND_FREE: u64 = 1;
const KIND_ALLOCATED: u64 = 2;
const KIND_MASK: u64 = 3;
const ORDER_SHIFT: u32 = 2;
const ORDER_MASK: u64 = 0xf;
const LINK_BITS: u32 = 28;
const LINK_MASK: u64 = (1 << LINK_BITS) - 1;
const NEXT_SHIFT: u32 = 8;
const PREVIOUS_SHIFT: u32 = NEXT_SHIFT + LINK_BITS;

/// The state of one frame of the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Descriptor(u64);

/// What a descriptor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Not the first frame of a block, or reserved.
    Tail,
    /// First frame of a free block.
    Free(Order),
    /// First frame of an allocated block.
    Allocated(Order),
}

/// A frame's index plus one, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link(u32);

impl Link {
    pub(super) const NONE: Self = Self(0);
    /// Number of frames that links can name.
    pub(super) const LIMIT: u32 = LINK_MASK as u32;

    pub(super) const fn to(index: u32) -> Self {
        Self(index + 1)
    }

    pub(super) const fn index(self) -> Option<u32> {
        self.0.checked_sub(1)
    }
}

impl Descriptor {
    /// A frame that is not the first of a block: all bits zero.
    pub const TAIL: Self = Self(0);

    pub(super) const fn allocated(order: Order) -> Self {
        Self(KIND_ALLOCATED | (order.index() as u64) << ORDER_SHIFT)
    }

    pub(super) const fn free(order: Order, previous: Link, next: Link) -> Self {
        let links = (previous.0 as u64) << PREVIOUS_SHIFT | (next.0 as u64) << NEXT_SHIFT;
        Self(KIND_FREE | (order.index() as u64) << ORDER_SHIFT | links)
    }

    pub(super) fn kind(&self) -> Kind {
        let order = Order::new((self.0 >> ORDER_SHIFT & ORDER_MASK) as u8);
        match (self.0 & KIND_MASK, order) {
            (KIND_FREE, Some(order)) => Kind::Free(order),
            (KIND_ALLOCATED, Some(order)) => Kind::Allocated(order),
            _ => Kind::Tail,
        }
    }

    /// Previous and next block in the free list.
    pub(super) const fn links(&self) -> (Link, Link) {
        let next = (self.0 >> NEXT_SHIFT & LINK_MASK) as u32;
        (Link((self.0 >> PREVIOUS_SHIFT) as u32), Link(next))
    }

    pub(super) const fn set_next(&mut self, next: Link) {
        self.0 = self.0 & !(LINK_MASK << NEXT_SHIFT) | (next.0 as u64) << NEXT_SHIFT;
    }

    pub(super) const fn set_previous(&mut self, previous: Link) {
        self.0 = self.0 & !(LINK_MASK << PREVIOUS_SHIFT) | (previous.0 as u64) << PREVIOUS_SHIFT;
    }
}
