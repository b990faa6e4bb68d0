//! The index of a space: its nodes by unit.
//!
//! Purpose: from a unit to its node, and to the neighbours of a node.
//! Invariants: nodes whose first units agree in all but the lowest `GROUP` bits are a group, and the first of each group
//! is a leaf of a tree of forks; the others are found from neighbour to neighbour. A fork says which bit of the first unit
//! decides between its two branches; all leaves below it agree in the bits above that one, so bits fall on the way down, no
//! choice of units makes a search longer than a unit has bits and a group units, and nothing is ever rebalanced. A leaf's
//! node stores one fork, not necessarily above its own leaf; of n leaves one has no fork. Neighbours name each other.
//! Concurrency: the tree's lock.
//! Source: D. Morrison, "PATRICIA: Practical Algorithm To Retrieve Information Coded in Alphanumeric" (1968); the finger:
//! L. Guibas et al., "A new representation for linear lists" (1977).
use super::node::{Link, Node, NodeId, Number};
use super::{Nodes, Tree};

/// Marks a branch that ends in a leaf, not in the fork of the node that it names.
const LEAF: u32 = 1 << 31;
/// In place of a bit: the node has no fork.
pub(super) const NO_FORK: u32 = 0xFF;
/// log2 of the units of a group: few in tests, so that few units are several.
pub(super) const GROUP: u32 = if cfg!(test) { 2 } else { 4 };
/// Units of a group.
pub const ROW: u64 = 1 << GROUP;
/// Neighbours that are looked at before a search begins at the top.
const BESIDE: usize = 4;

