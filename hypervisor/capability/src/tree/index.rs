//! The index of a space: its nodes by unit.
//!
//! Purpose: from a unit to its node, and to the neighbours of a node.
//! Invariants: a binary search tree by base whose branches differ in height by at most one, so that no choice of bases
//! makes a search long; [`Node::up`] is the inverse of [`Node::child`].
//! Concurrency: the tree's lock.
//! Source: G. Adelson-Velsky, E. Landis, "An algorithm for the organization of information" (1962); lecture C:313-317.
use super::node::{Link, Node, NodeId};
use super::{Nodes, Space, Tree};

/// Towards lower units.
pub(super) const LOW: usize = 0;
/// Towards higher units.
pub(super) const HIGH: usize = 1;

/// The index of one space; a domain has one per kind.
#[derive(Debug, Default)]
pub struct SpaceIndex {
    root: Link,
}

impl SpaceIndex {
    /// Whether the space has no nodes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.root.get().is_none()
    }
}

impl<N: Nodes> Tree<'_, N> {
    #[inline]
    pub(super) fn at(&self, id: NodeId) -> &Node {
        self.0.node(id)
    }

    /// The last node of `space` that ends at `unit` or before, and the first that ends after it: that one covers the
    /// unit or is the next above.
    pub(super) fn around(&self, space: Space, unit: u64) -> (Option<NodeId>, Option<NodeId>) {
        let mut at = self.0.index(space).root.get();
        let (mut below, mut above) = (None, None);
        while let Some(id) = at {
            let node = self.at(id);
            let ends_before = node.end() <= unit;
            *(if ends_before { &mut below } else { &mut above }) = at;
            at = node.child[usize::from(ends_before)].get();
        }
        (below, above)
    }

    /// The next node of the same space on that side.
    pub(super) fn neighbour(&self, id: NodeId, side: usize) -> Option<NodeId> {
        if let Some(child) = self.at(id).child[side].get() {
            return Some(self.outermost(child, 1 - side));
        }
        let (mut from, mut at) = (id, self.at(id).up.get());
        while let Some(up) = at.filter(|&up| self.at(up).child[side].get() == Some(from)) {
            (from, at) = (up, self.at(up).up.get());
        }
        at
    }

    fn outermost(&self, mut id: NodeId, side: usize) -> NodeId {
        while let Some(child) = self.at(id).child[side].get() {
            id = child;
        }
        id
    }

    /// Enters `id` into its space, right after `before`, or as the first.
    pub(super) fn enter(&self, id: NodeId, before: Option<NodeId>) {
        let node = self.at(id);
        let root = &self.0.index(node.space()).root;
        let place = match before {
            None => root.get().map(|top| (self.outermost(top, LOW), LOW)),
            Some(before) => Some(match self.at(before).child[HIGH].get() {
                None => (before, HIGH),
                Some(above) => (self.outermost(above, LOW), LOW),
            }),
        };
        node.child[LOW].set(None);
        node.child[HIGH].set(None);
        node.height.set(1);
        node.up.set(place.map(|(up, _)| up));
        match place {
            None => root.set(Some(id)),
            Some((up, side)) => self.at(up).child[side].set(Some(id)),
        }
        self.balance_from(root, place.map(|(up, _)| up));
    }

    /// Takes `id` out of its space.
    pub(super) fn leave(&self, id: NodeId) {
        let node = self.at(id);
        let root = &self.0.index(node.space()).root;
        let up = node.up.get();
        let (low, high) = (node.child[LOW].get(), node.child[HIGH].get());
        let (Some(low), Some(high)) = (low, high) else {
            self.replace(root, up, id, low.or(high));
            return self.balance_from(root, up);
        };
        // The next node above takes the place; it has no lower child.
        let heir = self.outermost(high, LOW);
        let mut lowest_change = heir;
        if heir != high {
            lowest_change = self.at(heir).up.get().unwrap_or(heir);
            self.replace(root, Some(lowest_change), heir, self.at(heir).child[HIGH].get());
            self.adopt(heir, HIGH, Some(high));
        }
        self.adopt(heir, LOW, Some(low));
        self.at(heir).height.set(node.height.get());
        self.replace(root, up, id, Some(heir));
        self.balance_from(root, Some(lowest_change));
    }

    fn adopt(&self, id: NodeId, side: usize, child: Option<NodeId>) {
        self.at(id).child[side].set(child);
        if let Some(child) = child {
            self.at(child).up.set(Some(id));
        }
    }

    /// Puts `new` where `old` was below `up`.
    fn replace(&self, root: &Link, up: Option<NodeId>, old: NodeId, new: Option<NodeId>) {
        if let Some(up) = up {
            let side = usize::from(self.at(up).child[HIGH].get() == Some(old));
            return self.adopt(up, side, new);
        }
        root.set(new);
        if let Some(new) = new {
            self.at(new).up.set(None);
        }
    }

    /// Heights of both branches of `id`.
    fn heights(&self, id: NodeId) -> [u8; 2] {
        [LOW, HIGH].map(|side| self.at(id).child[side].get().map_or(0, |child| self.at(child).height.get()))
    }

    fn measure(&self, id: NodeId) {
        let [low, high] = self.heights(id);
        self.at(id).height.set(low.max(high) + 1);
    }

    /// Restores balance upwards from `at`, as far as heights changed.
    fn balance_from(&self, root: &Link, mut at: Option<NodeId>) {
        while let Some(id) = at {
            let before = self.at(id).height.get();
            let [low, high] = self.heights(id);
            let mut top = id;
            if low.abs_diff(high) > 1 {
                top = self.lift(root, id, usize::from(high > low));
            } else {
                self.at(id).height.set(low.max(high) + 1);
            }
            if self.at(top).height.get() == before {
                return;
            }
            at = self.at(top).up.get();
        }
    }

    /// Lowers `id` in favour of its branch on `side`, which is two higher than the other; the new top.
    fn lift(&self, root: &Link, id: NodeId, side: usize) -> NodeId {
        let Some(tall) = self.at(id).child[side].get() else { return id };
        let heights = self.heights(tall);
        if heights[1 - side] > heights[side] {
            self.rotate(root, tall, 1 - side);
        }
        self.rotate(root, id, side)
    }

    /// Exchanges `id` with its child on `side`, which becomes the top.
    fn rotate(&self, root: &Link, id: NodeId, side: usize) -> NodeId {
        let Some(top) = self.at(id).child[side].get() else { return id };
        self.replace(root, self.at(id).up.get(), id, Some(top));
        self.adopt(id, side, self.at(top).child[1 - side].get());
        self.adopt(top, 1 - side, Some(id));
        self.measure(id);
        self.measure(top);
        top
    }
}
