//! Cutting a subtree in two.
//!
//! Purpose: a node and all its descendants are divided at an origin: what lies below stays, what lies above becomes a
//! subtree of its own, right behind it.
//! Invariants: both parts keep the order of the list and the depths, so both are in pre-order; all nodes that are needed
//! are there before the first change.
//! Concurrency: the tree's lock; not preemptible: it walks the run of the node twice.
//! Source: lecture C:456-492; issue of the exact range, design plan §3.
use super::node::NodeId;
use super::{Nodes, Span, Tree};

impl<N: Nodes> Tree<'_, N> {
    /// Divides `top`, whose origins lie on both sides of `cut`; the upper part.
    ///
    /// # Errors
    /// The node of the subtree whose owner cannot pay for a second one. Nothing has changed then.
    pub(super) fn split(&self, top: NodeId, cut: u64) -> Result<NodeId, NodeId> {
        let upper = self.reserve(top, cut)?;
        let mut spare = self.next(upper);
        self.link(Some(upper), None);
        // The last nodes of the two parts.
        let (mut low, mut high) = (top, upper);
        let mut following = self.cut(top, upper);
        while let Some(id) = self.below(top, following) {
            following = self.next(id);
            let moved = if self.at(id).origin.get() >= cut {
                id
            } else {
                self.link(Some(low), Some(id));
                low = id;
                match spare.filter(|_| self.at(id).origins().end() > cut) {
                    None => continue,
                    Some(twin) => {
                        spare = self.next(twin);
                        self.cut(id, twin);
                        twin
                    }
                }
            };
            let mut parent = high;
            while self.depth(parent) >= self.depth(moved) {
                parent = self.at(parent).parent.get().unwrap_or(upper);
            }
            self.at(moved).parent.set(Some(parent));
            self.link(Some(high), Some(moved));
            high = moved;
        }
        self.link(Some(low), Some(upper));
        self.link(Some(high), following);
        Ok(upper)
    }

    /// Shortens `id` to what lies below its twin, and enters that into the space; the node after `id` in the list.
    fn cut(&self, id: NodeId, twin: NodeId) -> Option<NodeId> {
        self.at(id).count.set(self.at(twin).origin.get() - self.at(id).origin.get());
        self.enter(twin, Some(id));
        self.next(id)
    }

    /// New nodes for the upper parts of all nodes of the subtree that `cut` divides, in the order of the list and linked
    /// by `next`; the first is that of `top`.
    fn reserve(&self, top: NodeId, cut: u64) -> Result<NodeId, NodeId> {
        let (mut first, mut last) = (None, None);
        let mut at = Some(top);
        while let Some(id) = at {
            let node = self.at(id);
            if node.origin.get() < cut && cut < node.origins().end() {
                let piece = node.piece();
                let unit = piece.span.base + (cut - piece.origin);
                let upper = piece.within(Span::between(unit, piece.span.end()));
                let Ok(twin) = self.create(&upper, node.parent.get(), node.depth.get()) else {
                    while let Some(twin) = first {
                        first = self.next(twin);
                        self.0.release(self.at(twin).owner.get(), twin);
                    }
                    return Err(id);
                };
                self.link(last, Some(twin));
                first = first.or(Some(twin));
                last = Some(twin);
            }
            at = self.below(top, node.next.get());
        }
        first.ok_or(top)
    }
}
