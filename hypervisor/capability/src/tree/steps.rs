//! Going through a range, and stopping on the way.
//!
//! Purpose: what all operations on ranges have in common: one part after the other, preemption, errors.
//! Invariants: a call that is preempted has changed something that a repetition need not do again, so that repeating
//! comes to an end.
//! Concurrency: the tree's lock.
//! Source: `docs/src/decisions/0010-restartable-hypercalls.md`.
use super::node::NodeId;
use super::{Effects, Error, Full, Nodes, Outcome, Piece, Space, Span, Tree};

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
    /// Whether it has changed something for good.
    pub changed: bool,
}

impl<E: Effects> Steps<'_, E> {
    /// A preemption point.
    pub fn check(&mut self) -> Result<(), Stop> {
        if self.changed && !self.effects.may_continue() { Err(Stop::Preempted) } else { Ok(()) }
    }
}

impl<N: Nodes> Tree<'_, N> {
    /// Calls `each` for what every node of `space` has in `range`, from low to high, with the node.
    pub(super) fn for_each_part<E: Effects>(
        &self,
        space: Space,
        range: Span,
        effects: &mut E,
        mut each: impl FnMut(NodeId, &Piece, &mut Steps<'_, E>) -> Result<(), Stop>,
    ) -> Result<Outcome, Error> {
        let mut steps = Steps { effects, changed: false };
        let mut rest = range;
        while let Some(id) = self.next_piece(space, rest) {
            if self.at(id).is_marked() {
                match self.finish(id, &mut steps) {
                    Ok(()) => continue,
                    Err(stop) => return stop.into_result(),
                }
            }
            let part = self.at(id).piece().within(rest);
            match steps.check().and_then(|()| each(id, &part, &mut steps)) {
                Ok(()) => rest = Span::between(part.span.end(), rest.end()),
                Err(stop) => return stop.into_result(),
            }
        }
        Ok(Outcome::Done)
    }
}
