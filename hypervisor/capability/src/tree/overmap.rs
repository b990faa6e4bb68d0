//! Giving where something is.
//!
//! Purpose: what is in the way of a delegation: a mapping that the same delegation would make again gets the rights it
//! lacks, another one goes if that is asked for.
//! Invariants: nothing goes that nothing replaces; children have no rights that their parents lack.
//! Concurrency: the tree's lock. Preemptible after each change; a repetition finds nothing left to do there.
//! Source: lecture C:413-417 (rights upgrade in place), B:305-320; `docs/src/decisions/0028-overmapping.md`.
use super::steps::{Steps, Stop};
use super::{Attributes, Effects, Error, NodeId, Nodes, Outcome, Piece, Space, Span, Transfer, Tree};
use abi::Rights;

impl<N: Nodes> Tree<'_, N> {
    /// Prepares the destination of a delegation: its own earlier mappings get the rights that it gives, and with `replace`
    /// mappings of anything else, with all that descends from them, make room for what it has there. What is done is cut off.
    ///
    /// # Errors
    /// [`Error::Full`] if the receiver cannot pay for dividing a node; what was done before stays. [`Error::Overlap`] as
    /// [`Tree::delegate`], with nothing done.
    pub fn overmap(
        &self,
        transfer: &mut Transfer,
        replace: bool,
        effects: &mut impl Effects,
    ) -> Result<Outcome, Error> {
        if transfer.overlaps_itself() {
            return Err(Error::Overlap);
        }
        // A mapping is not in its own way.
        if transfer.from.owner == transfer.to && transfer.base == transfer.range.base {
            return Ok(Outcome::Done);
        }
        let mut steps = Steps { effects, changed: false };
        match self.overmap_all(transfer, replace, &mut steps) {
            Ok(()) => Ok(Outcome::Done),
            Err(stop) => stop.into_result(),
        }
    }

    fn overmap_all(
        &self,
        transfer: &mut Transfer,
        replace: bool,
        steps: &mut Steps<'_, impl Effects>,
    ) -> Result<(), Stop> {
        let space = Space { owner: transfer.to, ..transfer.from };
        while let Some(source) = self.next_piece(transfer.from, transfer.range) {
            steps.check()?;
            if self.at(source).is_marked() {
                self.finish(source, steps)?;
                continue;
            }
            let part = self.at(source).piece().within(transfer.range);
            let before = part.span.base - transfer.range.base;
            let base = transfer.base + before;
            let rights = part.rights.and(transfer.rights);
            let gives = !rights.is_none() && !part.attributes.has(Attributes::LAST);
            let found = self.next_piece(space, Span { base, ..part.span }).filter(|_| gives);
            let Some(old) = found else {
                transfer.cut(before + part.span.count);
                steps.changed = true;
                continue;
            };
            if self.at(old).is_marked() {
                self.finish(old, steps)?;
                continue;
            }
            let there = self.at(old).piece().within(Span { base, ..part.span });
            let ahead = there.span.base - base;
            let combining = part.attributes.or(transfer.attributes).has(Attributes::WRITE_COMBINING);
            let same = self.at(old).parent() == Some(source) && there.origin == part.origin + ahead;
            if same && there.attributes.has(Attributes::WRITE_COMBINING) == combining {
                self.lift(old, &there, rights, steps)?;
            } else if replace {
                let top = self.isolate(old, &there, steps)?;
                self.sweep(top, there.origins(), Rights::ALL, steps)?;
                self.settle(top, Rights::ALL, steps);
            }
            transfer.cut(before + ahead + there.span.count);
            steps.changed = true;
        }
        Ok(())
    }

    /// Adds `rights` to the part `there` of a node.
    fn lift(&self, id: NodeId, there: &Piece, rights: Rights, steps: &mut Steps<'_, impl Effects>) -> Result<(), Stop> {
        let raised = Rights::new(there.rights.bits() | rights.bits());
        if raised == there.rights {
            return Ok(());
        }
        let id = self.isolate(id, there, steps)?;
        steps.effects.raised(&Piece { rights: raised, ..*there });
        self.at(id).set_rights(raised);
        self.coalesce(id, &mut None);
        steps.changed = true;
        Ok(())
    }
}
