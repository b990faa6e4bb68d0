//! Taking back.
//!
//! Purpose: all that was made from a range of a space loses rights, in whatever domain it is; mappings without rights
//! vanish.
//! Invariants: exactly the given units are touched: nodes that reach beyond are divided; children lose rights before
//! their parents. One exception: a descendant whose owner cannot pay for the division goes as a whole, because nobody
//! may block a revocation by being out of memory.
//! Concurrency: the tree's lock. Preemptible after each change: what was taken stays taken, and a repetition passes over
//! it (its nodes are gone or do not have the rights any more). A division is one step.
//! Source: interface §5 (revoke, keep); lecture C:288-290, C:393-396, C:456-472, C:549 (post-order); E:956-961 (self).
use super::node::NodeId;
use super::{Effects, Full, Nodes, Outcome, Space, Span, Tree};
use abi::Rights;

/// The effects of one call of an operation.
pub(super) struct Steps<'e, E> {
    pub effects: &'e mut E,
    /// Whether this call has changed something that a repetition need not do again.
    pub changed: bool,
}

impl<'e, E: Effects> Steps<'e, E> {
    pub fn new(effects: &'e mut E) -> Self {
        Self { effects, changed: false }
    }

    /// Whether this is the time to be preempted.
    pub fn must_stop(&mut self) -> bool {
        self.changed && !self.effects.may_continue()
    }
}

