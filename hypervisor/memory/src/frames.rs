//! Purpose: the allocator of physical frames from the kernel's memory pool.
//!
//! A binary buddy allocator for blocks of 2^0 to 2^9 frames. It never looks
//! into the memory it hands out: all it knows stands in an array of one 12-byte
//! [`Descriptor`] per frame, which the caller places (the kernel: at the start
//! of the pool, inside the reserved frames). The largest block is 2 MiB, the
//! alignment of the pool, so a block is aligned to its size physically too.
//!
//! Invariants: (verified by the tests)
//! 1. Free and allocated blocks tile the frames behind the reserved ones; the
//!    first descriptor of a block says which it is, all others say "tail".
//! 2. A block lies at a multiple of its size.
//! 3. A block is in the free list of its order if and only if it is free.
//! 4. No two free buddies: blocks are joined as soon as they can be, so once
//!    everything is freed the allocator is as it was at the start, but for a few
//!    single frames that are kept apart (`shelf.rs`).
//!
//! Concurrency: none in here. The kernel keeps one [`Frames`] in a
//! `sync::Spin`. Every operation is bounded by the number of orders.
//!
//! Contents: see [`Frame`] for how clearing is enforced.
//!
//! Source: D. E. Knuth, The Art of Computer Programming, volume 1, §2.5 (buddy
//! system).

#[cfg(test)]
mod check;
mod descriptor;
mod frame;
mod reuse;
mod ring;
mod shelf;

pub use descriptor::Descriptor;
pub use frame::{Clean, Dirty, Frame, FrameNumber, Order};
pub use reuse::{Reusable, Unshown};

use crate::quota::{Quota, QuotaExceeded};
use descriptor::{Kind, Link};
use shelf::{Contents, Shelf};

/// Why there is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfMemory {
    /// The account that is to pay has no pages left.
    Quota,
    /// The pool has no free block of that order or above.
    Pool,
}

impl From<QuotaExceeded> for OutOfMemory {
    fn from(_: QuotaExceeded) -> Self {
        Self::Quota
    }
}

impl From<OutOfMemory> for abi::Status {
    fn from(_: OutOfMemory) -> Self {
        Self::QuotaExhausted
    }
}

/// A broken rule of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// The frame is not an allocated block of this pool with that order.
    NotAllocated(FrameNumber),
    /// The account was never charged for the frame.
    NotCharged(FrameNumber),
}

/// The frames of one pool.
#[derive(Debug)]
pub struct Frames<'pool> {
    descriptors: &'pool mut [Descriptor],
    lists: [Link; Order::COUNT],
    shelves: [Shelf; 2],
    free: u32,
}

impl<'pool> Frames<'pool> {
    /// An allocator that has nothing.
    pub const fn none() -> Self {
        Self { descriptors: &mut [], lists: [Link::NONE; Order::COUNT], shelves: [Shelf::EMPTY; 2], free: 0 }
    }

    /// An allocator for as many frames as there are descriptors; the first
    /// `reserved` frames are never handed out.
    ///
    /// All descriptors must be [`Descriptor::TAIL`], which is all bytes zero.
    /// Only the descriptors of the largest blocks are written, so this takes
    /// one step per 2 MiB.
    ///
    /// `None` if there are more descriptors than the links can name (2^32 - 1), or
    /// the reserved frames leave nothing to allocate.
    pub fn new(descriptors: &'pool mut [Descriptor], reserved: u32) -> Option<Self> {
        let count = u32::try_from(descriptors.len()).ok()?;
        if reserved >= count {
            return None;
        }
        let mut frames = Self { descriptors, ..Self::none() };
        // Highest block first, so that the lists hand out low frames first.
        let mut end = count;
        while end > reserved {
            let order = largest_block_ending_at(end, reserved);
            end -= order.frames();
            frames.push(end, order);
        }
        Some(frames)
    }

    /// Takes a block of 2^`order` frames and charges `quota` for them. What
    /// the block contains is undefined.
    ///
    /// # Errors
    /// [`OutOfMemory`] says whether the account or the pool is exhausted;
    /// nothing is charged then.
    pub fn allocate(&mut self, order: Order, quota: &Quota) -> Result<Frame<Dirty>, OutOfMemory> {
        quota.charge(order.frames())?;
        let kept = if order == Order::PAGE { self.pick(Contents::Undefined) } else { None };
        self.found(kept, order, quota)
    }

    /// As [`Self::allocate`], a single frame; `Ok` in turn if it is known that it consists of zeros.
    ///
    /// # Errors
    /// As for [`Self::allocate`].
    pub fn allocate_page(&mut self, quota: &Quota) -> Result<Result<Frame<Clean>, Frame<Dirty>>, OutOfMemory> {
        quota.charge(1)?;
        self.charged_page(quota)
    }

    /// As [`Self::allocate_page`], where `quota` has been charged already.
    ///
    /// # Errors
    /// [`OutOfMemory::Pool`]; the charge is taken back then. Whoever pays for no more than there is has all that it pays for.
    pub fn charged_page(&mut self, quota: &Quota) -> Result<Result<Frame<Clean>, Frame<Dirty>>, OutOfMemory> {
        if let Some(frame) = self.pick(Contents::Zeros) {
            return Ok(Ok(Frame::known(FrameNumber(frame), Order::PAGE)));
        }
        let kept = self.pick(Contents::Undefined);
        self.found(kept, Order::PAGE, quota).map(Err)
    }

