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
use super::steps::{Steps, Stop};
use super::{Effects, Error, Nodes, Outcome, Piece, Space, Span, Tree};
use abi::Rights;

impl<N: Nodes> Tree<'_, N> {
    /// Takes `rights` from all mappings that descend from units of `range`, and with `itself` from those units too.
    ///
    /// # Errors
    /// [`Error::Full`] if the owner of the space cannot pay for dividing its own node (only with `itself`).
    pub fn revoke(
        &self,
        space: Space,
        range: Span,
        rights: Rights,
        itself: bool,
        effects: &mut impl Effects,
    ) -> Result<Outcome, Error> {
        self.for_each_part(space, range, effects, |id, part, steps| {
            if part.rights.and(rights).is_none() || !itself && self.is_leaf(id) {
                return Ok(());
            }
            let top = if itself { self.isolate(part, steps)? } else { id };
            self.sweep(top, part.origins(), rights, steps)?;
            if itself {
                self.settle(top, rights, steps);
            } else {
                self.coalesce(top, &mut None);
            }
            Ok(())
        })
    }

    /// Takes all rights from the units of `range` only: what descends from them stays, as children of their parents.
    /// Nodes from which nothing descends lose `rights`.
    ///
    /// # Errors
    /// [`Error::Full`] if the owner of the space cannot pay for dividing its own node.
    pub fn revoke_keep(
        &self,
        space: Space,
        range: Span,
        rights: Rights,
        effects: &mut impl Effects,
    ) -> Result<Outcome, Error> {
        self.for_each_part(space, range, effects, |_, part, steps| {
            let top = self.isolate(part, steps)?;
            let childless = self.is_leaf(top);
            self.raise_children(top);
            self.settle(top, if childless { rights } else { Rights::ALL }, steps);
            Ok(())
        })
    }

    /// Divides the node that has `part`, if need be, so that the part is a node; that node.
    pub(super) fn isolate(&self, part: &Piece, steps: &mut Steps<'_, impl Effects>) -> Result<NodeId, Stop> {
        loop {
            let id = self.next_piece(part.space, part.span).ok_or(Stop::Failed(Error::Full))?;
            let whole = self.at(id).piece().span;
            let cut = if whole.base < part.span.base {
                part.origin
            } else if part.span.end() < whole.end() {
                part.origins().end()
            } else {
                return Ok(id);
            };
            match self.split(id, cut) {
                Ok(_) => {}
                Err(poor) if poor != id => self.destroy(poor, steps)?,
                Err(_) => {
                    self.coalesce(id, &mut None);
                    return Err(Stop::Failed(Error::Full));
                }
            }
        }
    }

    /// Removes a subtree.
    fn destroy(&self, top: NodeId, steps: &mut Steps<'_, impl Effects>) -> Result<(), Stop> {
        self.sweep(top, self.at(top).origins(), Rights::ALL, steps)?;
        self.strip(top, Rights::ALL, steps);
        Ok(())
    }

    /// Takes `rights` from what descends from the origins `area` of `top`, children before parents.
    ///
    /// The walk goes forward in the list. `open` is the node whose children are being visited; it and its ancestors up
    /// to `top` lose rights on the way back, when all that was below them has been visited.
    pub(super) fn sweep(
        &self,
        top: NodeId,
        area: Span,
        rights: Rights,
        steps: &mut Steps<'_, impl Effects>,
    ) -> Result<(), Stop> {
        let mut open = top;
        let mut following = self.next(top);
        loop {
            let next = self.below(open, following);
            if next.is_none() && open == top {
                return Ok(());
            }
            steps.check()?;
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
                Err(poor) => self.destroy(poor, steps)?,
            }
            // Look again at what stands here now.
            following = self.next(previous);
        }
    }

    /// Takes `rights` from one node, whose children do not have them any more. Whether it is gone.
    pub(super) fn strip(&self, id: NodeId, rights: Rights, steps: &mut Steps<'_, impl Effects>) -> bool {
        let piece = self.at(id).piece();
        let left = piece.rights.without(rights);
        if left == piece.rights {
            return false;
        }
        let alone = self.at(id).previous.get().is_none() && self.next(id).is_none();
        if left.is_none() {
            self.discard(id);
        } else {
            self.at(id).rights.set(left.bits());
        }
        steps.effects.revoked(&piece, left, alone && left.is_none());
        steps.changed = true;
        left.is_none()
    }

    /// The end of a revocation at `id`: takes `rights` from it, and joins what can be joined now.
    fn settle(&self, id: NodeId, rights: Rights, steps: &mut Steps<'_, impl Effects>) {
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
