//! The list of a tree in pre-order, and joining of nodes.
//!
//! Purpose: the subtree of a node is the run of deeper nodes that follow it: walking it needs neither recursion nor a
//! stack.
//! Invariants: 3 and 4 of `tree.rs`.
//! Concurrency: the tree's lock.
//! Source: lecture C:456-492.
use super::index::{HIGH, LOW};
use super::node::NodeId;
use super::{Full, Nodes, Piece, Tree};

impl<N: Nodes> Tree<'_, N> {
    pub(super) fn next(&self, id: NodeId) -> Option<NodeId> {
        self.at(id).next.get()
    }

    pub(super) fn depth(&self, id: NodeId) -> u16 {
        self.at(id).depth.get()
    }

    /// `id`, if it is deeper than `top`. For the node that follows the run so far: whether it belongs to the subtree.
    pub(super) fn below(&self, top: NodeId, id: Option<NodeId>) -> Option<NodeId> {
        id.filter(|&id| self.depth(id) > self.depth(top))
    }

    pub(super) fn is_leaf(&self, id: NodeId) -> bool {
        self.below(id, self.next(id)).is_none()
    }

    /// Makes the two neighbours in the list.
    pub(super) fn link(&self, first: Option<NodeId>, second: Option<NodeId>) {
        if let Some(first) = first {
            self.at(first).next.set(second);
        }
        if let Some(second) = second {
            self.at(second).previous.set(first);
        }
    }

    /// Takes `id` out of the list.
    pub(super) fn unlink(&self, id: NodeId) {
        self.link(self.at(id).previous.get(), self.at(id).next.get());
    }

    /// A new node for `piece`, which the owner pays for, not yet in the list or in its space.
    pub(super) fn create(&self, piece: &Piece, parent: Option<NodeId>, depth: u16) -> Result<NodeId, Full> {
        let id = self.0.allocate(piece.space.owner)?;
        let node = self.at(id);
        node.fill(piece);
        node.parent.set(parent);
        node.depth.set(depth);
        node.next.set(None);
        node.previous.set(None);
        Ok(id)
    }

    /// Removes a leaf from the list and from its space, and frees it.
    pub(super) fn discard(&self, id: NodeId) {
        debug_assert!(self.is_leaf(id), "children go first");
        self.unlink(id);
        self.leave(id);
        self.0.release(self.at(id).owner.get(), id);
    }

    /// Joins `id` with its neighbours in the space as far as invariant 4 asks for it; roots stay as they are. A walk goes on at `following`,
    /// which is moved on if that node goes.
    pub(super) fn coalesce(&self, id: NodeId, following: &mut Option<NodeId>) {
        if self.at(id).parent.get().is_none() {
            return;
        }
        let id = self.neighbour(id, LOW).map_or(id, |low| self.join(low, id, following).unwrap_or(id));
        if let Some(high) = self.neighbour(id, HIGH) {
            self.join(id, high, following);
        }
    }

    /// Makes one node of two neighbours in a space, if they differ in nothing but position and one is a leaf; the node.
    fn join(&self, low: NodeId, high: NodeId, following: &mut Option<NodeId>) -> Option<NodeId> {
        let same_parent = self.at(low).parent.get() == self.at(high).parent.get();
        if !same_parent || !self.at(low).piece().continues_in(&self.at(high).piece()) {
            return None;
        }
        let count = self.at(low).count.get() + self.at(high).count.get();
        let (kept, gone) = if self.is_leaf(high) {
            (low, high)
        } else if self.is_leaf(low) {
            self.at(high).base.set(self.at(low).base.get());
            self.at(high).origin.set(self.at(low).origin.get());
            (high, low)
        } else {
            return None;
        };
        if *following == Some(gone) {
            *following = self.next(gone);
        }
        self.discard(gone);
        self.at(kept).count.set(count);
        Some(kept)
    }
}
