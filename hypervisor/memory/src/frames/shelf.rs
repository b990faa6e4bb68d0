//! Purpose: single frames that are kept apart from the blocks, so that what is allocated and freed all the time is neither
//! joined nor divided, and frames of zeros are not cleared again.
//!
//! Invariants: frames on a shelf are free, of kind [`Kind::Kept`], in a list without way back. There are at most
//! [`KEPT`] on each, and none when a block is refused.
//!
//! Concurrency: the allocator's lock.
//!
//! Source: J. Bonwick, J. Adams, "Magazines and vmem" (2001).

use super::descriptor::{Descriptor, Kind, Link};
use super::{Frames, Order};

/// Greatest number of frames on a shelf.
const KEPT: u32 = 64;

/// What is in the frames of a shelf.
#[derive(Clone, Copy, Debug)]
pub(super) enum Contents {
    Undefined,
    Zeros,
}

/// The frames with some contents.
#[derive(Debug)]
pub(super) struct Shelf {
    pub first: Link,
    pub length: u32,
}

impl Shelf {
    pub const EMPTY: Self = Self { first: Link::NONE, length: 0 };
}

impl Frames<'_> {
    /// Takes a frame off a shelf: it is allocated.
    pub(super) fn pick(&mut self, contents: Contents) -> Option<u32> {
        let shelf = &mut self.shelves[contents as usize];
        let frame = shelf.first.index()?;
        let descriptor = &mut self.descriptors[frame as usize];
        shelf.first = descriptor.next;
        shelf.length -= 1;
        *descriptor = Descriptor { kind: Kind::Allocated(Order::PAGE), ..Descriptor::TAIL };
        self.free -= 1;
        Some(frame)
    }

    /// Puts an allocated frame onto a shelf. False if that is full.
    pub(super) fn keep(&mut self, frame: u32, contents: Contents) -> bool {
        let shelf = &mut self.shelves[contents as usize];
        let fits = shelf.length < KEPT;
        if fits {
            self.descriptors[frame as usize] = Descriptor { kind: Kind::Kept, previous: Link::NONE, next: shelf.first };
            shelf.first = Link::to(frame);
            shelf.length += 1;
            self.free += 1;
        }
        fits
    }

    /// Joins what is kept with the blocks.
    pub(super) fn tidy(&mut self) {
        while let Some(frame) = self.pick(Contents::Undefined).or_else(|| self.pick(Contents::Zeros)) {
            self.give(frame, Order::PAGE);
        }
    }
}
