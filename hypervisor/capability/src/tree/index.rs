//! The index of a space: its nodes by unit.
//!
//! Purpose: from a unit to its node, and to the neighbours of a node.
//! Invariants: the nodes are leaves of a tree of forks. A fork says which bit of the first unit decides between its two
//! branches; all leaves below it agree in the bits above that one, so bits fall on the way down, no choice of units makes
//! a search longer than a unit has bits, and nothing is ever rebalanced. A node stores a leaf and one fork, not
//! necessarily above its own leaf; of n nodes one has no fork. Neighbours name each other.
//! Concurrency: the tree's lock.
//! Source: D. Morrison, "PATRICIA: Practical Algorithm To Retrieve Information Coded in Alphanumeric" (1968); the finger:
//! L. Guibas et al., "A new representation for linear lists" (1977).
use super::node::{Link, Node, NodeId, Number};
use super::{Nodes, Tree};

/// Marks a branch that ends in a leaf, not in the fork of the node that it names.
const LEAF: u32 = 1 << 31;
/// In place of a bit: the node has no fork.
pub(super) const NO_FORK: u32 = 0xFF;

/// The index of one space; a domain has one per kind.
#[derive(Debug, Default)]
pub struct SpaceIndex {
    /// The top branch, 0 if there are no nodes.
    pub(super) root: Number,
    /// The node of the latest search or insertion: the next one is often beside it.
    finger: Link,
}

impl SpaceIndex {
    /// Whether the space has no nodes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.root.get() == 0
    }
}

/// Two neighbours in a space, of which either may be missing.
pub(super) type Gap = (Option<NodeId>, Option<NodeId>);

