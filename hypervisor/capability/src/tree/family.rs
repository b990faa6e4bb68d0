//! Parents and children, and joining of nodes.
//!
//! Purpose: the children of a node, or the roots of one tree, form a ring; a parent names one of them, the first.
//! Invariants: 3 and 4 of `tree.rs`.
//! Concurrency: the tree's lock.
//! Source: lecture C:241-300.
use super::node::{DEEP, NodeId, Run};
use super::{MAX_DEPTH, Nodes, Tree};

impl<N: Nodes> Tree<'_, N> {
    pub(super) fn first_child(&self, id: NodeId) -> Option<NodeId> {
        self.at(id).first.get()
    }

    pub(super) fn is_leaf(&self, id: NodeId) -> bool {
        self.first_child(id).is_none()
    }

    /// The child of the same parent that comes after `id`, up to the last.
    pub(super) fn sibling(&self, id: NodeId) -> Option<NodeId> {
        let first = self.first_child(self.at(id).parent()?);
        self.at(id).next.get().filter(|&next| Some(next) != first)
    }

    /// What a new child of `parent` notes as its depth; `None` if it would have more than [`MAX_DEPTH`] ancestors.
    #[inline(always)]
    pub(super) fn depth_below(&self, parent: NodeId) -> Option<u32> {
        let depth = self.at(parent).depth() + 1;
        if depth < DEEP { Some(depth) } else { self.counted_below(parent) }
    }

    #[cold]
    fn counted_below(&self, parent: NodeId) -> Option<u32> {
        let depth = self.depth(parent);
        (depth < MAX_DEPTH).then_some(DEEP.min(u32::from(depth) + 1))
    }

    /// The number of ancestors.
    pub(super) fn depth(&self, mut id: NodeId) -> u16 {
        let mut depth = 0;
        while let Some(parent) = self.at(id).parent() {
            (id, depth) = (parent, depth + 1);
        }
        depth
    }

    /// Puts `id` into the ring before `place`, or makes it a ring.
    #[inline(always)]
    pub(super) fn link(&self, id: NodeId, place: Option<NodeId>) {
        let (node, mut previous) = (self.at(id), Some(id));
        if let Some(place) = place.map(|place| self.at(place)) {
            previous = place.previous.get();
            place.previous.set(Some(id));
        }
        node.next.set(place.or(Some(id)));
        node.previous.set(previous);
        if let Some(previous) = previous.filter(|&previous| previous != id) {
            self.at(previous).next.set(Some(id));
        }
    }

    /// Makes `id`, which is in no ring, the first child of `parent`.
    #[inline(always)]
    pub(super) fn adopt(&self, parent: NodeId, id: NodeId) {
        self.link(id, self.first_child(parent));
        self.at(parent).first.set(Some(id));
    }

    /// Takes `id` out of its ring.
    pub(super) fn unlink(&self, id: NodeId) {
        let node = self.at(id);
        let (Some(next), Some(previous)) = (node.next.get(), node.previous.get()) else { return };
        self.at(previous).next.set(Some(next));
        self.at(next).previous.set(Some(previous));
        let Some(parent) = node.parent().map(|parent| self.at(parent)) else { return };
        let rest = (next != id).then_some(next);
        if parent.first.get() == Some(id) {
            parent.first.set(rest);
        }
        if let Some(stays) = parent.twin().map(|twin| &self.at(twin).before).filter(|stays| stays.get() == Some(id)) {
            stays.set(rest.filter(|_| rest != parent.first.get()));
        }
    }

    /// Removes a node without children, and frees it.
    pub(super) fn discard(&self, id: NodeId) {
        debug_assert!(self.is_leaf(id), "children go first");
        let space = self.at(id).space();
        self.unlink(id);
        self.leave(self.0.index(space), id);
        self.0.release(space.owner, id);
    }

    /// Joins `id` with its neighbours in the space as far as invariant 4 asks for it. A walk goes on at `following`,
    /// which is moved on if that node goes.
    pub(super) fn coalesce(&self, id: NodeId, following: &mut Option<NodeId>) {
        let settled = self.at(id).parent().is_some_and(|parent| self.is_settled(parent));
        if !settled || self.at(id).is_marked() {
            return;
        }
        let id = self.at(id).before.get().and_then(|low| self.join(low, id, following)).unwrap_or(id);
        if let Some(high) = self.at(id).after.get() {
            self.join(id, high, following);
        }
    }

    /// Makes one node of two neighbours in a space, if they differ in nothing but position and one has no children; the
    /// node. Roots stay as they are.
    pub(super) fn join(&self, low: NodeId, high: NodeId, following: &mut Option<NodeId>) -> Option<NodeId> {
        if !self.at(low).continues_in(self.at(high)) || self.at(low).parent().is_none() {
            return None;
        }
        let both = self.at(low).run().with_count(self.at(low).count.get() + self.at(high).count.get());
        let (kept, gone) = if self.is_leaf(high) { (low, high) } else { (high, low) };
        if !self.is_leaf(gone) {
            return None;
        }
        if *following == Some(gone) {
            *following = self.sibling(gone);
        }
        self.discard(gone);
        self.resize(kept, &both);
        Some(kept)
    }

    /// Whether the children of a node may grow and join: not while they are handed out.
    pub(super) fn is_settled(&self, id: NodeId) -> bool {
        !self.at(id).is_marked() || self.is_losing(id)
    }

    /// Whether what descends from a marked node is to lose rights.
    #[cold]
    fn is_losing(&self, id: NodeId) -> bool {
        self.at(id).twin().is_some_and(|twin| self.at(twin).order().is_some())
    }

    /// Lets a node grow to `run`, in either direction.
    pub(super) fn resize(&self, id: NodeId, run: &Run) {
        let node = self.at(id);
        if node.run().starts_as(run) {
            return node.count.set(run.count);
        }
        // Its place in the index depends on its first unit.
        let (index, neighbours) = (self.0.index(node.space()), (node.before.get(), node.after.get()));
        self.leave(index, id);
        node.fill(node.space(), run, node.depth());
        self.enter(index, id, neighbours);
    }
}
