//! Purpose: the allocator of physical frames from the kernel's memory pool.
//!
//! A binary buddy allocator for blocks of 2^0 to 2^9 frames. It never looks
//! into the memory it hands out: all it knows stands in an array of one 8-byte
//! [`Descriptor`] per frame, which the caller places (the kernel: at the start
//! of the pool, inside the reserved frames). The largest block is 2 MiB, the
//! alignment of the pool, so a block is aligned to its size physically too.
//!
//! Invariants: (verified by [`Frames::check`])
//! 1. Free and allocated blocks tile the frames behind the reserved ones; the
//!    first descriptor of a block says which it is, all others say "tail".
//! 2. A block lies at a multiple of its size.
//! 3. A block is in the free list of its order if and only if it is free.
//! 4. No two free buddies: blocks are joined as soon as they can be, so once
//!    everything is freed the allocator is as it was at the start.
//!
//! Concurrency: none in here. The kernel keeps one [`Frames`] in a
//! `sync::Spin`; a [`Cache`] per core makes most allocations of single frames
//! without that lock. Every operation is bounded by the number of orders, or
//! by half the size of a cache.
//!
//! Contents: see [`Frame`] for how clearing and poisoning are enforced.
//!
//! Source: D. E. Knuth, The Art of Computer Programming, volume 1, §2.5 (buddy
//! system).

mod cache;
mod check;
mod descriptor;
mod frame;

pub use cache::Cache;
pub use descriptor::Descriptor;
pub use frame::{Clean, Dirty, Frame, FrameNumber, OnFree, Order, Retired};

use crate::quota::{Charge, Quota};
use descriptor::{Kind, Link};

/// Why there is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfMemory {
    /// The account that is to pay has no pages left.
    Quota,
    /// The pool has no free block of that order or above.
    Pool,
}

/// A broken rule, of a caller or of the allocator itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// The frame is not an allocated block of this pool with that order.
    NotAllocated(FrameNumber),
    /// The account was never charged for the frame.
    NotCharged(FrameNumber),
    /// Free and allocated blocks do not tile the pool from here on.
    Tiling(FrameNumber),
    /// A free block whose buddy is free as well.
    Unjoined(FrameNumber),
    /// A free list holds something else than the free blocks of its order.
    List(Order),
    /// The number of free frames is wrong.
    Count,
}

/// Why the allocator cannot be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPool {
    /// More descriptors than the links can name (2^28 frames).
    TooLarge,
    /// The reserved frames leave nothing to allocate.
    NothingLeft,
}

/// How full the pool is, in frames of 4 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// All frames but the reserved ones.
    pub total: u32,
    /// Free frames. Frames in a [`Cache`] do not count.
    pub free: u32,
    /// The lowest number of free frames so far.
    pub low_water: u32,
    /// Free blocks by order.
    pub blocks: [u32; Order::COUNT],
}

/// The frames of one pool.
#[derive(Debug)]
pub struct Frames<'pool> {
    descriptors: &'pool mut [Descriptor],
    reserved: u32,
    lists: [Link; Order::COUNT],
    blocks: [u32; Order::COUNT],
    free: u32,
    low_water: u32,
}

impl<'pool> Frames<'pool> {
    /// An allocator for as many frames as there are descriptors; the first
    /// `reserved` frames are never handed out.
    ///
    /// All descriptors must be [`Descriptor::TAIL`], which is all bytes zero.
    /// Only the descriptors of the largest blocks are written, so this takes
    /// one step per 2 MiB.
    ///
    /// # Errors
    /// [`BadPool`].
    pub fn new(descriptors: &'pool mut [Descriptor], reserved: u32) -> Result<Self, BadPool> {
        let count = u32::try_from(descriptors.len()).map_err(|_| BadPool::TooLarge)?;
        if count > Link::LIMIT {
            return Err(BadPool::TooLarge);
        }
        if reserved >= count {
            return Err(BadPool::NothingLeft);
        }
        let mut frames = Self {
            descriptors,
            reserved,
            lists: [Link::NONE; Order::COUNT],
            blocks: [0; Order::COUNT],
            free: 0,
            low_water: 0,
        };
        // Highest block first, so that the lists hand out low frames first.
        let mut end = count;
        while end > reserved {
            let order = largest_block_ending_at(end, reserved);
            end -= order.frames();
            frames.push(end, order);
        }
        frames.low_water = frames.free;
        Ok(frames)
    }

    /// Takes a block of 2^`order` frames and charges `quota` for them. What
    /// the block contains is undefined.
    ///
    /// # Errors
    /// [`OutOfMemory`] says whether the account or the pool is exhausted;
    /// nothing is charged then.
    pub fn allocate(&mut self, order: Order, quota: &Quota) -> Result<Frame<Dirty>, OutOfMemory> {
        let charge = quota.charge(order.frames().into()).map_err(|_| OutOfMemory::Quota)?;
        match self.take(order) {
            Some(number) => Ok(Frame::paid(number, order, charge)),
            None => {
                // Cannot fail: this very charge was made above.
                let _ = quota.refund(charge);
                Err(OutOfMemory::Pool)
            }
        }
    }