impl<N: Nodes> Tree<'_, N> {
    /// Takes `rights` from all mappings that descend from units of `range`, and with `itself` from those units too.
    ///
    /// # Errors
    /// [`Full`] if the owner of the space cannot pay for dividing its own node (only with `itself`).
    pub fn revoke(
        &self,
        space: Space,
        range: Span,
        rights: Rights,
        itself: bool,
        effects: &mut impl Effects,
    ) -> Result<Outcome, Full> {
        let mut steps = Steps::new(effects);
        let mut rest = range;
        while let Some(id) = self.next_piece(space, rest) {
            if steps.must_stop() {
                return Ok(Outcome::Preempted);
            }
            let part = self.at(id).piece().within(rest);
            let affected = !part.rights.and(rights).is_none() && (itself || !self.is_leaf(id));
            if affected {
                let top = match if itself { self.isolate(id, part.span) } else { Ok(id) } {
                    Ok(top) => top,
                    Err(poor) => match self.divide_failed(id, poor, &mut steps)? {
                        Outcome::Done => continue,
                        Outcome::Preempted => return Ok(Outcome::Preempted),
                    },
                };
                if self.sweep(top, part.origins(), rights, &mut steps) == Outcome::Preempted {
                    return Ok(Outcome::Preempted);
                }
                self.settle(top, if itself { rights } else { Rights::NONE }, &mut steps);
            }
            rest = Span::between(part.span.end(), rest.end());
        }
        Ok(Outcome::Done)
    }

    /// Takes all rights from the units of `range` only: what descends from them stays, as children of their parents.
    /// Units from which nothing descends lose `rights`.
    ///
    /// # Errors
    /// [`Full`] if a node has to be divided and its owner, or that of a descendant, cannot pay.
    pub fn revoke_keep(
        &self,
        space: Space,
        range: Span,
        rights: Rights,
        effects: &mut impl Effects,
    ) -> Result<Outcome, Full> {
        let mut steps = Steps::new(effects);
        let mut rest = range;
        while let Some(id) = self.next_piece(space, rest) {
            if steps.must_stop() {
                return Ok(Outcome::Preempted);
            }
            let part = self.at(id).piece().within(rest);
            let Ok(top) = self.isolate(id, part.span) else {
                self.coalesce(id, &mut None);
                return Err(Full);
            };
            if self.is_leaf(top) {
                self.settle(top, rights, &mut steps);
            } else {
                self.raise_children(top);
                self.settle(top, Rights::ALL, &mut steps);
            }
            rest = Span::between(part.span.end(), rest.end());
        }
        Ok(Outcome::Done)
    }

    /// `poor` could not be divided when `id` was to be. If it is a descendant, it goes.
    fn divide_failed<E: Effects>(&self, id: NodeId, poor: NodeId, steps: &mut Steps<'_, E>) -> Result<Outcome, Full> {
        if self.depth(poor) == self.depth(id) {
            self.coalesce(id, &mut None);
            return Err(Full);
        }
        Ok(self.destroy(poor, steps))
    }

    /// Removes a subtree.
    fn destroy<E: Effects>(&self, top: NodeId, steps: &mut Steps<'_, E>) -> Outcome {
        let outcome = self.sweep(top, self.at(top).origins(), Rights::ALL, steps);
        if outcome == Outcome::Done {
            self.strip(top, Rights::ALL, steps);
        }
        outcome
    }

    /// Takes `rights` from what descends from the origins `area` of `top`, children before parents.
    ///
    /// The walk goes forward in the list. `open` is the node whose children are being visited; it and its ancestors up
    /// to `top` lose rights on the way back, when all that was below them has been visited.
    pub(super) fn sweep<E: Effects>(
        &self,
        top: NodeId,
        area: Span,
        rights: Rights,
        steps: &mut Steps<'_, E>,
    ) -> Outcome {
        let mut open = top;
        let mut following = self.next(top);
        loop {
            let next = self.below(open, following);
            if next.is_none() && open == top {
                return Outcome::Done;
            }
            if steps.must_stop() {
                return Outcome::Preempted;
            }
            let Some(id) = next else {
                let closed = open;
                open = self.at(closed).parent.get().unwrap_or(top);
                if !self.strip(closed, rights, steps) {
                    self.coalesce(closed, &mut following);
                }
                continue;
            };
            let (node, origins) = (self.at(id), self.at(id).origins());
            following = self.next(id);
            if origins.and(area).count == 0 || node.rights().and(rights).is_none() {
                // The same holds for all its descendants.
                while let Some(passed) = self.below(id, following) {
                    following = self.next(passed);
                }
                continue;
            }
            let border = [area.base, area.end()].into_iter().find(|&cut| origins.base < cut && cut < origins.end());
            let Some(cut) = border else {
                open = id;
                continue;
            };
            let previous = node.previous.get().unwrap_or(top);
            match self.split(id, cut) {
                Ok(_) => steps.changed = true,
                Err(poor) if self.destroy(poor, steps) == Outcome::Preempted => return Outcome::Preempted,
                Err(_) => {}
            }
            // Look again at what stands here now.
            following = self.next(previous);
        }
    }

    /// Takes `rights` from one node, whose children do not have them any more. Whether it is gone.
    pub(super) fn strip<E: Effects>(&self, id: NodeId, rights: Rights, steps: &mut Steps<'_, E>) -> bool {
        let piece = self.at(id).piece();
        let left = piece.rights.without(rights);
        if left == piece.rights {
            return false;
        }
        let last = self.at(id).previous.get().is_none() && self.next(id).is_none();
        if left.is_none() {
            self.discard(id);
        } else {
            self.at(id).rights.set(left.bits());
        }
        steps.effects.revoked(&piece, left, last && left.is_none());
        steps.changed = true;
        left.is_none()
    }

    /// The end of a revocation at `id`: takes `rights` from it, and joins what can be joined now.
    fn settle<E: Effects>(&self, id: NodeId, rights: Rights, steps: &mut Steps<'_, E>) {
        let parent = self.at(id).parent.get();
        let remaining = if self.strip(id, rights, steps) { parent } else { Some(id) };
        if let Some(id) = remaining {
            self.coalesce(id, &mut None);
        }
    }

    /// Makes the children of `id` its siblings, or roots if it is one.
    fn raise_children(&self, id: NodeId) {
        let parent = self.at(id).parent.get();
        let mut last = id;
        while let Some(next) = self.below(id, self.next(last)) {
            last = next;
        }
        // Backwards, so that what follows a child that becomes a sibling is already in place.
        while last != id {
            let node = self.at(last);
            let previous = node.previous.get().unwrap_or(id);
            node.depth.set(node.depth.get() - 1);
            if node.parent.get() == Some(id) {
                node.parent.set(parent);
                self.coalesce(last, &mut None);
            }
            last = previous;
        }
    }
}
