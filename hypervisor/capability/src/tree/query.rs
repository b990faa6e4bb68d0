//! Looking.
//!
//! Purpose: what is at a unit, what it is called elsewhere, and who has it from there.
//! Invariants: nothing changes.
//! Concurrency: the tree's lock.
//! Source: interface §3 (translate), §5 (lookup); lecture C:25-28, C:245 (iterator over derived mappings).
use super::node::NodeId;
use super::{Nodes, Piece, Space, Span, Tree};

impl<N: Nodes> Tree<'_, N> {
    /// The node that covers `unit`.
    #[must_use]
    pub fn lookup(&self, space: Space, unit: u64) -> Option<Piece> {
        self.first(space, Span { base: unit, count: 1 })
    }

    /// The first node that has units in `range`, in full.
    #[must_use]
    pub fn first(&self, space: Space, range: Span) -> Option<Piece> {
        self.next_piece(space, range).map(|id| self.at(id).piece())
    }

    pub(super) fn next_piece(&self, space: Space, range: Span) -> Option<NodeId> {
        if range.count == 0 {
            return None;
        }
        let (below, above) = self.floor(self.0.index(space), range.base);
        let covering = below.filter(|&id| self.at(id).end() > range.base);
        covering.or(above).filter(|&id| self.at(id).base() < range.end())
    }

    pub(super) fn last_piece(&self, space: Space, range: Span) -> Option<NodeId> {
        let last = range.end().checked_sub(1)?;
        self.floor(self.0.index(space), last).0.filter(|&id| self.at(id).end() > range.base && range.count != 0)
    }

    /// What `range` of `space` is called in the space of `receiver`: the nearest ancestor of the node at its first unit
    /// that the receiver has in `window`, cut to what corresponds to the range and lies in the window; or the node
    /// itself, if the receiver owns it and no ancestor will do. With the rights of the sender's node.
    /// `None` instead of an answer if that takes a look at what somebody has who is not in `reach`.
    #[must_use]
    pub fn translate(
        &self,
        (space, range): (Space, Span),
        (receiver, window): (u32, Span),
        reach: impl Fn(u32) -> bool,
    ) -> Option<Option<Piece>> {
        let Some(id) = self.next_piece(space, Span { count: range.count.min(1), ..range }) else { return Some(None) };
        let sent = self.at(id).piece().within(range);
        let named = |id: NodeId| {
            let piece = self.at(id).piece();
            let unit = piece.span.base + (sent.origin - piece.origin);
            let named = piece.within(Span { base: unit, count: sent.span.count }.and(window));
            (piece.space.owner == receiver && named.span.count != 0).then_some(Piece { rights: sent.rights, ..named })
        };
        let mut at = id;
        while let Some(parent) = self.at(at).parent() {
            if !reach(self.at(parent).space().owner) {
                return None;
            }
            if let Some(found) = named(parent) {
                return Some(Some(found));
            }
            at = parent;
        }
        Some(named(id))
    }
}
