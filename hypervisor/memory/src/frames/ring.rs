//! Purpose: which frames belong to another one: the tables below a top-level table. So they are found without looking into
//! any.
//!
//! Invariants: frames are taken out in reverse order, or moved to another root one by one; a frame that has others is not
//! freed. Of allocated frames the links serve for this.
//!
//! Concurrency: the allocator's lock.
//!
//! Source: none.

use super::descriptor::Link;
use super::{FrameNumber, Frames, Reusable};

impl Frames<'_> {
    /// Notes that `frame` belongs to `root`, with a number of the caller's, below 2^32 - 1. Both are allocated single
    /// frames.
    pub fn note(&mut self, root: FrameNumber, frame: FrameNumber, number: u32) {
        if let Some(root) = self.descriptors.get_mut(root.0 as usize) {
            let next = core::mem::replace(&mut root.next, Link::to(frame.0));
            if let Some(descriptor) = self.descriptors.get_mut(frame.0 as usize) {
                (descriptor.previous, descriptor.next) = (Link::to(number), next);
            }
        }
    }

    /// The frame that was noted before `frame`, one that is noted; for a root the one noted last.
    pub fn noted_before(&self, frame: FrameNumber) -> Option<FrameNumber> {
        self.descriptors.get(frame.0 as usize)?.next.index().map(FrameNumber)
    }

    /// Notes the frame that was noted before `frame`, or last for that, for `root` instead, with the number that it has.
    pub fn renote(&mut self, frame: FrameNumber, root: FrameNumber) {
        if let Some(moved) = self.noted_before(frame)
            && let Some(number) = self.noted(moved)
        {
            self.descriptors[frame.0 as usize].next = self.descriptors[moved.0 as usize].next;
            self.note(root, moved, number);
        }
    }

    /// The number with which `frame` was noted, if it is.
    pub fn noted(&self, frame: FrameNumber) -> Option<u32> {
        self.descriptors.get(frame.0 as usize)?.previous.index()
    }

    /// The frame noted last for `root`, with its number; it does not belong there any more. Nobody walks there, and it is said
    /// why.
    pub fn denote(&mut self, root: FrameNumber, _: impl Reusable) -> Option<(FrameNumber, u32)> {
        self.detach(root)
    }

    /// As [`Self::denote`], of a frame that somebody may still walk to.
    pub fn detach(&mut self, root: FrameNumber) -> Option<(FrameNumber, u32)> {
        let frame = self.descriptors.get(root.0 as usize)?.next.index()?;
        let descriptor = self.descriptors.get_mut(frame as usize)?;
        let number = core::mem::replace(&mut descriptor.previous, Link::NONE).index()?;
        let next = core::mem::replace(&mut descriptor.next, Link::NONE);
        self.descriptors.get_mut(root.0 as usize)?.next = next;
        Some((FrameNumber(frame), number))
    }
}
