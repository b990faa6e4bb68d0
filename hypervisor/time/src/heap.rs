//! The queue: a leftist tree whose root has the earliest deadline.
//!
//! Purpose: [`Timeouts`] and the one operation underneath, melding two trees.
//! Invariants: a parent is earlier than its children. A way that always goes right has at most log2(n + 1) nodes,
//! because a tree of rank r has at least 2^r - 1 nodes: melding goes down two such ways and up again. A change of rank
//! travels up only while it changes the smaller rank of two siblings, so the ranks on that way grow by one per step,
//! and the way is as short. Left branches may be as long as the queue; nothing ever walks along one.
//! Concurrency: not `Sync`.
//! Source: Crane 1972; D. E. Knuth, *The Art of Computer Programming*, volume 3, §5.2.3, with exercises 32 and 35.
use crate::links::TimeoutLinks;
use core::cell::Cell;
use core::mem::swap;
use sync::atomic::Ordering::Relaxed;
use sync::{Elements, Id};

/// The pending deadlines of one core.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Timeouts {
    /// Number of armings so far; 2^64 of them do not happen.
    sequence: Cell<u64>,
    root: Cell<Option<Id>>,
}

impl Timeouts {
    /// Makes `id` wait for `deadline`, an absolute TSC value that may have passed; if it waits here already, for this
    /// deadline instead of the former. Returns whether it is now the earliest, so that the timer has to be set.
    ///
    /// An element that waits in another queue must be removed there first.
    pub fn insert<E: Elements<TimeoutLinks>>(&self, elements: &E, id: Id, deadline: u64) -> bool {
        self.remove(elements, id);
        let links = elements.links(id);
        links.deadline.store(deadline, Relaxed);
        links.sequence.store(self.sequence.replace(self.sequence.get().wrapping_add(1)), Relaxed);
        links.rank.store(1, Relaxed);
        for link in [&links.parent, &links.left, &links.right] {
            link.set(None);
        }
        let root = self.root.get().map_or(id, |root| meld(elements, root, id));
        self.root.set(Some(root));
        root == id
    }

    /// Makes `id` wait no longer. Returns whether it did.
    pub fn remove<E: Elements<TimeoutLinks>>(&self, elements: &E, id: Id) -> bool {
        let links = elements.links(id);
        if !links.is_pending() {
            return false;
        }
        let parent = links.parent.get();
        let heir = match (links.left.get(), links.right.get()) {
            (Some(left), Some(right)) => Some(meld(elements, left, right)),
            (only, _) => only,
        };
        if let Some(heir) = heir {
            elements.links(heir).parent.set(parent);
        }
        match parent.map(|parent| elements.links(parent)) {
            None => self.root.set(heir),
            Some(parent) if parent.left.get() == Some(id) => parent.left.set(heir),
            Some(parent) => parent.right.set(heir),
        }
        links.rank.store(0, Relaxed);
        let mut above = parent;
        while let Some(node) = above.filter(|node| balance(elements, *node)) {
            above = elements.links(node).parent.get();
        }
        true
    }

    /// The element that has waited longest for the earliest deadline, and that deadline.
    pub fn first<E: Elements<TimeoutLinks>>(&self, elements: &E) -> Option<(Id, u64)> {
        let id = self.root.get()?;
        Some((id, elements.links(id).deadline.load(Relaxed)))
    }

    /// Removes the first element if its deadline is not after `now`, a TSC value. To be repeated until `None`; between
    /// two calls the caller may let interrupts in.
    pub fn expire<E: Elements<TimeoutLinks>>(&self, elements: &E, now: u64) -> Option<Id> {
        let (id, _) = self.first(elements).filter(|(_, deadline)| *deadline <= now)?;
        self.remove(elements, id);
        Some(id)
    }
}

/// Makes one tree of two; returns its root. The parent of the root is the caller's business.
fn meld<E: Elements<TimeoutLinks>>(elements: &E, one: Id, other: Id) -> Id {
    let key = |id| elements.links(id).key();
    let (root, mut other) = if key(other) < key(one) { (other, one) } else { (one, other) };
    let adopt = |node: Id, child: Id| {
        elements.links(node).right.set(Some(child));
        elements.links(child).parent.set(Some(node));
    };
    // Down: interleave the two right branches by deadline. What hangs to the left stays where it is.
    let (mut node, mut highest) = (root, None);
    while let Some(mut right) = elements.links(node).right.get() {
        if key(other) < key(right) {
            swap(&mut right, &mut other);
            adopt(node, right);
            highest = highest.or(Some(node));
        }
        node = right;
    }
    adopt(node, other);
    // Up: nodes below the highest that got a new child are all looked at, those above while ranks change.
    let mut all = highest.is_some();
    while (balance(elements, node) || all)
        && node != root
        && let Some(parent) = elements.links(node).parent.get()
    {
        all &= highest != Some(node);
        node = parent;
    }
    root
}

/// Puts the child of higher rank to the left; returns whether the node's own rank has changed.
fn balance<E: Elements<TimeoutLinks>>(elements: &E, node: Id) -> bool {
    let links = elements.links(node);
    let children = [links.left.get(), links.right.get()];
    let [left, right] = children.map(|child| child.map_or(0, |child| elements.links(child).rank.load(Relaxed)));
    if left < right {
        links.left.set(children[1]);
        links.right.set(children[0]);
    }
    let (old, new) = (links.rank.load(Relaxed), left.min(right) + 1);
    links.rank.store(new, Relaxed);
    old != new
}

#[cfg(test)]
#[cfg(not(any(loom, shuttle)))]
mod tests;
