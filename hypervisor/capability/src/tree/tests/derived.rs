//! Who has a unit from whom, for the rules to look at (lecture C:25-28, C:245: iterator over derived mappings).
use crate::tree::{Nodes, Piece, Space, Span, Tree};

impl<N: Nodes> Tree<'_, N> {
    /// Calls `each` with the mapping at `unit`, cut to that unit, and with all that descend from it, parents before
    /// children, with their depths.
    pub fn derived(&self, space: Space, unit: u64, mut each: impl FnMut(u16, &Piece)) {
        let unit = Span { base: unit, count: 1 };
        let Some(top) = self.next_piece(space, unit) else { return };
        let origin = self.at(top).piece().within(unit).origin;
        let (mut depth, mut at) = (self.depth(top), top);
        loop {
            let node = self.at(at);
            let has = node.origins().and(Span { base: origin, count: 1 }).count != 0;
            if has {
                let piece = node.piece();
                let unit = piece.span.base + (origin - piece.origin);
                each(depth, &piece.within(Span { base: unit, count: 1 }));
            }
            let mut next = self.first_child(at).filter(|_| has);
            depth += u16::from(next.is_some());
            while next.is_none() {
                if at == top {
                    return;
                }
                next = self.sibling(at);
                if let (None, Some(parent)) = (next, self.at(at).parent()) {
                    (at, depth) = (parent, depth - 1);
                }
            }
            at = next.unwrap_or(top);
        }
    }
}
