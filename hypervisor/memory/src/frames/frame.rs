//! Purpose: owned blocks of frames as types.
//!
//! A [`Frame`] can be neither copied nor made outside the allocator, so a
//! block has one owner and is freed at most once (whoever keeps only a number,
//! see [`Frame::into_number`], answers for that himself). Its parameter says
//! what may be done with it:
//!
//! ```text
//!              cleared_by
//! allocate -> Dirty -> Clean
//! ```
//!
//! Invariants: only a frame that was cleared is [`Clean`]. Whoever poisons freed
//! frames does so before [`super::Frames::free`], outside the allocator's lock.
//!
//! Concurrency: a frame belongs to whoever holds the value.
//!
//! Source: design plan §3 (memory of the kernel); `docs/src/decisions/0001-kernel-pool.md`.

use core::marker::PhantomData;

use abi::address::PAGE_SIZE;

/// log2 of the number of frames in a block: 0 (4 KiB) to 9 (2 MiB).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Order(pub(super) u8);

impl Order {
    /// One frame, 4 KiB.
    pub const PAGE: Self = Self(0);
    /// The largest block, 2 MiB.
    pub const MAX: Self = Self(9);
    /// Number of orders.
    pub const COUNT: usize = Self::MAX.0 as usize + 1;

    /// The order `log2`, if blocks can be that large.
    pub const fn new(log2: u8) -> Option<Self> {
        if log2 <= Self::MAX.0 { Some(Self(log2)) } else { None }
    }

    /// The smallest order whose blocks have `bytes` bytes, if there is one.
    pub const fn covering(bytes: u64) -> Option<Self> {
        if bytes > Self::MAX.bytes() {
            return None;
        }
        let frames = bytes.div_ceil(PAGE_SIZE);
        Some(Self(frames.next_power_of_two().trailing_zeros() as u8))
    }

    /// log2 of the number of frames.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Number of frames in a block.
    pub const fn frames(self) -> u32 {
        1 << self.0
    }

    /// Number of bytes in a block.
    pub const fn bytes(self) -> u64 {
        PAGE_SIZE << self.0
    }

    /// This order and all above it, lowest first.
    pub(super) fn and_above(self) -> impl DoubleEndedIterator<Item = Self> {
        (self.0..=Self::MAX.0).map(Self)
    }
}

/// A frame's place in the pool; the pool's first frame is number 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrameNumber(pub u32);

/// State: the content is undefined.
#[derive(Debug)]
pub enum Dirty {}
/// State: every byte is zero.
#[derive(Debug)]
pub enum Clean {}

/// An owned block of 2^order frames that some account has paid for.
#[derive(Debug)]
#[must_use = "a frame that is dropped is lost to the pool"]
pub struct Frame<State = Dirty> {
    number: FrameNumber,
    order: Order,
    state: PhantomData<State>,
}

impl<State> Frame<State> {
    /// The block's first frame.
    pub const fn number(&self) -> FrameNumber {
        self.number
    }

    /// The block's order.
    pub const fn order(&self) -> Order {
        self.order
    }

    /// Leaves only the number of the frame, to be kept in a page-table entry
    /// or an object; `Frames::reclaim` undoes this.
    #[must_use = "without its number the frame is lost to the pool"]
    pub fn into_number(self) -> FrameNumber {
        self.number
    }

    pub(super) const fn known(number: FrameNumber, order: Order) -> Self {
        Self { number, order, state: PhantomData }
    }
}

impl Frame<Dirty> {
    /// Lets `clear` write zeros to the whole block. The kernel has one caller
    /// of this, which knows where the pool is mapped.
    pub fn cleared_by(self, clear: impl FnOnce(FrameNumber, Order)) -> Frame<Clean> {
        clear(self.number, self.order);
        Frame::known(self.number, self.order)
    }
}