/// The index of one space; a domain has one per kind.
#[derive(Debug, Default)]
pub struct SpaceIndex {
    /// The top branch, 0 if there are no nodes.
    pub(super) root: Number,
    /// The node of the latest search or insertion: the next one is often beside it.
    pub(super) finger: Link,
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
        if self.at(near).base() <= unit
            && let Some(gap) = self.onward(index, near, unit, BESIDE)
        {
            return gap;
        }
        self.search(index, unit)
    }

    /// As [`Self::floor`], from the top on.
    fn search(&self, index: &SpaceIndex, unit: u64) -> Gap {
        let mut branch = index.root.get();
        while let Some(fork) = self.fork(branch) {
            branch = fork.child[(unit >> fork.bit()) as usize & 1].get();
        }
        let Some(mut head) = leaf_of(branch) else { return (None, None) };
        let base = self.at(head).base();
        if !same_group(base, unit) {
            // All that is below here lies on one side of the unit.
            let (mut branch, _) = self.climb(head, (base ^ unit).ilog2());
            while let Some(fork) = self.fork(branch) {
                branch = fork.child[usize::from(base < unit)].get();
            }
            head = leaf_of(branch).unwrap_or(head);
        }
        if self.at(head).base() > unit {
            index.finger.set(Some(head));
            return (self.at(head).before.get(), Some(head));
        }
        self.onward(index, head, unit, usize::MAX).unwrap_or((Some(head), None))
    }

    /// [`Self::floor`] by neighbours, of which at most so many are looked at, from `near` on, which is not behind it.
    #[inline(always)]
    fn onward(&self, index: &SpaceIndex, mut near: NodeId, unit: u64, steps: usize) -> Option<Gap> {
        for _ in 0..steps {
            match self.at(near).after.get() {
                Some(after) if self.at(after).base() <= unit => near = after,
                after => {
                    index.finger.set(Some(near));
                    return Some((Some(near), after));
                }
            }
        }
        None
    }

    fn fork(&self, branch: u32) -> Option<&Node> {
        (branch & LEAF == 0).then(|| NodeId::from_field(branch).map(|id| self.at(id)))?
    }

    /// The topmost branch above a leaf that is below all forks with bits from `bit` on, and the fork it comes from.
    fn climb(&self, leaf: NodeId, bit: u32) -> (u32, Option<NodeId>) {
        let (mut branch, mut up) = (leaf.number() | LEAF, self.at(leaf).leaf_up.get());
        while let Some(fork) = up.filter(|&fork| self.at(fork).bit() < bit) {
            (branch, up) = (fork.number(), self.at(fork).up.get());
        }
        (branch, up)
    }

    /// Enters `id` into its space, between neighbours.
    pub(super) fn enter(&self, index: &SpaceIndex, id: NodeId, gap: Gap) {
        self.enter_here::<false>(index, id, gap);
    }

    /// As [`Self::enter`], where it has to be quick; with `LEADS`, also if a group begins.
    #[inline(always)]
    pub(super) fn enter_here<const LEADS: bool>(&self, index: &SpaceIndex, id: NodeId, (below, above): Gap) {
        let node = self.at(id);
        let base = node.base();
        node.before.set(below);
        node.after.set(above);
        index.finger.set(Some(id));
        if let Some(above) = above.map(|above| self.at(above)) {
            above.before.set(Some(id));
        }
        let low = below.map_or(u64::MAX, |below| {
            self.at(below).after.set(Some(id));
            self.at(below).base() ^ base
        });
        if low >> GROUP == 0 {
            return;
        }
        if LEADS {
            self.lead_here(index, (id, base), (below, low), above);
        } else {
            self.lead(index, id, below, above);
        }
    }

    /// Makes `id`, which is the first of its group now, a leaf; `below` is a node of the group before it.
    pub(super) fn lead(&self, index: &SpaceIndex, id: NodeId, below: Option<NodeId>, above: Option<NodeId>) {
        let base = self.at(id).base();
        let low = below.map_or(u64::MAX, |below| self.at(below).base() ^ base);
        self.lead_here(index, (id, base), (below, low), above);
    }

    /// As [`Self::lead`] of a node at `base`, with how `below` differs.
    #[inline(always)]
    fn lead_here(
        &self,
        index: &SpaceIndex,
        (id, base): (NodeId, u64),
        (below, low): (Option<NodeId>, u64),
        above: Option<NodeId>,
    ) {
        let (node, name) = (self.at(id), id.number());
        let high = above.map_or(u64::MAX, |above| self.at(above).base() ^ base);
        // The neighbour that agrees with it in more bits.
        let (near, difference) = if high < low { (above, high) } else { (below, low) };
        let Some(mut near) = near else {
            node.leaf_up.set(None);
            return index.root.set(name | LEAF);
        };
        if difference >> GROUP == 0 {
            return self.succeed(index, near, id);
        }
        // At the first unit of a group there is its first node.
        if !self.at(near).base().is_multiple_of(ROW) {
            near = self.head(near);
        }
        let bit = difference.ilog2();
        let (branch, up) = self.climb(near, bit);
        let side = (base >> bit) as usize & 1;
        node.set_bit(bit);
        node.child[side].set(name | LEAF);
        node.leaf_up.set(Some(id));
        self.hang(id, 1 - side, branch);
        node.up.set(up);
        self.put_below(index, up, branch, name);
    }

    /// The first node of the group of `id`.
    #[inline(never)]
    fn head(&self, mut id: NodeId) -> NodeId {
        while let Some(before) = self.at(id).before.get().filter(|&before| self.are_grouped(before, id)) {
            id = before;
        }
        id
    }

    fn are_grouped(&self, one: NodeId, other: NodeId) -> bool {
        same_group(self.at(one).base(), self.at(other).base())
    }

    /// Makes `id`, which has no leaf and no fork, what `old` is in the index.
    #[inline(always)]
    fn succeed(&self, index: &SpaceIndex, old: NodeId, id: NodeId) {
        self.move_fork(index, old, id);
        let (from, to, up) = (old.number() | LEAF, id.number() | LEAF, self.at(old).leaf_up.get());
        self.at(id).leaf_up.set(up);
        self.put_below(index, up, from, to);
    }

    /// Moves the fork of `old`, if it has one, to `id`.
    #[inline(always)]
    fn move_fork(&self, index: &SpaceIndex, old: NodeId, id: NodeId) {
        let (old_node, node) = (self.at(old), self.at(id));
        let bit = old_node.bit();
        node.set_bit(bit);
        if bit != NO_FORK {
            old_node.set_bit(NO_FORK);
            let up = old_node.up.get();
            node.up.set(up);
            self.hang(id, 0, old_node.child[0].get());
            self.hang(id, 1, old_node.child[1].get());
            self.put_below(index, up, old.number(), id.number());
        }
    }

    /// Takes `id` out of its space.
    #[inline(always)]
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
            index.finger.set(below.or(above));
        }
        if below.is_none_or(|below| !self.are_grouped(below, id)) {
            self.resign(index, id, above);
        }
    }

    /// Takes `id`, the first of its group, which is no neighbour's any more, out of the index; `above` came after it.
    pub(super) fn resign(&self, index: &SpaceIndex, id: NodeId, above: Option<NodeId>) {
        if let Some(above) = above.filter(|&above| self.are_grouped(id, above)) {
            return self.succeed(index, id, above);
        }
        let Some(fork) = self.at(id).leaf_up.get() else { return index.root.set(0) };
        let freed = self.at(fork);
        let other = freed.child[usize::from(freed.child[0].get() == id.number() | LEAF)].get();
        self.replace(index, freed.up.get(), fork.number(), other);
        freed.set_bit(NO_FORK);
        if fork != id {
            // The fork that goes with the node moves to where one has become free.
            self.move_fork(index, id, fork);
        }
    }

    /// Lets `branch` be a branch of the fork of `id`.
    #[inline(always)]
    fn hang(&self, id: NodeId, side: usize, branch: u32) {
        self.at(id).child[side].set(branch);
        self.set_up(branch, Some(id));
    }

    /// Notes the fork above a branch.
    #[inline(always)]
    fn set_up(&self, branch: u32, up: Option<NodeId>) {
        if let Some(id) = NodeId::from_field(branch & !LEAF) {
            let node = self.at(id);
            if branch & LEAF == 0 { &node.up } else { &node.leaf_up }.set(up);
        }
    }

    /// Puts `branch`, which names `up` as the fork above it, where `old` was below that.
    #[inline(always)]
    fn put_below(&self, index: &SpaceIndex, up: Option<NodeId>, old: u32, branch: u32) {
        match up.map(|up| &self.at(up).child) {
            Some(children) => children[usize::from(children[1].get() == old)].set(branch),
            None => index.root.set(branch),
        }
    }

    /// Puts `branch` where `old` was below `up`.
    fn replace(&self, index: &SpaceIndex, up: Option<NodeId>, old: u32, branch: u32) {
        self.set_up(branch, up);
        self.put_below(index, up, old, branch);
    }
}

/// Whether two units lie in one group.
pub(super) fn same_group(one: u64, other: u64) -> bool {
    (one ^ other) >> GROUP == 0
}

/// The node whose leaf a branch ends in.
pub(super) fn leaf_of(branch: u32) -> Option<NodeId> {
    if branch & LEAF == 0 { None } else { NodeId::from_field(branch & !LEAF) }
}
