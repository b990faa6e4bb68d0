//! Giving: new roots, delegate, copy, grant.
//!
//! Purpose: every piece that the source has in the range goes to the corresponding units of the destination; holes stay
//! holes.
//! Invariants: the receiver gets rights that the source has and the mask names, and only units that are free; a piece
//! whose destination is taken in part is left out as a whole.
//! Concurrency: the tree's lock; between pieces an operation may be preempted.
//! Source: interface §3 (delegate semantics); lecture C:81-185, B:274-320; C:413-423.
use super::node::NodeId;
use super::steps::{Steps, Stop};
use super::{Attributes, Effects, Error, Nodes, Outcome, Piece, Space, Span, Tree};
use abi::Rights;

/// What goes where.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    /// The giving space.
    pub from: Space,
    /// Its units.
    pub range: Span,
    /// Owner of the receiving space, of the same kind.
    pub to: u32,
    /// Unit of the receiving space that corresponds to the first of the range.
    pub base: u64,
    /// Rights to hand on, as far as the source has them.
    pub rights: Rights,
    /// Attributes of the new mappings, besides those they inherit.
    pub attributes: Attributes,
}

/// The nodes below and above free units of a space.
type Gap = (Option<NodeId>, Option<NodeId>);

/// How the receiver's mapping relates to the source's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Child,
    Sibling,
    Same,
}

impl<N: Nodes> Tree<'_, N> {
    /// Enters a piece that comes from nowhere: a resource of the machine, or a new object.
    ///
    /// # Errors
    /// [`Error::Occupied`] if any of its units is taken, [`Error::Full`].
    pub fn insert_root(&self, piece: &Piece) -> Result<(), Error> {
        let (below, _) = self.gap(piece).ok_or(Error::Occupied)?;
        let id = self.create(piece, None, 0)?;
        self.enter(id, below);
        Ok(())
    }

    /// Map: the receiver's mappings are children of the source's, which may take them back.
    ///
    /// # Errors
    /// [`Error`]; what was delegated before stays.
    pub fn delegate(&self, transfer: &Transfer, effects: &mut impl Effects) -> Result<Outcome, Error> {
        self.transfer(Form::Child, transfer, effects)
    }

    /// The receiver's mappings are children of the source's parents: the source cannot take them back, who gave to the
    /// source can. A root has no parent and is left out.
    ///
    /// # Errors
    /// As [`Tree::delegate`].
    pub fn copy(&self, transfer: &Transfer, effects: &mut impl Effects) -> Result<Outcome, Error> {
        self.transfer(Form::Sibling, transfer, effects)
    }

    /// Move: the source's mappings become the receiver's. Who has them from the source keeps them, as far as the mask
    /// allows the rights.
    ///
    /// # Errors
    /// As [`Tree::delegate`]; descendants may have lost rights outside the mask already.
    pub fn grant(&self, transfer: &Transfer, effects: &mut impl Effects) -> Result<Outcome, Error> {
        self.transfer(Form::Same, transfer, effects)
    }

    fn transfer(&self, form: Form, transfer: &Transfer, effects: &mut impl Effects) -> Result<Outcome, Error> {
        let target = Span { base: transfer.base, count: transfer.range.count };
        if transfer.from.owner == transfer.to && target != transfer.range && target.and(transfer.range).count != 0 {
            return Err(Error::Overlap);
        }
        self.for_each_part(transfer.from, transfer.range, effects, |source, part, steps| {
            let piece = Piece {
                space: Space { owner: transfer.to, ..transfer.from },
                span: Span { base: transfer.base + (part.span.base - transfer.range.base), ..part.span },
                origin: part.origin,
                rights: part.rights.and(transfer.rights),
                attributes: transfer.attributes.or(part.attributes.inherited()),
            };
            let kept_back = part.attributes.has(Attributes::LAST) && form != Form::Same;
            let Some(gap) = self.gap(&piece).filter(|_| !piece.rights.is_none() && !kept_back) else { return Ok(()) };
            match (form, self.at(source).parent.get()) {
                (Form::Child, _) => self.attach(source, &piece, gap, steps),
                (Form::Sibling, Some(parent)) => self.attach(parent, &piece, gap, steps),
                (Form::Sibling, None) => Ok(()),
                (Form::Same, _) => self.hand_over(part, &piece, steps),
            }
        })
    }

    /// The neighbours of `piece` in its space, if all its units are free.
    fn gap(&self, piece: &Piece) -> Option<Gap> {
        let gap = self.around(piece.space, piece.span.base);
        gap.1.is_none_or(|above| self.at(above).base.get() >= piece.span.end()).then_some(gap)
    }

    /// Enters `piece` into a gap as a child of `parent`. Where it continues a child of the same parent, that one grows.
    fn attach(
        &self,
        parent: NodeId,
        piece: &Piece,
        (below, above): Gap,
        steps: &mut Steps<'_, impl Effects>,
    ) -> Result<(), Stop> {
        let depth = self.depth(parent).checked_add(1).ok_or(Error::TooDeep)?;
        let sibling = |id: &NodeId| self.at(*id).parent.get() == Some(parent);
        let low = below.filter(sibling).filter(|&id| self.at(id).piece().continues_in(piece));
        let high = above.filter(sibling).filter(|&id| piece.continues_in(&self.at(id).piece()));
        if let Some(id) = low.or(high) {
            steps.effects.mapped(piece)?;
            let node = self.at(id);
            node.count.set(node.count.get() + piece.span.count);
            if low.is_none() {
                node.base.set(piece.span.base);
                node.origin.set(piece.origin);
            }
            self.coalesce(id, &mut None);
        } else {
            let id = self.create(piece, Some(parent), depth)?;
            if let Err(full) = steps.effects.mapped(piece) {
                self.0.release(piece.space.owner, id);
                return Err(full.into());
            }
            self.link(Some(id), self.next(parent));
            self.link(Some(parent), Some(id));
            self.enter(id, below);
        }
        steps.changed = true;
        Ok(())
    }

    /// Moves `part`, some or all of a node, to where `piece` says.
    fn hand_over(&self, part: &Piece, piece: &Piece, steps: &mut Steps<'_, impl Effects>) -> Result<(), Stop> {
        let id = self.isolate(part, steps)?;
        let lost = part.rights.without(piece.rights);
        if !lost.is_none() {
            self.sweep(id, part.origins(), lost, steps)?;
        }
        let mut moved = steps.effects.mapped(piece);
        if moved.is_ok() && part.space != piece.space {
            moved = self.0.recharge(part.space.owner, piece.space.owner);
            if moved.is_err() {
                steps.effects.revoked(piece, Rights::NONE, false);
            }
        }
        if moved.is_ok() {
            steps.effects.revoked(&self.at(id).piece(), Rights::NONE, false);
            self.leave(id);
            self.at(id).fill(piece);
            self.enter(id, self.around(piece.space, piece.span.base).0);
            steps.changed = true;
        }
        self.coalesce(id, &mut None);
        Ok(moved?)
    }
}
