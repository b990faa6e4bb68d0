//! Dividing nodes.
//!
//! Purpose: a node becomes two at an origin, after all its descendants that have units on both sides have.
//! Invariants: children are divided before their parents, so that the tree is consistent after each node; each division
//! lasts, so that a repetition finds fewer nodes to divide.
//! Concurrency: the tree's lock; preemptible before each node. Handing the children of one node out to its two parts is
//! one step.
//! Source: issue of the exact range, design plan §3.
use super::node::NodeId;
use super::steps::{Steps, Stop};
use super::{Effects, Nodes, Piece, Tree};

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
        let owner = self.at(top).space().owner;
        let twin = self.0.allocate(owner)?;
        if let Err(stop) = self.split_below(top, cut, steps) {
            self.0.release(owner, twin);
            return Err(stop);
        }
        self.divide(top, cut, twin, steps);
        Ok(twin)
    }

    fn split_below(&self, top: NodeId, cut: u64, steps: &mut Steps<'_, impl Effects>) -> Result<(), Stop> {
        let (mut open, mut at) = (top, self.first_child(top));
        loop {
            steps.check()?;
            match at {
                Some(id) if self.at(id).has_inside(cut) => (open, at) = (id, self.first_child(id)),
                Some(id) => at = self.sibling(id),
                None if open == top => return Ok(()),
                None => {
                    let id = open;
                    (open, at) = (self.at(id).parent().unwrap_or(top), self.sibling(id));
                    match self.0.allocate(self.at(id).space().owner) {
                        Ok(twin) => self.divide(id, cut, twin, steps),
                        Err(_) => self.destroy(id, steps)?,
                    }
                }
            }
        }
    }

    /// Makes `twin` the upper part of `id`, of whose descendants none has units on both sides.
    fn divide(&self, id: NodeId, cut: u64, twin: NodeId, steps: &mut Steps<'_, impl Effects>) {
        let (node, other) = (self.at(id), self.at(twin));
        let low = cut - node.origin();
        other.fill(node.space(), &node.run().after(low));
        other.first.set(None);
        self.link(twin, node.next.get());
        node.count.set(low);
        self.enter(self.0.index(node.space()), twin, (Some(id), node.after.get()));
        let mut at = self.first_child(id);
        while let Some(child) = at {
            at = self.sibling(child);
            if self.at(child).origin() >= cut {
                self.move_to(child, twin);
            }
        }
        steps.changed = true;
    }

    /// Makes `id` a child of `parent` instead of whose it is.
    fn move_to(&self, id: NodeId, parent: NodeId) {
        self.unlink(id);
        self.at(id).set_parent(Some(parent));
        self.adopt(parent, id);
    }
}
