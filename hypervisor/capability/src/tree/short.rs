//! Short ways: a delegation from one node, and a revocation from one child of one node, without children of its own.
//!
//! Purpose: what most delegations and revocations are, in one step.
//! Invariants: what is not so simple is left to the general operations, with nothing done: they do the same.
//! Concurrency: the tree's lock; nothing to preempt.
//! Source: `docs/src/decisions/0020-short-ways.md`.
use super::index::Gap;
use super::node::{DEEP, NodeId, Run};
use super::{Full, Nodes, Piece, Space, Span, Transfer, Tree};
use abi::Rights;

/// Children of a node among which the one in question is looked for.
const FEW: usize = 16;

/// A delegation that is to be entered.
#[derive(Debug)]
pub struct Delegation {
    parent: NodeId,
    gap: Gap,
    run: Run,
    depth: u32,
}

/// A child that is to be removed.
#[derive(Debug)]
pub struct Only(NodeId);

impl<N: Nodes> Tree<'_, N> {
    /// What [`Tree::delegate`] would do, if all of the range lies in one node, the new one joins no other, and nothing is in
    /// its way: what is to be mapped, and what [`Self::enter_delegation`] takes afterwards, with nothing between.
    #[inline(always)]
    pub fn plan_delegation(&self, transfer: &Transfer) -> Option<(Delegation, Piece)> {
        let (range, to) = (transfer.range, Space { owner: transfer.to, ..transfer.from });
        let parent = self.floor(self.0.index(transfer.from), range.base).0?;
        let (node, depth) = (self.at(parent), self.at(parent).depth() + 1);
        if node.end() < range.end() || !node.is_giving(transfer.rights) || depth >= DEEP {
            return None;
        }
        let gap = self.gap(self.0.index(to), Span { base: transfer.base, ..range })?;
        let units = (range.base - node.base(), range.count);
        let run = Run::child((parent, node), units, transfer.base, transfer.rights, transfer.attributes);
        // Who has a child already may have one that grows.
        if node.first.get().is_some()
            && (gap.0.is_some_and(|low| self.at(low).run().continues_in(&run))
                || gap.1.is_some_and(|high| run.continues_in(&self.at(high).run())))
        {
            return None;
        }
        Some((Delegation { parent, gap, run, depth }, run.piece(to)))
    }

    /// Enters what [`Self::plan_delegation`] found.
    ///
    /// # Errors
    /// [`Full`]
    #[inline(always)]
    pub fn enter_delegation(
        &self,
        Delegation { parent, gap, run, depth }: Delegation,
        space: Space,
    ) -> Result<(), Full> {
        let new = self.0.allocate(space.owner).ok_or(Full)?;
        self.at(new).fill(space, &run, depth);
        self.at(new).first.set(None);
        self.adopt(parent, new);
        self.enter_here::<true>(self.0.index(space), new, gap);
        Ok(())
    }

    /// What [`Tree::revoke`] would do, if one child of one node has units there, none else, and it has no children and loses
    /// all its rights: what is to be unmapped, and what [`Self::remove_only`] takes afterwards, with nothing between.
    /// If another domain has it, `admit` has to take the lock of what that has, or refuse.
    #[inline(always)]
    pub fn plan_revocation(
        &self,
        space: Space,
        range: Span,
        rights: Rights,
        admit: impl FnOnce(u32) -> bool,
    ) -> Option<(Only, Piece)> {
        let id = self.floor(self.0.index(space), range.base).0?;
        let node = self.at(id);
        if node.end() < range.end() || node.is_marked() {
            return None;
        }
        let area = Span { base: node.origin() + (range.base - node.base()), ..range };
        let child = self.only_child(node.first.get()?, area)?;
        let it = self.at(child);
        let owner = it.space().owner;
        if owner != space.owner && !admit(owner) {
            return None;
        }
        if it.first.get().is_some() || it.is_marked() || !rights.contains(it.rights()) {
            return None;
        }
        // Who has no children any more may join others.
        let joins = it.next.get() == Some(child)
            && (node.before.get().is_some_and(|low| self.at(low).continues_in(node))
                || node.after.get().is_some_and(|high| node.continues_in(self.at(high))));
        (!joins).then(|| (Only(child), it.piece()))
    }

    /// Removes what [`Self::plan_revocation`] found in `space`.
    #[inline(always)]
    pub fn remove_only(&self, Only(id): Only, space: Space) {
        let node = self.at(id);
        match node.parent().filter(|_| node.next.get() == Some(id)) {
            Some(parent) => self.at(parent).first.set(None),
            None => self.unlink(id),
        }
        self.leave(self.0.index(space), id);
        self.0.release(space.owner, id);
    }

    /// The only one among a few children, of whom `first` is the first, that has origins in `area`, if it has no others.
    #[inline(always)]
    fn only_child(&self, first: NodeId, area: Span) -> Option<NodeId> {
        let (mut at, mut found) = (first, None);
        for _ in 0..FEW {
            let node = self.at(at);
            let Span { base, count } = node.origins();
            let end = base + count;
            if base < area.end() && area.base < end {
                if found.is_some() || base < area.base || area.end() < end {
                    return None;
                }
                found = Some(at);
            }
            at = node.next.get()?;
            if at == first {
                return found;
            }
        }
        None
    }
}
