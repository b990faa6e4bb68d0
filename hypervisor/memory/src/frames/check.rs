//! Purpose: verifies the invariants of the allocator.
//!
//! Invariants: see the module above; they are numbered there.
//!
//! Concurrency: reads the allocator under its lock. One step per frame, so
//! this is not for the running system.
//!
//! Source: the module above.

use super::descriptor::{Kind, Link};
use super::{FrameNumber, Frames, Order};

/// A broken invariant of the allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Free and allocated blocks do not tile the pool from here on.
    Tiling(FrameNumber),
    /// A free block whose buddy is free as well.
    Unjoined(FrameNumber),
    /// A free list holds something else than the free blocks of its order.
    List(Order),
    /// The number of free frames is wrong.
    Count,
}

impl Frames<'_> {
    /// Whether the invariants hold: the number of free blocks by order, or
    /// the first that is broken.
    pub fn check(&self) -> Result<[u32; Order::COUNT], Broken> {
        let blocks = self.check_tiling()?;
        for order in Order::PAGE.and_above() {
            self.check_list(order, blocks[order.index()])?;
        }
        let free: u32 = Order::PAGE.and_above().map(|order| blocks[order.index()] * order.frames()).sum();
        if free + self.shelves.iter().map(|shelf| shelf.length).sum::<u32>() == self.free {
            Ok(blocks)
        } else {
            Err(Broken::Count)
        }
    }

    fn count(&self) -> u32 {
        self.descriptors.len() as u32
    }

    /// Rules 1, 2 and 4; returns the number of free blocks by order.
    fn check_tiling(&self) -> Result<[u32; Order::COUNT], Broken> {
        let (mut blocks, mut kept) = ([0; Order::COUNT], 0);
        // Reserved frames are tails as well.
        let mut head = self.descriptors.iter().take_while(|descriptor| descriptor.kind == Kind::Tail).count() as u32;
        while head < self.count() {
            let tiling = Broken::Tiling(FrameNumber(head));
            let order = match self.descriptors[head as usize].kind {
                Kind::Tail => return Err(tiling),
                Kind::Allocated(order) => order,
                Kind::Kept => {
                    kept += 1;
                    Order::PAGE
                }
                Kind::Free(order) => {
                    blocks[order.index()] += 1;
                    if order < Order::MAX && self.is_free(head ^ order.frames(), order) {
                        return Err(Broken::Unjoined(FrameNumber(head)));
                    }
                    order
                }
            };
            let end = head + order.frames();
            if !head.is_multiple_of(order.frames()) || end > self.count() {
                return Err(tiling);
            }
            self.check_tails(head + 1, end)?;
            head = end;
        }
        if kept != self.shelves.iter().map(|shelf| shelf.length).sum::<u32>() {
            return Err(Broken::Count);
        }
        Ok(blocks)
    }

    fn check_tails(&self, from: u32, end: u32) -> Result<(), Broken> {
        match (from..end).find(|&frame| self.descriptors[frame as usize].kind != Kind::Tail) {
            Some(frame) => Err(Broken::Tiling(FrameNumber(frame))),
            None => Ok(()),
        }
    }

    /// Rule 3: `expected` free blocks exist, so a list of that many different
    /// ones holds them all. The list has no cycle as each element names the one
    /// before it, and the first has none before.
    fn check_list(&self, order: Order, expected: u32) -> Result<(), Broken> {
        let (mut previous, mut next) = (Link::NONE, self.lists[order.index()]);
        let mut length = 0;
        while let Some(head) = next.index() {
            let (back, onward) =
                self.descriptors.get(head as usize).map_or((Link::NONE, Link::NONE), |it| (it.previous, it.next));
            if length == expected || !self.is_free(head, order) || back != previous {
                return Err(Broken::List(order));
            }
            (previous, next) = (Link::to(head), onward);
            length += 1;
        }
        if length == expected { Ok(()) } else { Err(Broken::List(order)) }
    }
}
