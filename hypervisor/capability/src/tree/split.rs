//! Dividing nodes.
//!
//! Purpose: a node becomes two at an origin. Its children are handed out one by one to the two parts, and divided first if
//! they have units on both sides.
//! Invariants: while a node is being divided it is marked, still has all its units, and is followed in its ring by its
//! twin, which is in no space yet and has the children that belong to it so far. Children that stay go to the end of the
//! ring; [`Node::before`] of the twin names the first of them. Only the division that is under way touches the two
//! otherwise: who finds a marked node finishes that first.
//! Concurrency: the tree's lock; preemptible after each child.
//! Source: issue of the exact range, design plan §3.
use super::node::NodeId;
use super::steps::{Steps, Stop};
use super::{Attributes, Effects, Full, Nodes, Piece, Tree};

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
        other.mark(Attributes::TWIN);
        other.first.set(None);
        other.before.set(None);
        self.link(twin, node.next.get());
        node.mark(Attributes::DIVIDED);
        let limit = node.attributes().limit();
        if limit != 0 {
            // Both together are not to be more; a part that is there is one.
            node.set_limit(limit - limit / 2);
            other.set_limit((limit / 2).max(1));
        }
        Ok(twin)
    }

    /// Finishes the division of `top`, which is marked.
    pub(super) fn finish(&self, top: NodeId, steps: &mut Steps<'_, impl Effects>) -> Result<(), Stop> {
        steps.reach_all()?;
        let top_cut = self.at(top).next.get().map(|twin| self.at(twin).origin());
        let mut open = top;
        while let Some(twin) = self.at(open).next.get() {
            steps.check()?;
            let (node, cut, stays) = (self.at(open), self.at(twin).origin(), &self.at(twin).before);
            let Some(child) = self.first_child(open).filter(|&child| stays.get() != Some(child)) else {
                self.complete(open);
                steps.changed = true;
                if open == top {
                    break;
                }
                let (low, below, above) = (open, node.before.get(), self.at(twin).after.get());
                open = node.parent().unwrap_or(top);
                // Who has no children any more may join others than the other part, unless they are to be divided elsewhere.
                if top_cut == Some(cut) {
                    below.map(|below| self.join(below, low, &mut None));
                    above.map(|above| self.join(twin, above, &mut None));
                }
                continue;
            };
            if self.at(child).is_marked() {
                open = child;
                continue;
            }
            if self.at(child).has_inside(cut) {
                match self.begin(child, cut) {
                    Ok(_) => open = child,
                    Err(Full) => {
                        // It changes something itself.
                        self.destroy(child, steps)?;
                        continue;
                    }
                }
            } else if self.at(child).origin() >= cut {
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
        node.count.set(self.at(twin).origin() - node.origin());
        for part in [id, twin] {
            self.at(part).mark(Attributes::NONE);
        }
        self.enter(self.0.index(node.space()), twin, (Some(id), node.after.get()));
    }
}