impl<N: Nodes> Tree<'_, N> {
    #[inline]
    pub(super) fn at(&self, id: NodeId) -> &Node {
        self.0.node(id)
    }

    /// The last node that starts at `unit` or before, and the next one.
    #[inline(always)]
    pub(super) fn floor(&self, index: &SpaceIndex, unit: u64) -> Gap {
        let Some(near) = index.finger.get() else { return (None, None) };
        let after = self.at(near).after.get();
        if self.at(near).base() <= unit && after.is_none_or(|after| self.at(after).base() > unit) {
            return (Some(near), after);
        }
        self.search(index, near, unit)
    }

    /// As [`Self::floor`], from `near` on.
    fn search(&self, index: &SpaceIndex, mut near: NodeId, unit: u64) -> Gap {
        for _ in 0..2 {
            if self.at(near).base() > unit {
                break;
            }
            match self.at(near).after.get() {
                Some(after) if self.at(after).base() <= unit => near = after,
                after => {
                    index.finger.set(Some(near));
                    return (Some(near), after);
                }
            }
        }
        let mut branch = index.root.get();
        while let Some(fork) = self.fork(branch) {
            branch = fork.child[(unit >> fork.bit()) as usize & 1].get();
        }
        let Some(leaf) = leaf_of(branch) else { return (None, None) };
        let base = self.at(leaf).base();
        let found = if base == unit {
            leaf
        } else {
            // All that is below here lies on one side of the unit.
            let (mut branch, _) = self.climb(leaf, (base ^ unit).ilog2());
            while let Some(fork) = self.fork(branch) {
                branch = fork.child[usize::from(base < unit)].get();
            }
            leaf_of(branch).unwrap_or(leaf)
        };
        index.finger.set(Some(found));
        if base > unit {
            return (self.at(found).before.get(), Some(found));
        }
        (Some(found), self.at(found).after.get())
    }

    fn fork(&self, branch: u32) -> Option<&Node> {
        (branch & LEAF == 0).then(|| NodeId::from_field(branch).map(|id| self.at(id)))?
    }

    /// The topmost branch above a leaf that is below all forks with bits from `bit` on, and the fork it comes from.
    fn climb(&self, leaf: NodeId, bit: u32) -> (u32, Option<NodeId>) {
        let (mut branch, mut up) = (leaf.get().get() | LEAF, self.at(leaf).leaf_up.get());
        while let Some(fork) = up.filter(|&fork| self.at(fork).bit() < bit) {
            (branch, up) = (fork.get().get(), self.at(fork).up.get());
        }
        (branch, up)
    }

    /// Enters `id` into its space, between neighbours.
    pub(super) fn enter(&self, index: &SpaceIndex, id: NodeId, gap: Gap) {
        self.enter_here(index, id, gap);
    }

    /// As [`Self::enter`], where it has to be quick.
    #[inline(always)]
    pub(super) fn enter_here(&self, index: &SpaceIndex, id: NodeId, (below, above): Gap) {
        let (node, name) = (self.at(id), id.get().get());
        let base = node.base();
        node.before.set(below);
        node.after.set(above);
        index.finger.set(Some(id));
        // The neighbour that agrees with it in more bits.
        let (mut near, mut difference) = (below, u64::MAX);
        if let Some(below) = below.map(|below| self.at(below)) {
            below.after.set(Some(id));
            difference = below.base() ^ base;
        }
        if let Some(other) = above.map(|above| self.at(above)) {
            other.before.set(Some(id));
            if other.base() ^ base < difference {
                (near, difference) = (above, other.base() ^ base);
            }
        }
        let Some(near) = near else {
            node.leaf_up.set(None);
            return index.root.set(name | LEAF);
        };
        let bit = difference.ilog2();
        let (branch, up) = self.climb(near, bit);
        let side = (base >> bit) as usize & 1;
        node.set_bit(bit);
        node.child[side].set(name | LEAF);
        node.leaf_up.set(Some(id));
        self.hang(id, 1 - side, branch);
        node.up.set(up);
        match up {
            None => index.root.set(name),
            Some(up) => {
                let up = self.at(up);
                up.child[(base >> up.bit()) as usize & 1].set(name);
            }
        }
    }

    /// Takes `id` out of its space.
    pub(super) fn leave(&self, index: &SpaceIndex, id: NodeId) {
        let node = self.at(id);
        let (below, above) = (node.before.get(), node.after.get());
        if let Some(below) = below {
            self.at(below).after.set(above);
        }
        if let Some(above) = above {
            self.at(above).before.set(below);
        }
        if index.finger.get() == Some(id) {
            index.finger.set(above.or(below));
        }
        let Some(fork) = node.leaf_up.get() else { return index.root.set(0) };
        let freed = self.at(fork);
        let other = freed.child[usize::from(freed.child[0].get() == id.get().get() | LEAF)].get();
        self.replace(index, freed.up.get(), fork, other);
        freed.set_bit(NO_FORK);
        if fork != id && node.bit() != NO_FORK {
            // The fork that goes with the node moves to where one has become free.
            freed.set_bit(node.bit());
            self.hang(fork, 0, node.child[0].get());
            self.hang(fork, 1, node.child[1].get());
            self.replace(index, node.up.get(), id, fork.get().get());
        }
    }

    /// Lets `branch` be a branch of the fork of `id`.
    fn hang(&self, id: NodeId, side: usize, branch: u32) {
        self.at(id).child[side].set(branch);
        self.set_up(branch, Some(id));
    }

    fn set_up(&self, branch: u32, up: Option<NodeId>) {
        match (leaf_of(branch), self.fork(branch)) {
            (Some(leaf), _) => self.at(leaf).leaf_up.set(up),
            (_, Some(fork)) => fork.up.set(up),
            _ => {}
        }
    }

    /// Puts `branch` where the fork of `old` was below `up`.
    fn replace(&self, index: &SpaceIndex, up: Option<NodeId>, old: NodeId, branch: u32) {
        if let Some(up) = up {
            let side = usize::from(self.at(up).child[1].get() == old.get().get());
            self.hang(up, side, branch);
        } else {
            index.root.set(branch);
            self.set_up(branch, None);
        }
    }
}

/// The node whose leaf a branch ends in.
pub(super) fn leaf_of(branch: u32) -> Option<NodeId> {
    if branch & LEAF == 0 { None } else { NodeId::from_field(branch & !LEAF) }
}
