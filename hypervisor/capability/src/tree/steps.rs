//! Going through a range, and stopping on the way.
//!
//! Purpose: what all operations on ranges have in common: one part after the other, preemption, errors.
//! Invariants: a call that is preempted has changed something that a repetition need not do again, so that repeating
//! comes to an end; or it has cut off the range what need not be looked at again.
//! Concurrency: the tree's lock.
//! Source: `docs/src/decisions/0010-restartable-hypercalls.md`.
use super::node::NodeId;
use super::{Effects, Error, Full, Nodes, Outcome, Space, Span, Tree};
use abi::Rights;

/// Why an operation ends before its end.
pub(super) enum Stop {
    Preempted,
    Failed(Error),
}

impl Stop {
    pub(super) fn into_result(self) -> Result<Outcome, Error> {
        match self {
            Self::Preempted => Ok(Outcome::Preempted),
            Self::Failed(error) => Err(error),
        }
    }
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Full> for Error {
    fn from(Full: Full) -> Self {
        Self::Full
    }
}

/// One call of an operation.
pub(super) struct Steps<'e, E> {
    pub effects: &'e mut E,
    /// Whether it has changed something for good, or cut off its range what needs no change.
    pub changed: bool,
}

impl<E: Effects> Steps<'_, E> {
    /// Before nodes of domains are touched that the operation does not name.
    #[cold]
    pub fn reach_all(&mut self) -> Result<(), Stop> {
        if self.effects.may_reach_all() { Ok(()) } else { Err(Stop::Preempted) }
    }

    /// Before nodes of `owner` are touched, or the rings of their children.
    #[inline(always)]
    pub fn reach(&mut self, owner: u32) -> Result<(), Stop> {
        if self.effects.may_reach(owner) { Ok(()) } else { Err(Stop::Preempted) }
    }

    /// A preemption point.
    #[inline(always)]
    pub fn check(&mut self) -> Result<(), Stop> {
        if self.changed && !self.effects.may_continue() { Err(Stop::Preempted) } else { Ok(()) }
    }

    /// `count` units, which are cut off the range next, need no change.
    #[cold]
    pub fn pass(&mut self, count: u64) -> Result<u64, Stop> {
        self.check()?;
        self.changed = true;
        Ok(count)
    }
}

impl<N: Nodes> Tree<'_, N> {
    /// Calls `each` for what every node of `space` has in `range`, from high to low, with rights that nobody has any more
    /// who has it from there; it may do more of the range, and the answer is the last node that it has done, if that is
    /// still there. What is done is cut off the range.
    #[inline(always)]
    pub(super) fn for_each_part<E: Effects>(
        &self,
        space: Space,
        range: &mut Span,
        effects: &mut E,
        mut each: impl FnMut(NodeId, &mut Span, Rights, &mut Steps<'_, E>) -> Result<Option<NodeId>, Stop>,
    ) -> Result<Outcome, Error> {
        let mut steps = Steps { effects, changed: false };
        let mut next = self.last_piece(space, *range);
        while let Some(id) = next {
            let node = self.at(id);
            let (start, mut lost) = (node.base().max(range.base), Some(Rights::NONE));
            let done = steps.check().and_then(|()| {
                if node.is_marked() {
                    lost = self.resume(id, &mut steps)?;
                }
                lost.map_or(Ok(None), |lost| each(id, range, lost, &mut steps))
            });
            let last = match done {
                Ok(last) => last,
                Err(stop) => return stop.into_result(),
            };
            if lost.is_some() {
                range.count = range.count.min(start - range.base);
                steps.changed = true;
            }
            // What goes may be of the same space.
            next = match last {
                Some(last) => self.at(last).before.get().filter(|&before| self.at(before).end() > range.base),
                None => self.last_piece(space, *range),
            };
        }
        Ok(Outcome::Done)
    }
}
