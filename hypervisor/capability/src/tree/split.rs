//! Dividing nodes, and taking from a crowd.
//!
//! Purpose: a node becomes two at an origin. Its children are handed out one by one to the two parts, and divided first if
//! they have units on both sides. Or they lose rights one by one, where so many lack them that a walk has to note how far it is.
//! Invariants: while a node is being divided it is marked, still has all its units, and is followed in its ring by its
//! twin, which is in no space yet and has the children that belong to it so far. Children that stay go to the end of the
//! ring; [`Node::before`] of the twin names the first of them. Only the division that is under way touches the two
//! otherwise: who finds a marked node finishes that first. Of a node whose children are to lose rights all stay: its twin has no
//! units, no children and no rights, but says what they lose, and each is in front of the first that stays until it has lost it.
//! Concurrency: the tree's lock; preemptible after each child.
//! Source: issue of the exact range, design plan §3.
use super::node::NodeId;
use super::steps::{Steps, Stop};
use super::{Attributes, Effects, Full, Nodes, Piece, Tree};
use abi::Rights;
use core::iter::successors;

impl<N: Nodes> Tree<'_, N> {
    /// Divides the node `id`, which has `part`, if need be, so that the part is a node; that node.
    pub(super) fn isolate(
        &self,
        mut id: NodeId,
        part: &Piece,
        steps: &mut Steps<'_, impl Effects>,
    ) -> Result<NodeId, Stop> {
        if self.at(id).base() < part.span.base {
            id = self.split(id, part.origin, steps)?;
        }
        if part.span.end() < self.at(id).end()
            && let Err(stop) = self.split(id, part.origins().end(), steps)
        {
            if let Stop::Failed(_) = stop {
                self.coalesce(id, &mut None);
            }
            return Err(stop);
        }
        Ok(id)
    }

    /// Divides `top` at the origin `cut`, and what descends from it; the upper part. Descendants whose owners cannot pay
    /// for a second node go as a whole.
    pub(super) fn split(&self, top: NodeId, cut: u64, steps: &mut Steps<'_, impl Effects>) -> Result<NodeId, Stop> {
        steps.reach_all()?;
        let twin = self.begin(top, cut)?;
        self.finish(top, steps)?;
        Ok(twin)
    }

    /// Marks `id` as being divided at `cut`; the twin.
    fn begin(&self, id: NodeId, cut: u64) -> Result<NodeId, Full> {
        let node = self.at(id);
        let twin = self.0.allocate(node.space().owner).ok_or(Full)?;
        let other = self.at(twin);
        other.fill(node.space(), &node.run().after(cut - node.origin()), node.depth());
        self.pair(id, twin);
        let limit = node.attributes().limit();
        if limit != 0 {
            // Both together are not to be more; a part that is there is one.
            node.set_limit(limit - limit / 2);
            other.set_limit((limit / 2).max(1));
        }
        Ok(twin)
    }

    /// Marks `id`: all that descends from it is to lose `rights`, and with `itself` it too, whoever comes by and finishes it. It
    /// has a twin as if it were divided, which an ancestor's owner pays for if its own cannot. False if nobody can.
    pub(super) fn begin_taking(&self, id: NodeId, rights: Rights, itself: bool) -> bool {
        let node = self.at(id);
        let mut payers = successors(Some(id), |&at| self.at(at).parent()).map(|at| self.at(at).space());
        let Some((space, twin)) = payers.find_map(|space| Some((space, self.0.allocate(space.owner)?))) else {
            return false;
        };
        let other = self.at(twin);
        other.fill(space, &node.run().with_count(0), node.depth());
        other.set_order(rights, itself);
        self.pair(id, twin);
        true
    }

    /// Marks `id` and its twin.
    fn pair(&self, id: NodeId, twin: NodeId) {
        let (node, other) = (self.at(id), self.at(twin));
        other.mark(Attributes::TWIN);
        other.first.set(None);
        other.before.set(None);
        self.link(twin, node.next.get());
        node.mark(Attributes::DIVIDED);
    }

    /// Finishes what is under way at `id`, which is marked. If it stays as it is: which rights nobody has any more who has
    /// it from there.
    pub(super) fn resume(&self, id: NodeId, steps: &mut Steps<'_, impl Effects>) -> Result<Option<Rights>, Stop> {
        let order = self.at(id).twin().and_then(|twin| self.at(twin).order());
        self.finish(id, steps)?;
        Ok(order.and_then(|(rights, itself)| (!itself).then_some(rights)))
    }

    /// Finishes the division of `top`, or what is to be taken from it, which is marked.
    pub(super) fn finish(&self, top: NodeId, steps: &mut Steps<'_, impl Effects>) -> Result<(), Stop> {
        steps.reach_all()?;
        let mut top_cut = self.at(top).next.get().map(|twin| self.at(twin).origin());
        let mut open = top;
        while let Some(twin) = self.at(open).next.get() {
            steps.check()?;
            let (node, cut, stays) = (self.at(open), self.at(twin).origin(), &self.at(twin).before);
            let order = self.at(twin).order();
            let next = self.first_child(open).filter(|&child| stays.get() != Some(child));
            let has = |child: NodeId, rights| !self.at(child).rights().and(rights).is_none();
            // Who loses something now: it has no children, or they have lost it.
            let loses = match (next, order) {
                (None, Some((rights, true))) => Some((open, rights)),
                (Some(child), Some((rights, _))) => {
                    let whole = self.is_leaf(child) && !self.at(child).is_marked();
                    (whole && has(child, rights)).then_some((child, rights))
                }
                _ => None,
            };
            if let Some((id, rights)) = loses {
                self.shrink(id, rights, steps)?;
            }
            let parent = node.parent().unwrap_or(top);
            if next.is_none() {
                self.complete(open);
            }
            if let Some((id, rights)) = loses
                && !self.strip(id, rights, steps)
            {
                self.coalesce(id, &mut None);
            }
            let Some(child) = next else {
                steps.changed = true;
                if open == top {
                    break;
                }
                if order.is_some() {
                    open = parent;
                    continue;
                }
                let (low, below, above) = (open, node.before.get(), self.at(twin).after.get());
                open = parent;
                // Who has no children any more may join others than the other part, unless they are to be divided elsewhere.
                if top_cut == Some(cut) {
                    below.map(|below| self.join(below, low, &mut None));
                    above.map(|above| self.join(twin, above, &mut None));
                }
                continue;
            };
            if loses.is_some() {
                continue;
            }
            if self.at(child).is_marked() {
                if order.is_some() {
                    top_cut = self.at(child).next.get().map(|twin| self.at(twin).origin());
                }
                open = child;
                continue;
            }
            if let Some((rights, _)) = order.filter(|&(rights, _)| has(child, rights)) {
                if self.begin_taking(child, rights, true) {
                    open = child;
                } else {
                    self.destroy(child, steps)?;
                }
            } else if order.is_none() && self.at(child).has_inside(cut) {
                match self.begin(child, cut) {
                    Ok(_) => open = child,
                    Err(Full) => {
                        // It changes something itself.
                        self.destroy(child, steps)?;
                        continue;
                    }
                }
            } else if order.is_none() && self.at(child).origin() >= cut {
                self.unlink(child);
                self.at(child).set_parent(Some(twin));
                self.adopt(twin, child);
                self.at(child).after.get().map(|above| self.join(child, above, &mut None));
            } else {
                stays.set(stays.get().or(Some(child)));
                node.first.set(self.at(child).next.get());
            }
            steps.changed = true;
        }
        Ok(())
    }

    /// Makes two nodes of one that is being divided, of whose children none belongs to the other part.
    pub(super) fn complete(&self, id: NodeId) {
        let node = self.at(id);
        let Some(twin) = node.next.get() else { return };
        if self.at(twin).order().is_some() {
            node.mark(Attributes::NONE);
            self.unlink(twin);
            return self.0.release(self.at(twin).space().owner, twin);
        }
        node.count.set(self.at(twin).origin() - node.origin());
        for part in [id, twin] {
            self.at(part).mark(Attributes::NONE);
        }
        self.enter(self.0.index(node.space()), twin, (Some(id), node.after.get()));
    }
}