    /// The block at `kept`, or another one; `quota` has been charged.
    fn found(&mut self, kept: Option<u32>, order: Order, quota: &Quota) -> Result<Frame<Dirty>, OutOfMemory> {
        let number = kept.map(FrameNumber).or_else(|| self.take(order)).or_else(|| {
            self.tidy();
            self.take(order)
        });
        number.map(|number| Frame::known(number, order)).ok_or_else(|| {
            // Cannot fail: the charge was made before.
            let _ = quota.refund(order.frames());
            OutOfMemory::Pool
        })
    }

    /// Takes a block back and refunds `quota`, which must be the account that
    /// paid for it.
    ///
    /// # Errors
    /// [`Defect::NotAllocated`] if the frame is not from this pool: it is lost
    /// then. [`Defect::NotCharged`] if the account's usage is too low: the
    /// block is free nevertheless.
    pub fn free(&mut self, frame: Frame<Dirty>, quota: &Quota) -> Result<(), Defect> {
        self.put_back(frame.number(), frame.order(), Contents::Undefined, quota)
    }

    /// As [`Self::free`], of a frame of zeros.
    ///
    /// # Errors
    /// As for [`Self::free`].
    pub fn free_clean(&mut self, frame: Frame<Clean>, quota: &Quota) -> Result<(), Defect> {
        self.put_back(frame.number(), frame.order(), Contents::Zeros, quota)
    }

    fn put_back(&mut self, number: FrameNumber, order: Order, contents: Contents, quota: &Quota) -> Result<(), Defect> {
        if self.allocated(number).ok().is_none_or(|known| known.order() != order) {
            return Err(Defect::NotAllocated(number));
        }
        if order != Order::PAGE || !self.keep(number.0, contents) {
            self.give(number.0, order);
        }
        quota.refund(order.frames()).map_err(|_| Defect::NotCharged(number))
    }

    /// The frame whose number is all that a page-table entry or an object
    /// could keep of it: undoes [`Frame::into_number`]. The caller owes it
    /// that this happens once per `into_number`, and says why nobody uses
    /// it any more.
    ///
    /// # Errors
    /// [`Defect::NotAllocated`] if no allocated block starts at `number`.
    pub fn reclaim(&self, number: FrameNumber, _: impl Reusable) -> Result<Frame<Dirty>, Defect> {
        self.allocated(number)
    }

    /// The allocated block at `number`.
    fn allocated(&self, number: FrameNumber) -> Result<Frame<Dirty>, Defect> {
        match self.descriptors.get(number.0 as usize).map(|descriptor| descriptor.kind) {
            Some(Kind::Allocated(order)) => Ok(Frame::known(number, order)),
            _ => Err(Defect::NotAllocated(number)),
        }
    }

    /// Number of free frames.
    pub const fn free_frames(&self) -> u32 {
        self.free
    }

    /// Takes a block that nobody pays for.
    fn take(&mut self, order: Order) -> Option<FrameNumber> {
        let found = order.and_above().find(|order| self.lists[order.index()] != Link::NONE)?;
        let head = self.lists[found.index()].index()?;
        self.unlink(head, found);
        // Gives the upper half back until the block has the right size.
        for half in (order.0..found.0).rev().map(Order) {
            self.push(head + half.frames(), half);
        }
        self.descriptors[head as usize].kind = Kind::Allocated(order);
        Some(FrameNumber(head))
    }

    /// Makes the allocated block at `head` a free one.
    fn give(&mut self, mut head: u32, order: Order) {
        let mut size = order;
        self.descriptors[head as usize] = Descriptor::TAIL;
        // Joins the block with its buddy as long as that is free as a whole.
        while size < Order::MAX && self.is_free(head ^ size.frames(), size) {
            let buddy = head ^ size.frames();
            self.unlink(buddy, size);
            (head, size) = (head.min(buddy), Order(size.0 + 1));
        }
        self.push(head, size);
    }

    /// Whether a free block of exactly this order starts at `head`.
    fn is_free(&self, head: u32, order: Order) -> bool {
        self.descriptors.get(head as usize).is_some_and(|descriptor| descriptor.kind == Kind::Free(order))
    }

    /// Makes the frames from `head` a free block, first in its list.
    fn push(&mut self, head: u32, order: Order) {
        let next = self.lists[order.index()];
        self.descriptors[head as usize] = Descriptor { kind: Kind::Free(order), previous: Link::NONE, next };
        if let Some(next) = next.index() {
            self.descriptors[next as usize].previous = Link::to(head);
        }
        self.lists[order.index()] = Link::to(head);
        self.free += order.frames();
    }

    /// Takes the free block at `head` out of its list; it becomes tail.
    fn unlink(&mut self, head: u32, order: Order) {
        let Descriptor { previous, next, .. } = self.descriptors[head as usize];
        match previous.index() {
            Some(previous) => self.descriptors[previous as usize].next = next,
            None => self.lists[order.index()] = next,
        }
        if let Some(next) = next.index() {
            self.descriptors[next as usize].previous = previous;
        }
        self.descriptors[head as usize] = Descriptor::TAIL;
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
