//! Taking back.
//!
//! Purpose: all that was made from a range of a space loses rights, in whatever domain it is; mappings without rights
//! vanish.
//! Invariants: exactly the given units are touched: nodes that reach beyond are divided; children lose rights before
//! their parents. One exception: a descendant whose owner cannot pay for the division goes as a whole, because nobody
//! may block a revocation by being out of memory.
//! Concurrency: the tree's lock; a node's domain is reached before its rights are looked at, its parent's before it leaves
//! its ring. Preemptible after each change: what was taken stays taken, and a repetition passes over
//! it (its nodes are gone or do not have the rights any more). A division is one step.
//! Source: interface §5 (revoke, keep); lecture C:288-290, C:393-396, C:456-472, C:549 (post-order); E:956-961 (self).
use super::node::NodeId;
use super::steps::{Steps, Stop};
use super::{Effects, Error, Nodes, Outcome, Piece, Space, Span, Tree};
use abi::Rights;
use core::iter::successors;

/// Children that are looked at one by one without a question whether to go on. Tests have fewer.
const CROWD: usize = if cfg!(test) { 3 } else { 64 };

impl<N: Nodes> Tree<'_, N> {
    /// Takes `rights` from all mappings that descend from units of `range`, and with `itself` from those units too.
    ///
    /// # Errors
    /// [`Error::Full`] if the owner of the space cannot pay for dividing its own node (only with `itself`).
    #[inline]
    pub fn revoke(
        &self,
        space: Space,
        range: &mut Span,
        rights: Rights,
        itself: bool,
        effects: &mut impl Effects,
    ) -> Result<Outcome, Error> {
        self.for_each_part(space, range, effects, |id, range, lost, steps| {
            let (node, part) = (self.at(id), self.at(id).units().and(*range));
            if node.rights().and(rights).is_none() || !itself && node.first.get().is_none() {
                return Ok(Some(id));
            }
            if !itself
                && node.count.get() == 1
                && let Some(last) = self.revoke_rows(id, range, rights, steps)?
            {
                return Ok(Some(last));
            }
            let joins = self.reach_joint(id, steps)?;
            if !itself && part.count == node.count.get() && self.take_only_child(id, rights, steps)? {
                if joins {
                    self.coalesce(id, &mut None);
                }
                return Ok((!joins).then_some(id));
            }
            self.revoke_part(id, &node.piece().within(part), (rights, lost), itself, steps)?;
            Ok(None)
        })
    }

    /// [`Self::revoke`] of a part of a node; the rights in `lost` have gone from what descends from it.
    fn revoke_part(
        &self,
        id: NodeId,
        part: &Piece,
        (rights, lost): (Rights, Rights),
        itself: bool,
        steps: &mut Steps<'_, impl Effects>,
    ) -> Result<(), Stop> {
        if itself {
            // It leaves its ring, and its parent may join others then.
            self.reach_ring(id, steps)?;
            self.at(id).parent().map_or(Ok(false), |parent| self.reach_joint(parent, steps))?;
        }
        let apart = itself || part.span.count < self.at(id).count.get() && self.is_crowded(id);
        let top = match if apart { self.isolate(id, part, steps) } else { Ok(id) } {
            // Others must not keep what its own owner takes from them for being out of memory.
            Err(Stop::Failed(_)) if !itself => id,
            isolated => isolated?,
        };
        if !lost.contains(rights) {
            self.sweep(top, part.origins(), rights, steps)?;
        }
        if itself {
            self.shrink(top, rights, steps)?;
            self.settle(top, rights, steps);
            return Ok(());
        }
        self.coalesce(top, &mut None);
        Ok(())
    }

    /// Before `id` leaves its ring.
    fn reach_ring(&self, id: NodeId, steps: &mut Steps<'_, impl Effects>) -> Result<(), Stop> {
        match self.at(id).parent() {
            Some(parent) => steps.reach(self.at(parent).space().owner),
            None if self.at(id).next.get() == Some(id) => Ok(()),
            None => steps.reach_all(),
        }
    }

    /// Before what descends from `id` goes: whether it may join a neighbour then, of which one leaves their ring.
    fn reach_joint(&self, id: NodeId, steps: &mut Steps<'_, impl Effects>) -> Result<bool, Stop> {
        let node = self.at(id);
        if node.is_marked() {
            return steps.reach_all().map(|()| false);
        }
        let joins = node.before.get().is_some_and(|low| self.at(low).continues_in(node))
            || node.after.get().is_some_and(|high| node.continues_in(self.at(high)));
        if joins { self.reach_ring(id, steps).map(|()| true) } else { Ok(false) }
    }

    /// If `parent` has one child, without children, which loses all its rights, that goes. Whether it is so; the caller notes
    /// that something has changed.
    #[inline(always)]
    fn take_only_child(
        &self,
        parent: NodeId,
        rights: Rights,
        steps: &mut Steps<'_, impl Effects>,
    ) -> Result<bool, Stop> {
        let Some(id) = self.first_child(parent) else { return Ok(false) };
        let node = self.at(id);
        steps.reach(node.space().owner)?;
        let only = node.next.get() == Some(id) && node.first.get().is_none() && !node.is_marked();
        let piece = node.piece();
        if !only || !rights.contains(piece.rights) || steps.effects.portion(&piece, false) != piece.span.count {
            return Ok(false);
        }
        self.at(parent).first.set(None);
        self.leave(self.0.index(piece.space), id);
        self.0.release(piece.space.owner, id);
        steps.effects.revoked(&piece, Rights::NONE, false);
        Ok(true)
    }

    /// Removes the root at `unit` if it is that unit only and nobody else has anything of its tree; its origin. It is what a
    /// revocation of all rights does, in fewer steps, but for the report.
    #[inline(always)]
    pub fn remove(&self, space: Space, unit: u64) -> Option<u64> {
        let index = self.0.index(space);
        let id = self.floor(index, unit).0?;
        if !self.at(id).is_alone(id, unit) {
            return None;
        }
        let origin = self.at(id).origin();
        self.leave(index, id);
        self.0.release(space.owner, id);
        Some(origin)
    }

    /// Takes all rights from the units of `range` only: what descends from them stays, as children of their parents.
    /// Nodes from which nothing descends lose `rights`.
    ///
    /// # Errors
    /// [`Error::Full`] if the owner of the space cannot pay for dividing its own node.
    pub fn revoke_keep(
        &self,
        space: Space,
        range: &mut Span,
        rights: Rights,
        effects: &mut impl Effects,
    ) -> Result<Outcome, Error> {
        self.for_each_part(space, range, effects, |id, range, _, steps| {
            steps.reach_all()?;
            let top = self.isolate(id, &self.at(id).piece().within(*range), steps)?;
            let rights = if self.is_leaf(top) { rights } else { Rights::ALL };
            while let Some(child) = self.first_child(top) {
                steps.check()?;
                if self.at(child).is_marked() {
                    self.finish(child, steps)?;
                    continue;
                }
                self.raise(child, top);
                steps.changed = true;
            }
            self.settle(top, rights, steps);
            Ok(None)
        })
    }

    /// Whether a node has so many children that looking for those in a range, each time from the first, takes long.
    fn is_crowded(&self, id: NodeId) -> bool {
        successors(self.first_child(id), |&child| self.sibling(child)).nth(CROWD).is_some()
    }

    /// Makes a child of `top` its sibling, or a root of the same tree if it is a root.
    fn raise(&self, child: NodeId, top: NodeId) {
        let parent = self.at(top).parent();
        self.unlink(child);
        self.at(child).set_parent(parent);
        // Behind it: so it is yet to be handed out if the node is, see `split.rs`.
        self.link(child, self.at(top).next.get());
        self.coalesce(child, &mut None);
    }

    /// Removes a subtree.
    pub(super) fn destroy(&self, top: NodeId, steps: &mut Steps<'_, impl Effects>) -> Result<(), Stop> {
        self.sweep(top, self.at(top).origins(), Rights::ALL, steps)?;
        self.shrink(top, Rights::ALL, steps)?;
        self.strip(top, Rights::ALL, steps);
        Ok(())
    }

    /// Takes `rights` from what descends from the origins `area` of `top`, children before parents. A node of which many children
    /// lack them is marked.
    ///
    /// `open` is the node whose children are being visited, from `at` on; it loses rights when all of them have.
    pub(super) fn sweep(
        &self,
        top: NodeId,
        area: Span,
        rights: Rights,
        steps: &mut Steps<'_, impl Effects>,
    ) -> Result<(), Stop> {
        let (mut open, mut at, mut passed) = (top, self.first_child(top), 0);
        loop {
            let Some(id) = at else {
                if open == top {
                    return Ok(());
                }
                let closed = open;
                if self.at(closed).is_marked() {
                    self.complete(closed);
                }
                self.shrink(closed, rights, steps)?;
                (open, at) = (self.at(closed).parent().unwrap_or(top), self.sibling(closed));
                if !self.strip(closed, rights, steps) {
                    self.coalesce(closed, &mut at);
                }
                continue;
            };
            steps.check()?;
            let node = self.at(id);
            if node.origins().and(area).count == 0 {
                // The same holds for all its descendants.
                at = self.sibling(id);
                continue;
            }
            steps.reach(node.space().owner)?;
            if node.is_marked() {
                steps.reach_all()?;
            }
            if node.rights().and(rights).is_none() {
                (at, passed) = (self.sibling(id), passed + 1);
                if passed > CROWD && self.at(open).origins().and(area) == self.at(open).origins() {
                    steps.reach_all()?;
                    let (is_top, parent) = (open == top, self.at(open).parent().unwrap_or(top));
                    if !self.begin_taking(open, rights, !is_top) {
                        continue;
                    }
                    steps.changed = true;
                    self.finish(open, steps)?;
                    if is_top {
                        return Ok(());
                    }
                    (open, at, passed) = (parent, self.first_child(parent), 0);
                }
            } else if node.is_marked() && (rights != Rights::ALL || node.origins().and(area) != node.origins()) {
                self.finish(id, steps)?;
                // Which may have gone.
                at = self.first_child(open);
            } else if let Some(cut) = [area.base, area.end()].into_iter().find(|&cut| node.has_inside(cut)) {
                let following = self.sibling(id);
                match self.split(id, cut, steps) {
                    // Both parts are looked at in turn.
                    Ok(_) => {}
                    Err(Stop::Failed(_)) => {
                        self.destroy(id, steps)?;
                        at = following;
                    }
                    Err(preempted) => return Err(preempted),
                }
            } else {
                (open, at) = (id, self.first_child(id));
            }
        }
    }

    /// Takes the last units of a node without children that loses all rights, until the rest can be taken at once.
    pub(super) fn shrink(&self, id: NodeId, rights: Rights, steps: &mut Steps<'_, impl Effects>) -> Result<(), Stop> {
        let node = self.at(id);
        while rights.contains(node.rights()) {
            let piece = node.piece();
            let rest = piece.span.count - steps.effects.portion(&piece, false);
            if rest == 0 {
                break;
            }
            node.count.set(rest);
            steps.effects.revoked(
                &piece.within(Span::between(piece.span.base + rest, piece.span.end())),
                Rights::NONE,
                false,
            );
            steps.changed = true;
            steps.check()?;
        }
        Ok(())
    }

    /// Takes `rights` from one node, whose children do not have them any more. Whether it is gone.
    pub(super) fn strip(&self, id: NodeId, rights: Rights, steps: &mut Steps<'_, impl Effects>) -> bool {
        let (node, piece) = (self.at(id), self.at(id).piece());
        let left = piece.rights.without(rights);
        if left == piece.rights {
            return false;
        }
        let alone = node.parent().is_none() && node.next.get() == Some(id);
        if left.is_none() {
            self.discard(id);
        } else {
            node.set_rights(left);
        }
        steps.effects.revoked(&piece, left, alone && left.is_none());
        steps.changed = true;
        left.is_none()
    }

    /// The end of a revocation at `id`: takes `rights` from it, and joins what can be joined now.
    pub(super) fn settle(&self, id: NodeId, rights: Rights, steps: &mut Steps<'_, impl Effects>) {
        let parent = self.at(id).parent();
        let remaining = if self.strip(id, rights, steps) { parent } else { Some(id) };
        if let Some(id) = remaining {
            self.coalesce(id, &mut None);
        }
    }
}
