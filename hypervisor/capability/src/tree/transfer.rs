//! Giving: new roots, delegate, copy, grant.
//!
//! Purpose: every piece that the source has in the range goes to the corresponding units of the destination; holes stay
//! holes.
//! Invariants: the receiver gets rights that the source has and the mask names, and only units that are free; a piece
//! whose destination is taken in part is left out as a whole.
//! Concurrency: the tree's lock; between pieces an operation may be preempted.
//! Source: interface §3 (delegate semantics); lecture C:81-185, B:274-320; C:413-423.
use super::index::LOW;
use super::node::NodeId;
use super::revoke::Steps;
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
        if self.next_piece(piece.space, piece.span).is_some() {
            return Err(Error::Occupied);
        }
        let id = self.create(piece, None, 0)?;
        self.enter(id, self.last_before(piece.space, piece.span.base));
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
    /// As [`Tree::delegate`]; rights outside the mask may be lost already.
    pub fn grant(&self, transfer: &Transfer, effects: &mut impl Effects) -> Result<Outcome, Error> {
        self.transfer(Form::Same, transfer, effects)
    }

    fn transfer(&self, form: Form, transfer: &Transfer, effects: &mut impl Effects) -> Result<Outcome, Error> {
        let target = Span { base: transfer.base, count: transfer.range.count };
        if transfer.from.owner == transfer.to && target != transfer.range && target.and(transfer.range).count != 0 {
            return Err(Error::Overlap);
        }
        let mut steps = Steps::new(effects);
        let mut rest = transfer.range;
        while let Some(source) = self.next_piece(transfer.from, rest) {
            if steps.must_stop() {
                return Ok(Outcome::Preempted);
            }
            let part = self.at(source).piece().within(rest);
            if self.transfer_piece(form, transfer, source, &part, &mut steps)? == Outcome::Preempted {
                return Ok(Outcome::Preempted);
            }
            rest = Span::between(part.span.end(), rest.end());
        }
        Ok(Outcome::Done)
    }

    /// Transfers `part`, which is some or all of `source`.
    fn transfer_piece<E: Effects>(
        &self,
        form: Form,
        transfer: &Transfer,
        source: NodeId,
        part: &Piece,
        steps: &mut Steps<'_, E>,
    ) -> Result<Outcome, Error> {
        let piece = Piece {
            space: Space { owner: transfer.to, ..transfer.from },
            span: Span { base: transfer.base + (part.span.base - transfer.range.base), ..part.span },
            origin: part.origin,
            rights: part.rights.and(transfer.rights),
            attributes: transfer.attributes.or(part.attributes.inherited()),
        };
        let above = self.first_after(piece.space, piece.span.base);
        let occupied = above.is_some_and(|id| self.at(id).base.get() < piece.span.end());
        let kept_back = part.attributes.has(Attributes::LAST) && form != Form::Same;
        if piece.rights.is_none() || occupied || kept_back {
            return Ok(Outcome::Done);
        }
        match (form, self.at(source).parent.get()) {
            (Form::Child, _) => self.attach(source, &piece, above, steps),
            (Form::Sibling, Some(parent)) => self.attach(parent, &piece, above, steps),
            (Form::Sibling, None) => Ok(Outcome::Done),
            (Form::Same, _) => self.hand_over(source, part, &piece, steps),
        }
    }

    /// Enters `piece` as a child of `parent`; its units are free and `above` is the node after them. Where it continues
    /// a child of the same parent, that one grows.
    fn attach<E: Effects>(
        &self,
        parent: NodeId,
        piece: &Piece,
        above: Option<NodeId>,
        steps: &mut Steps<'_, E>,
    ) -> Result<Outcome, Error> {
        let depth = self.depth(parent).checked_add(1).ok_or(Error::TooDeep)?;
        let before = match above {
            Some(above) => self.neighbour(above, LOW),
            None => self.last_before(piece.space, piece.span.base),
        };
        let sibling = |id: &NodeId| self.at(*id).parent.get() == Some(parent);
        let low = before.filter(sibling).filter(|&id| self.at(id).piece().continues_in(piece));
        let high = above.filter(sibling).filter(|&id| piece.continues_in(&self.at(id).piece()));
        if let Some(id) = low.or(high) {
            steps.effects.mapped(piece)?;
            let node = self.at(id);
            node.count.set(node.count.get() + piece.span.count);
            if low.is_none() {
                node.base.set(piece.span.base);
                node.origin.set(piece.origin);
            } else if high.is_some() {
                self.coalesce(id, &mut None);
            }
        } else {
            let id = self.create(piece, Some(parent), depth)?;
            if let Err(full) = steps.effects.mapped(piece) {
                self.0.release(piece.space.owner, id);
                return Err(full.into());
            }
            self.link(Some(id), self.next(parent));
            self.link(Some(parent), Some(id));
            self.enter(id, before);
        }
        steps.changed = true;
        Ok(Outcome::Done)
    }

    /// Moves `part` of `source` to where `piece` says.
    fn hand_over<E: Effects>(
        &self,
        source: NodeId,
        part: &Piece,
        piece: &Piece,
        steps: &mut Steps<'_, E>,
    ) -> Result<Outcome, Error> {
        let Ok(id) = self.isolate(source, part.span) else {
            self.coalesce(source, &mut None);
            return Err(Error::Full);
        };
        let lost = part.rights.without(piece.rights);
        if !lost.is_none() {
            if self.sweep(id, part.origins(), lost, steps) == Outcome::Preempted {
                return Ok(Outcome::Preempted);
            }
            self.strip(id, lost, steps);
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
            self.enter(id, self.last_before(piece.space, piece.span.base));
            steps.changed = true;
        }
        self.coalesce(id, &mut None);
        moved.map(|()| Outcome::Done).map_err(Error::from)
    }
}
