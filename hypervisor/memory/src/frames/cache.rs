//! Purpose: a stack of single frames per core, so that most allocations and
//! frees of one frame touch neither the shared allocator nor its lock.
//!
//! An empty cache fetches half its capacity at once, a full one gives half its
//! capacity back, so a core that alternates between both takes the lock at
//! most once per `N / 2` operations.
//!
//! Invariants: frames in the cache are charged to nobody; for the shared
//! allocator they are allocated. Up to `N` free frames per core are therefore
//! out of reach of other cores when the pool runs dry.
//!
//! Concurrency: a cache belongs to one core; the shared allocator is reached
//! through the closure `lock`, which is called at most once per operation and
//! whose guard is dropped before it returns.
//!
//! Source: J. Bonwick, J. Adams, Magazines and Vmem, USENIX 2001 (magazines).

use core::ops::DerefMut;

use arrayvec::ArrayVec;

use super::{Defect, Dirty, Frame, FrameNumber, Frames, Order, OutOfMemory, Retired};
use crate::quota::{Charge, Quota};

/// At most `N` free frames of one core; `N` is at least 2.
#[derive(Debug, Default)]
pub struct Cache<const N: usize> {
    pub(super) frames: ArrayVec<FrameNumber, N>,
}

impl<const N: usize> Cache<N> {
    const BATCH: usize = {
        assert!(N >= 2, "a cache moves half its frames at a time");
        N / 2
    };

    /// An empty cache.
    #[must_use]
    pub const fn new() -> Self {
        Self { frames: ArrayVec::new_const() }
    }

    /// Takes one frame and charges `quota` for it.
    ///
    /// # Errors
    /// [`OutOfMemory`] says whether the account or the pool is exhausted;
    /// nothing is charged then.
    pub fn allocate<'pool, G>(&mut self, quota: &Quota, lock: impl FnOnce() -> G) -> Result<Frame<Dirty>, OutOfMemory>
    where
        G: DerefMut<Target = Frames<'pool>>,
    {
        Frame::pay(quota, Order::PAGE, || {
            if self.frames.is_empty() {
                let mut shared = lock();
                self.frames.extend((0..Self::BATCH).map_while(|_| shared.take(Order::PAGE)));
            }
            self.frames.pop()
        })
    }

    /// Takes a frame back and refunds `quota`, which must be the account that
    /// paid for it. A block of more than one frame goes to the shared
    /// allocator at once.
    ///
    /// # Errors
    /// As for [`Frames::free`]; [`Defect::NotAllocated`] may name a frame that
    /// was freed into the cache earlier, because only the shared allocator
    /// looks at the descriptors.
    pub fn free<'pool, G>(
        &mut self,
        frame: Frame<Retired>,
        quota: &Quota,
        lock: impl FnOnce() -> G,
    ) -> Result<(), Defect>
    where
        G: DerefMut<Target = Frames<'pool>>,
    {
        if frame.order() != Order::PAGE {
            return lock().free(frame, quota);
        }
        let number = frame.number();
        let mut result = Ok(());
        if self.frames.is_full() {
            result = self.give_back(Self::BATCH, &mut lock());
        }
        self.frames.push(number);
        let refunded = quota.refund(Charge::of_frame(1)).map_err(|_| Defect::NotCharged(number));
        result.and(refunded)
    }

    /// Gives all frames back to the shared allocator.
    ///
    /// # Errors
    /// [`Defect::NotAllocated`] if one of them is not from there; the others
    /// are given back nevertheless.
    pub fn drain(&mut self, shared: &mut Frames<'_>) -> Result<(), Defect> {
        self.give_back(N, shared)
    }

    /// Gives up to `count` frames back, the ones freed first, whose content is
    /// the least likely to be in the processor's cache. Reports the first
    /// defect met.
    fn give_back(&mut self, count: usize, shared: &mut Frames<'_>) -> Result<(), Defect> {
        let given = self.frames.drain(..count.min(self.frames.len())).map(|number| shared.give(number, Order::PAGE));
        given.reduce(Result::and).unwrap_or(Ok(()))
    }
}
