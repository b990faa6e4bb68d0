//! Giving: new roots, delegate, copy, grant.
//!
//! Purpose: every piece that the source has in the range goes to the corresponding units of the destination; holes stay
//! holes.
//! Invariants: the receiver gets rights that the source has and the mask names, and only units that are free; a piece
//! whose destination is taken in part is left out as a whole.
//! Concurrency: the tree's lock; between pieces an operation may be preempted.
//! Source: interface §3 (delegate semantics); lecture C:81-185, B:274-320; C:413-423.
use super::index::{Gap, SpaceIndex};
use super::node::{NodeId, Run};
use super::steps::{Steps, Stop};
use super::{Attributes, Effects, Error, Full, MAX_DEPTH, Nodes, Outcome, Piece, Space, Span, Tree, UNITS};
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
    #[inline(always)]
    pub fn insert_root(&self, piece: &Piece) -> Result<(), Error> {
        let index = self.0.index(piece.space);
        let gap = self.gap(index, piece.span).ok_or(Error::Occupied)?;
        let id = self.create(piece, &Run::new(piece, None)).ok_or(Error::Full)?;
        self.link(id, None);
        self.enter_here(index, id, gap);
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
            let index = self.0.index(piece.space);
            let Some(gap) = self.gap(index, piece.span).filter(|_| !piece.rights.is_none() && !kept_back) else {
                return Ok(());
            };
            match (form, self.at(source).parent()) {
                (Form::Child, _) => self.attach(source, &piece, index, gap, steps),
                (Form::Sibling, Some(parent)) => self.attach(parent, &piece, index, gap, steps),
                (Form::Sibling, None) => Ok(()),
                (Form::Same, _) => self.hand_over(source, part, &piece, steps),
            }
        })
    }

    /// The neighbours of `span` in a space, if all its units are free.
    #[inline(always)]
    fn gap(&self, index: &SpaceIndex, span: Span) -> Option<Gap> {
        let (below, above) = self.floor(index, span.base);
        let free = span.end() <= UNITS
            && below.is_none_or(|below| self.at(below).end() <= span.base)
            && above.is_none_or(|above| self.at(above).base() >= span.end());
        free.then_some((below, above))
    }

    /// Enters `piece` into a gap as a child of `parent`. Where it continues a child of the same parent, that one grows.
    fn attach(
        &self,
        parent: NodeId,
        piece: &Piece,
        index: &SpaceIndex,
        gap: Gap,
        steps: &mut Steps<'_, impl Effects>,
    ) -> Result<(), Stop> {
        if self.depth(parent) >= MAX_DEPTH {
            return Err(Stop::Failed(Error::TooDeep));
        }
        let run = Run::new(piece, Some(parent));
        let low = gap.0.filter(|&id| self.at(id).run().continues_in(&run));
        let high = gap.1.filter(|&id| run.continues_in(&self.at(id).run()));
        if let Some(id) = low.or(high).filter(|_| self.is_settled(parent)) {
            steps.effects.mapped(piece)?;
            let old = self.at(id).run();
            let start = if low.is_some() { old } else { run };
            self.resize(id, &start.with_count(old.count + run.count));
            self.coalesce(id, &mut None);
        } else {
            let id = self.create(piece, &run).ok_or(Full)?;
            if let Err(full) = steps.effects.mapped(piece) {
                self.0.release(piece.space.owner, id);
                return Err(full.into());
            }
            self.adopt(parent, id);
            self.enter(index, id, gap);
        }
        steps.changed = true;
        Ok(())
    }

    /// Moves `part`, some or all of the node `id`, to where `piece` says.
    fn hand_over(
        &self,
        id: NodeId,
        part: &Piece,
        piece: &Piece,
        steps: &mut Steps<'_, impl Effects>,
    ) -> Result<(), Stop> {
        let id = self.isolate(id, part, steps)?;
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
            steps.effects.revoked(part, Rights::NONE, false);
            let index = self.0.index(piece.space);
            self.leave(self.0.index(part.space), id);
            self.at(id).fill(piece.space, &Run::new(piece, self.at(id).parent()));
            self.enter(index, id, self.floor(index, piece.span.base));
            steps.changed = true;
        }
        self.coalesce(id, &mut None);
        Ok(moved?)
    }
}