    /// Takes a block back and refunds `quota`, which must be the account that
    /// paid for it.
    ///
    /// # Errors
    /// [`Defect::NotAllocated`] if the frame is not from this pool: it is lost
    /// then. [`Defect::NotCharged`] if the account's usage is too low: the
    /// block is free nevertheless.
    pub fn free(&mut self, frame: Frame<Retired>, quota: &Quota) -> Result<(), Defect> {
        let (number, charge) = (frame.number(), Charge::of_frame(frame.order().frames()));
        self.give(number, frame.order())?;
        quota.refund(charge).map_err(|_| Defect::NotCharged(number))
    }

    /// The frame whose number is all that a page-table entry or an object
    /// could keep of it: undoes [`Frame::into_number`]. The caller owes it
    /// that this happens once per `into_number`.
    ///
    /// # Errors
    /// [`Defect::NotAllocated`] if no allocated block starts at `number`.
    pub fn reclaim(&self, number: FrameNumber) -> Result<Frame<Dirty>, Defect> {
        match self.descriptors.get(number.index()).map(Descriptor::kind) {
            Some(Kind::Allocated(order)) => Ok(Frame::known(number, order)),
            _ => Err(Defect::NotAllocated(number)),
        }
    }

    /// How full the pool is.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        Statistics {
            total: self.count() - self.reserved,
            free: self.free,
            low_water: self.low_water,
            blocks: self.blocks,
        }
    }

    /// Number of frames, the reserved ones included.
    fn count(&self) -> u32 {
        // `new` has checked that it fits.
        self.descriptors.len() as u32
    }

    /// Takes a block that nobody pays for.
    fn take(&mut self, order: Order) -> Option<FrameNumber> {
        let found = order.and_above().find(|order| self.lists[order.index()] != Link::NONE)?;
        let head = self.lists[found.index()].index()?;
        self.unlink(head, found);
        // Gives the upper half back until the block has the right size.
        let mut size = found;
        while let Some(half) = size.half().filter(|half| *half >= order) {
            size = half;
            self.push(head + size.frames(), size);
        }
        self.descriptors[head as usize] = Descriptor::allocated(order);
        self.low_water = self.low_water.min(self.free);
        Some(FrameNumber::new(head))
    }

    /// Gives a block back that nobody has paid for.
    fn give(&mut self, number: FrameNumber, order: Order) -> Result<(), Defect> {
        match self.descriptors.get(number.index()).map(Descriptor::kind) {
            Some(Kind::Allocated(known)) if known == order => {}
            _ => return Err(Defect::NotAllocated(number)),
        }
        let (mut head, mut size) = (number.get(), order);
        self.descriptors[head as usize] = Descriptor::TAIL;
        // Joins the block with its buddy as long as that is free as a whole.
        while let Some(double) = size.double() {
            let buddy = head ^ size.frames();
            if !self.is_free(buddy, size) {
                break;
            }
            self.unlink(buddy, size);
            head = head.min(buddy);
            size = double;
        }
        self.push(head, size);
        Ok(())
    }

    /// Whether a free block of exactly this order starts at `head`.
    fn is_free(&self, head: u32, order: Order) -> bool {
        self.descriptors.get(head as usize).is_some_and(|descriptor| descriptor.kind() == Kind::Free(order))
    }

    /// Makes the frames from `head` a free block, first in its list.
    fn push(&mut self, head: u32, order: Order) {
        let next = self.lists[order.index()];
        self.descriptors[head as usize] = Descriptor::free(order, Link::NONE, next);
        if let Some(next) = next.index() {
            self.descriptors[next as usize].set_previous(Link::to(head));
        }
        self.lists[order.index()] = Link::to(head);
        self.blocks[order.index()] += 1;
        self.free += order.frames();
    }

    /// Takes the free block at `head` out of its list; it becomes tail.
    fn unlink(&mut self, head: u32, order: Order) {
        let (previous, next) = self.descriptors[head as usize].links();
        match previous.index() {
            Some(previous) => self.descriptors[previous as usize].set_next(next),
            None => self.lists[order.index()] = next,
        }
        if let Some(next) = next.index() {
            self.descriptors[next as usize].set_previous(previous);
        }
        self.descriptors[head as usize] = Descriptor::TAIL;
        self.blocks[order.index()] -= 1;
        self.free -= order.frames();
    }
}

/// The largest aligned block that ends at `end` and does not begin below
/// `floor`, which is below `end`.
fn largest_block_ending_at(end: u32, floor: u32) -> Order {
    let aligned = |order: &Order| end.is_multiple_of(order.frames()) && end - floor >= order.frames();
    Order::PAGE.and_above().take_while(aligned).last().unwrap_or(Order::PAGE)
}

#[cfg(test)]
mod tests;
