//! Rows: nodes of one unit, next to each other, that have one child each, or get one, which are next to each other too.
//!
//! Purpose: pages that lie scattered in memory have a node each. To delegate or revoke many of them costs what the nodes
//! cost: what they have in common is looked up once, and nodes are taken and given back together.
//! Invariants: what does not fit is left to the general operations, which would do the same to what does. The children of a
//! row are of one group of the index, so that at most one of them is or was its first.
//! Concurrency: the tree's lock; a row is one step. Within one the tree is not consistent.
//! Source: `docs/src/decisions/0034-rows.md`.
use super::index::{Gap, ROW, SpaceIndex, same_group};
use super::node::{DEEP, Node, NodeId, Run, Single};
use super::steps::{Steps, Stop};
use super::{Effects, Nodes, Row, Space, Span, Transfer, Tree, UNITS};
use abi::{Kind, Rights};
use core::hint::cold_path;

impl<N: Nodes> Tree<'_, N> {
    /// Delegates what nodes from `id` on have in the range, as long as they are rows without children and nothing is in the
    /// way; the node at which it is otherwise. What is done is cut off the transfer.
    #[inline(never)]
    pub(super) fn delegate_rows(
        &self,
        mut id: NodeId,
        transfer: &mut Transfer,
        steps: &mut Steps<'_, impl Effects>,
    ) -> Result<Option<NodeId>, Stop> {
        let space = Space { owner: transfer.to, ..transfer.from };
        let (index, shift, end) =
            (self.0.index(space), transfer.base.wrapping_sub(transfer.range.base), transfer.range.end());
        let (mut low, high) = self.floor(index, self.at(id).base().wrapping_add(shift));
        let limit = high.map_or(UNITS, |high| self.at(high).base());
        // A node of the group of `low`: its first, as soon as that is known.
        let (mut head, mut rest) = (low, transfer.range.base);
        let outcome = 'rows: loop {
            let node = self.at(id);
            let (unit, depth) = (node.base().wrapping_add(shift), node.depth() + 1);
            let run = Run::child((id, node), (0, 1), unit, transfer.rights, transfer.attributes);
            let (mut parents, mut children) = (node.single(), Single::new(&run, space, depth));
            let is_free = unit < limit && low.is_none_or(|low| self.at(low).end() <= unit);
            let goes_on = node.after.get().is_some_and(|next| self.at(next).is_like(parents.up(1)));
            if !is_free || !goes_on || !node.is_giving(transfer.rights) || depth >= DEEP {
                break Ok(Some(id));
            }
            let (mut piece, mut is_new) = (run.piece(space), true);
            // Rows that differ in nothing but units.
            loop {
                let (start, unit) = (parents.unit(), children.unit());
                let most = (ROW - unit % ROW).min(limit - unit).min(end - start);
                if let Err(stop) = steps.check() {
                    break 'rows Err(stop);
                }
                piece.span = Span { base: unit, count: most };
                let Some(mut row) = steps.effects.row(&piece) else { break 'rows Ok(Some(id)) };
                let (mut below, mut following, mut done, mut first) = (low, Some(id), 0, None);
                while done != most {
                    let Some((start, given)) = self.0.allocate_run(space.owner, most - done) else { break };
                    let places = (parents.up(done), children.up(done));
                    let (filled, next) = self.fill_run((start, given), places, following, &mut row);
                    following = next;
                    if filled != 0 {
                        self.at(start).before.set(below);
                        if let Some(below) = below {
                            self.at(below).after.set(Some(start));
                        }
                        (first, below) = (first.or(Some(start)), start.following(filled - 1));
                    }
                    done += filled;
                    if filled != given {
                        if let Some(unused) = start.following(filled) {
                            self.0.release_run(space.owner, unused, given - filled);
                        }
                        break;
                    }
                }
                let Some(first) = first else {
                    if is_new {
                        // Or nothing is left for nodes.
                        break 'rows Ok(Some(id));
                    }
                    break;
                };
                if low.is_none_or(|low| !same_group(self.at(low).base(), unit)) {
                    self.lead(index, first, head, high);
                    head = Some(first);
                }
                self.connect(index, (below, high));
                (low, is_new, steps.changed, rest) = (below, false, true, start + done);
                (parents, children) = (parents.up(done), children.up(done));
                match following.filter(|&next| rest < end && self.at(next).base() < end) {
                    Some(next) => id = next,
                    None => break 'rows Ok(None),
                }
                if unit + done == limit {
                    break 'rows Ok(Some(id));
                }
            }
        };
        (transfer.base, transfer.range) = (rest.wrapping_add(shift), Span::between(rest, end));
        outcome
    }

    /// Makes `given` nodes from `first` on, or fewer, children of those from `at` on, as long as these are single ones like the
    /// first of `places` and have no children; at places like the second. How many, and what is to be done next. The links to
    /// what comes before the first of them and after the last are left to the caller.
    #[inline(never)]
    fn fill_run(
        &self,
        (first, given): (NodeId, u64),
        (mut parents, mut children): (Single, Single),
        mut at: Option<NodeId>,
        row: &mut impl Row,
    ) -> (u64, Option<NodeId>) {
        let mut filled = 0;
        for (count, enter) in (0..given).zip(row.places(given)) {
            let (Some(parent_id), Some(id)) = (at, first.following(count)) else { break };
            let (parent, child) = (self.at(parent_id), self.at(id));
            if !parent.is_like(parents) || !parent.is_childless_unit() {
                break;
            }
            let origin = parent.origin();
            enter(origin);
            child.fill_single(children, (parent_id, origin));
            child.first.set(None);
            child.next.set(Some(id));
            child.previous.set(Some(id));
            child.before.set(NodeId::from_field(id.number() - NodeId::STEP));
            child.after.set(id.following(1));
            parent.first.set(Some(id));
            at = parent.after.get();
            (filled, parents, children) = (count + 1, parents.up(1), children.up(1));
        }
        (filled, at)
    }

    /// Takes the children of nodes from `id` down, as long as they are rows of the range without children of their own, that
    /// lose all rights, and leave nothing to join. The last node whose child went. What is done is cut off the range.
    #[inline(never)]
    pub(super) fn revoke_rows(
        &self,
        mut id: NodeId,
        range: &mut Span,
        rights: Rights,
        steps: &mut Steps<'_, impl Effects>,
    ) -> Result<Option<NodeId>, Stop> {
        let mut last = None;
        while let Some(mut first) = self.at(id).first.get() {
            let (node, it) = (self.at(id), self.at(first));
            steps.reach(it.space().owner)?;
            let mut row = it.piece();
            let joins = node.after.get().is_some_and(|after| node.continues_in(self.at(after)));
            // Below its parents a row would be where they are looked for next.
            let is_apart = row.space != node.space() || row.span.base > node.base();
            let is_one = node.count.get() == 1 && row.span.count == 1 && !node.is_marked() && !it.is_marked();
            if row.space.kind != Kind::Memory || joins || !is_apart || !is_one || !rights.contains(row.rights) {
                break;
            }
            let (index, mut parents, mut children) = (self.0.index(row.space), node.single(), it.single());
            let mut goes_on = false;
            // Rows that differ in nothing but units.
            loop {
                if last.is_some() {
                    steps.check()?;
                }
                let (unit, high) = (children.unit(), self.at(first).after.get());
                let most = (unit % ROW + 1).min(parents.unit() - range.base + 1);
                let Some((child, start)) = self.part_with_children(id, (parents, children), most as u32) else {
                    break;
                };
                let (count, start) = (unit + 1 - self.at(child).base(), u64::from(start));
                let parent = self.at(child).parent().unwrap_or(id);
                row.span = Span { base: unit + 1 - count, count };
                let low = self.at(child).before.get();
                if low.is_none_or(|low| !same_group(self.at(low).base(), row.span.base)) {
                    self.resign(index, child, high);
                }
                if start != 0 {
                    self.release_runs(row.space.owner, child.following(count - start - 1), start);
                }
                self.0.release_run(row.space.owner, child, count - start);
                self.connect(index, (low, high));
                steps.effects.revoked_row(&row);
                (steps.changed, goes_on, last) = (true, true, Some(parent));
                range.count = parents.unit() + 1 - count - range.base;
                (parents, children) = (parents.down(count), children.down(count));
                let before = self.at(parent).before.get().filter(|&before| self.at(before).base() >= range.base);
                let Some(before) = before else { return Ok(last) };
                id = before;
                match self.at(id).first.get() {
                    Some(child) => first = child,
                    None => return Ok(last),
                }
            }
            if !goes_on {
                break;
            }
        }
        Ok(last)
    }

    /// Takes the only children from nodes next to each other, from `parent` down, at most so many, as long as both are like
    /// these, the children have none, and no two of the nodes can be joined then. The last of the children, and from how many
    /// on their names follow each other.
    #[inline(never)]
    fn part_with_children(
        &self,
        mut parent: NodeId,
        (mut parents, mut children): (Single, Single),
        most: u32,
    ) -> Option<(NodeId, u32)> {
        // The name that follows the last one.
        let (mut count, mut start, mut expected, mut above) = (0, 0, 0, self.at(parent).source());
        loop {
            let node = self.at(parent);
            let Some(child) = node.first.get() else { break };
            let (it, source) = (self.at(child), node.source());
            if !it.are_like(children, node, parents) || !it.is_only_leaf(child) || Node::is_next(source, above) {
                break;
            }
            node.first.set(None);
            if child.number() != expected {
                cold_path();
                (start, expected) = (count, child.number());
            }
            (count, above, parents, children) = (count + 1, source, parents.down(1), children.down(1));
            expected = expected.wrapping_sub(NodeId::STEP);
            if count == most {
                break;
            }
            let Some(before) = node.before.get() else { break };
            parent = before;
        }
        // The last keeps its child if it could join the one before otherwise.
        let child = NodeId::from_field(expected.wrapping_add(NodeId::STEP)).filter(|_| count != 0)?;
        let parent = self.at(self.at(child).parent()?);
        if parent.before.get().is_some_and(|before| self.at(before).continues_in(parent)) {
            parent.first.set(Some(child));
            return (count > 1).then_some((self.at(child).after.get()?, start.min(count.saturating_sub(2))));
        }
        Some((child, start))
    }

    /// Takes back `count` nodes, each the neighbour of the one before, from that after `last` up.
    #[inline(never)]
    fn release_runs(&self, owner: u32, last: Option<NodeId>, mut count: u64) {
        let mut next = last.and_then(|last| self.at(last).after.get());
        while count != 0
            && let Some(first) = next
        {
            let mut length = 1;
            next = self.at(first).after.get();
            if length != count && next == first.following(1) {
                while length != count
                    && let Some(id) = next
                    && next == first.following(length)
                {
                    (length, next) = (length + 1, self.at(id).after.get());
                }
                self.0.release_run(owner, first, length);
            } else {
                self.0.release(owner, first);
            }
            count -= length;
        }
    }

    /// Makes two nodes neighbours, of which either may be missing.
    #[inline(always)]
    fn connect(&self, index: &SpaceIndex, (low, high): Gap) {
        if let Some(low) = low {
            self.at(low).after.set(high);
        }
        if let Some(high) = high {
            self.at(high).before.set(low);
        }
        index.finger.set(low.or(high));
    }
}
