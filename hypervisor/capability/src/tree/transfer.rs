//! Giving: new roots, delegate, copy, grant.
//!
//! Purpose: every piece that the source has in the range goes to the corresponding units of the destination; holes stay
//! holes.
//! Invariants: the receiver gets rights that the source has and the mask names, and only units that are free; a piece
//! whose destination is taken in part is left out as a whole, but for first units that are there already as they would be
//! entered: then the rest is a piece. Of a piece that is entered those units are left out where something is that is not the
//! tree's.
//! Concurrency: the tree's lock; between pieces an operation may be preempted.
//! Source: interface §3 (delegate semantics); lecture C:81-185, B:274-320; C:413-423.
use super::index::{Gap, SpaceIndex};
use super::node::{DEEP, NodeId, Run};
use super::steps::{Steps, Stop};
use super::{Attributes, Effects, Error, Full, Nodes, Outcome, Piece, Space, Span, Tree, UNITS};
use abi::Rights;
use core::iter::successors;

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

impl Transfer {
    /// Leaves the first `count` units out.
    pub const fn cut(&mut self, count: u64) {
        self.base += count;
        self.range = Span::between(self.range.base + count, self.range.end());
    }

    /// Whether source and destination share units without being the same.
    #[inline(always)]
    pub(super) fn overlaps_itself(&self) -> bool {
        let target = Span { base: self.base, ..self.range };
        self.from.owner == self.to && target != self.range && target.and(self.range).count != 0
    }
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
        let id = self.0.allocate(piece.space.owner).ok_or(Error::Full)?;
        self.at(id).fill(piece.space, &Run::new(piece, None), 0);
        self.at(id).first.set(None);
        self.link(id, None);
        self.enter_here::<false>(index, id, gap);
        Ok(())
    }

    /// Map: the receiver's mappings are children of the source's, which may take them back.
    ///
    /// # Errors
    /// [`Error`]; what was delegated before stays.
    #[inline(always)]
    pub fn delegate(&self, transfer: &mut Transfer, effects: &mut impl Effects) -> Result<Outcome, Error> {
        let mut steps = Steps { effects, changed: false };
        let mut next = self.start(transfer)?;
        while let Some(id) = next {
            let may_be_row = transfer.range.count > 1 && self.at(id).count.get() == 1;
            let rest = if may_be_row { self.delegate_rows(id, transfer, &mut steps) } else { Ok(Some(id)) };
            let one =
                |id: Option<NodeId>| id.map_or(Ok(None), |id| self.transfer_one(Form::Child, id, transfer, &mut steps));
            match rest.and_then(one) {
                Ok(then) => next = then,
                Err(stop) => return stop.into_result(),
            }
        }
        Ok(Outcome::Done)
    }

    /// The receiver's mappings are children of the source's parents: the source cannot take them back, who gave to the
    /// source can. A root has no parent and is left out.
    ///
    /// # Errors
    /// As [`Tree::delegate`].
    pub fn copy(&self, transfer: &mut Transfer, effects: &mut impl Effects) -> Result<Outcome, Error> {
        self.transfer(Form::Sibling, transfer, effects)
    }

    /// Move: the source's mappings become the receiver's. Who has them from the source keeps them, as far as the mask
    /// allows the rights.
    ///
    /// # Errors
    /// As [`Tree::delegate`]; descendants may have lost rights outside the mask already.
    pub fn grant(&self, transfer: &mut Transfer, effects: &mut impl Effects) -> Result<Outcome, Error> {
        self.transfer(Form::Same, transfer, effects)
    }

    /// The first node with units to transfer.
    #[inline(always)]
    fn start(&self, transfer: &Transfer) -> Result<Option<NodeId>, Error> {
        if transfer.overlaps_itself() {
            return Err(Error::Overlap);
        }
        Ok(self.next_piece(transfer.from, transfer.range))
    }

    fn transfer(&self, form: Form, transfer: &mut Transfer, effects: &mut impl Effects) -> Result<Outcome, Error> {
        let mut steps = Steps { effects, changed: false };
        let mut next = self.start(transfer)?;
        while let Some(id) = next {
            match self.transfer_one(form, id, transfer, &mut steps) {
                Ok(then) => next = then,
                Err(stop) => return stop.into_result(),
            }
        }
        Ok(Outcome::Done)
    }

    /// Enters what `run` has more than the node `id`, which has its first units and has free units behind it.
    #[inline(never)]
    fn grow(&self, id: NodeId, run: &Run, space: Space, steps: &mut Steps<'_, impl Effects>) -> Result<(), Stop> {
        let count = &self.at(id).count;
        while count.get() != run.count {
            steps.check()?;
            let mut piece = run.after(count.get()).piece(space);
            piece.span.count = steps.effects.portion(&piece, true);
            steps.effects.mapped(&piece)?;
            count.set(count.get() + piece.span.count);
        }
        Ok(())
    }

    /// Transfers what the node `id` has in the range, or the first of it; the next node with units there. What is done is cut
    /// off the transfer.
    #[inline(never)]
    fn transfer_one(
        &self,
        form: Form,
        id: NodeId,
        transfer: &mut Transfer,
        steps: &mut Steps<'_, impl Effects>,
    ) -> Result<Option<NodeId>, Stop> {
        let (space, node) = (Space { owner: transfer.to, ..transfer.from }, self.at(id));
        let targets = self.0.index(space);
        // What is made now is found by who takes from all that there is.
        let mut gone = Rights::NONE;
        if node.is_marked() && (form == Form::Same || !self.is_settled(id)) {
            match self.resume(id, steps)? {
                Some(rights) => gone = rights,
                None => return Ok(self.next_piece(transfer.from, transfer.range)),
            }
        }
        let base = node.base().max(transfer.range.base);
        let (ahead, count) = (base - transfer.range.base, node.end().min(transfer.range.end()) - base);
        let piece = Piece {
            space,
            span: Span { base: transfer.base + ahead, count },
            origin: node.origin() + (base - node.base()),
            rights: node.rights().and(transfer.rights),
            attributes: transfer.attributes.or(node.attributes().inherited()),
        };
        let parent = if form == Form::Child { Some(id) } else { node.parent() };
        let (count, gap) = match self.gap(targets, piece.span) {
            None if steps.effects.goes_round() => self.part(targets, piece.span),
            gap => (count, gap),
        };
        let piece = Piece { span: Span { count, ..piece.span }, ..piece };
        let limit = match (form, parent, gap) {
            // Its own stays, see `hand_over`.
            (Form::Same, ..) => Some(0),
            _ if node.attributes().has(Attributes::LAST) => None,
            (_, Some(parent), Some(gap)) => self.limit_below(parent, &piece, gap),
            _ => Some(transfer.attributes.limit()),
        };
        let piece = Piece { attributes: piece.attributes.limited(limit.unwrap_or(0)), ..piece };
        let mut outcome = Ok(());
        let done = match (form, parent, gap) {
            _ if piece.rights.is_none() || limit.is_none() => steps.pass(count)?,
            (Form::Same, _, Some(_)) => self.hand_over((id, gone), base, piece, steps)?,
            (Form::Child | Form::Sibling, Some(parent), Some(gap)) => {
                match self.attach(parent, piece, targets, gap, steps, &mut outcome) {
                    Err(Stop::Failed(Error::Occupied)) => match steps.effects.free(&piece) {
                        0 => steps.pass(1)?,
                        free => {
                            let part = Piece { span: Span { count: free, ..piece.span }, ..piece };
                            self.attach(parent, part, targets, gap, steps, &mut outcome)?
                        }
                    },
                    done => done?,
                }
            }
            (Form::Child | Form::Sibling, Some(parent), None) if !steps.effects.goes_round() => {
                steps.pass(self.present(parent, &piece, targets, steps.effects))?
            }
            _ => steps.pass(count)?,
        };
        transfer.cut(ahead + done);
        match outcome {
            // It is found again as the first of what is left.
            Err(Stop::Failed(Error::Occupied)) => {}
            outcome => outcome?,
        }
        Ok(self.next_piece(transfer.from, transfer.range))
    }

    /// The limit of a new child of `parent`: what `piece` asks for, or what is left; `None` if nothing is.
    fn limit_below(&self, parent: NodeId, piece: &Piece, gap: Gap) -> Option<u16> {
        let limit = self.at(parent).attributes().limit();
        if limit == 0 {
            return Some(piece.attributes.limit());
        }
        // One that grows has its own already.
        if let Some(low) = gap.0.map(|id| self.at(id)) {
            let same = piece.attributes.limited(low.attributes().limit());
            if low.run().continues_in(&Run::new(&Piece { attributes: same, ..*piece }, Some(parent))) {
                return Some(same.limit());
            }
        }
        // Each child takes at least one of the few there are.
        // What says that something is to be taken from one is none.
        let children = successors(self.first_child(parent), |&child| self.sibling(child));
        let mut children = children.filter(|&child| self.at(child).order().is_none());
        let limit_of = |child| self.at(child).attributes().limit().max(1);
        let left = children.try_fold(limit - 1, |left, child| left.checked_sub(limit_of(child)))?;
        (left != 0).then(|| piece.attributes.limit().clamp(1, left))
    }

    /// The neighbours of `span` in a space, if all its units are free.
    #[inline(always)]
    pub(super) fn gap(&self, index: &SpaceIndex, span: Span) -> Option<Gap> {
        let (below, above) = self.floor(index, span.base);
        let free = span.end() <= UNITS
            && below.is_none_or(|below| self.at(below).end() <= span.base)
            && above.is_none_or(|above| self.at(above).base() >= span.end());
        free.then_some((below, above))
    }

    /// How many of the first units of `span` are free, and their neighbours; or taken by one node.
    #[cold]
    fn part(&self, index: &SpaceIndex, span: Span) -> (u64, Option<Gap>) {
        let (below, above) = self.floor(index, span.base);
        let end = below.map(|below| self.at(below).end()).filter(|&end| end > span.base);
        let first = above.map_or(span.end(), |above| self.at(above).base());
        let count = (end.unwrap_or(first) - span.base).min(span.count);
        (count, if end.is_none() { self.gap(index, Span { count, ..span }) } else { None })
    }

    /// How many of the first units of a piece that does not fit are left out: those that are there already as children of
    /// `parent`, from a call that did not get to its end; one that something else has, which that call left out; or all.
    #[cold]
    fn present(&self, parent: NodeId, piece: &Piece, index: &SpaceIndex, effects: &impl Effects) -> u64 {
        let below = self.floor(index, piece.span.base).0.map(|id| self.at(id));
        let covering = below.filter(|node| node.end() > piece.span.base);
        let first = Piece { span: Span { count: 1, ..piece.span }, ..*piece };
        if covering.is_none() && effects.free(&first) == 0 {
            return 1;
        }
        let same = covering
            .filter(|node| node.run().after(piece.span.base - node.base()).starts_as(&Run::new(piece, Some(parent))));
        same.map_or(piece.span.count, |node| piece.span.count.min(node.end() - piece.span.base))
    }

    /// Enters the first units of `piece` into a gap as a child of `parent`, and says how many. Where they continue a child
    /// of the same parent, that one grows. The outcome says what stopped it before the end.
    fn attach(
        &self,
        parent: NodeId,
        mut piece: Piece,
        index: &SpaceIndex,
        gap: Gap,
        steps: &mut Steps<'_, impl Effects>,
        outcome: &mut Result<(), Stop>,
    ) -> Result<u64, Stop> {
        steps.check()?;
        if self.at(parent).depth() + 1 >= DEEP {
            // Its ancestors are counted.
            steps.reach_all()?;
        }
        let depth = self.depth_below(parent).ok_or(Error::TooDeep)?;
        let whole = Run::new(&piece, Some(parent));
        let count = steps.effects.portion(&piece, true);
        let joins_above = gap.1.filter(|_| count == whole.count);
        piece.span.count = count;
        let run = whole.with_count(count);
        let low = gap.0.filter(|&id| self.at(id).run().continues_in(&run));
        let high = joins_above.filter(|&id| run.continues_in(&self.at(id).run()));
        if low.or(high).is_some() && self.is_settled(parent) {
            return self.extend(low, high, &piece, &run, steps);
        }
        let id = self.0.allocate(piece.space.owner).ok_or(Full)?;
        if let Err(error) = steps.effects.mapped(&piece) {
            self.0.release(piece.space.owner, id);
            return Err(error.into());
        }
        self.at(id).fill(piece.space, &run, depth);
        self.at(id).first.set(None);
        self.adopt(parent, id);
        self.enter(index, id, gap);
        steps.changed = true;
        let stays_apart = gap.1.is_none_or(|high| !whole.continues_in(&self.at(high).run()));
        if count != whole.count && stays_apart && self.is_settled(parent) {
            *outcome = self.grow(id, &whole, piece.space, steps);
        }
        Ok(self.at(id).count.get())
    }

    /// Lets `low`, or else `high`, grow by `piece`, whose run is `run`; how many units.
    fn extend(
        &self,
        low: Option<NodeId>,
        high: Option<NodeId>,
        piece: &Piece,
        run: &Run,
        steps: &mut Steps<'_, impl Effects>,
    ) -> Result<u64, Stop> {
        steps.effects.mapped(piece)?;
        if let Some(id) = low.or(high) {
            let old = self.at(id).run();
            let start = if low.is_some() { old } else { *run };
            self.resize(id, &start.with_count(old.count + run.count));
            self.coalesce(id, &mut None);
        }
        steps.changed = true;
        Ok(piece.span.count)
    }

    /// Moves the first of the units from `base` on of the node `id` to where `piece` says, and says how many; the rights in
    /// `gone` have gone from what descends from it.
    fn hand_over(
        &self,
        (id, gone): (NodeId, Rights),
        base: u64,
        mut piece: Piece,
        steps: &mut Steps<'_, impl Effects>,
    ) -> Result<u64, Stop> {
        if gone.is_none() {
            steps.check()?;
        }
        piece.span.count = steps.effects.portion(&piece, true);
        let count = steps.effects.free(&piece);
        if count == 0 {
            return steps.pass(1);
        }
        piece.span.count = count;
        let part = self.at(id).piece().within(Span { base, count });
        let id = self.isolate(id, &part, steps)?;
        // A part has a part of the limit.
        piece.attributes = piece.attributes.limited(self.at(id).attributes().limit());
        let lost = part.rights.without(piece.rights);
        if !gone.contains(lost) {
            self.sweep(id, part.origins(), lost, steps)?;
        }
        let mut moved = steps.effects.mapped(&piece);
        if moved.is_ok() && part.space != piece.space {
            moved = self.0.recharge(part.space.owner, piece.space.owner).map_err(Error::from);
            if moved.is_err() {
                steps.effects.revoked(&piece, Rights::NONE, false);
            }
        }
        if moved.is_ok() {
            steps.effects.revoked(&part, Rights::NONE, false);
            let index = self.0.index(piece.space);
            self.leave(self.0.index(part.space), id);
            self.at(id).fill(piece.space, &Run::new(&piece, self.at(id).parent()), self.at(id).depth());
            self.enter(index, id, self.floor(index, piece.span.base));
            steps.changed = true;
        }
        self.coalesce(id, &mut None);
        moved?;
        Ok(count)
    }
}
