//! The queue: a leftist tree whose root has the earliest deadline.
//!
//! Purpose: [`Timeouts`] and the one operation underneath, melding two trees.
//! Invariants: a parent is earlier than its children. A way that always goes right has at most log2(n + 1) nodes,
//! because a tree of rank r has at least 2^r - 1 nodes: melding goes down two such ways and up again. A change of rank
//! travels up only while it changes the smaller rank of two siblings, so the ranks on that way grow by one per step,
//! and the way is as short. Left branches may be as long as the queue; nothing ever walks along one.
//! Concurrency: not `Sync`.
//! Source: Crane 1972; D. E. Knuth, *The Art of Computer Programming*, volume 3, §5.2.3, with exercises 32 and 35.
use crate::links::{Elements, Id, TimeoutLinks};
use core::cell::Cell;
use core::mem::swap;
use sync::atomic::Ordering::Relaxed;

/// The pending deadlines of one core.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Timeouts {
    /// Number of armings so far; 2^64 of them do not happen.
    sequence: Cell<u64>,
    root: Cell<Option<Id>>,
}

/// An element that has been looked up.
struct Node<'a, E> {
    elements: &'a E,
    id: Id,
    links: &'a TimeoutLinks,
}

impl<E> Clone for Node<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<E> Copy for Node<'_, E> {}

impl Timeouts {
    /// No deadlines.
    #[must_use]
    pub const fn new() -> Self {
        Self { sequence: Cell::new(0), root: Cell::new(None) }
    }

    /// Makes `id` wait for `deadline`, an absolute TSC value that may have passed; if it waits here already, for this
    /// deadline instead of the former. Returns whether it is now the earliest, so that the timer has to be set.
    ///
    /// An element that waits in another queue must be removed there first.
    pub fn insert<E: Elements>(&self, elements: &E, id: Id, deadline: u64) -> bool {
        self.remove(elements, id);
        let new = Node::new(elements, id);
        let sequence = self.sequence.get();
        self.sequence.set(sequence.wrapping_add(1));
        new.links.deadline.store(deadline, Relaxed);
        new.links.sequence.store(sequence, Relaxed);
        new.links.rank.store(1, Relaxed);
        for link in [&new.links.parent, &new.links.left, &new.links.right] {
            link.set(None);
        }
        let root = self.root.get().map_or(new, |root| Node::new(elements, root).meld(new));
        self.root.set(Some(root.id));
        root.id == id
    }

    /// Makes `id` wait no longer. Returns whether it did.
    pub fn remove<E: Elements>(&self, elements: &E, id: Id) -> bool {
        let node = Node::new(elements, id);
        if !node.links.is_pending() {
            return false;
        }
        let parent = node.node(node.links.parent.get());
        let heir = match (node.left(), node.right()) {
            (Some(left), Some(right)) => Some(left.meld(right)),
            (only, _) => only,
        };
        if let Some(heir) = heir {
            heir.links.parent.set(parent.map(|parent| parent.id));
        }
        let heir = heir.map(|heir| heir.id);
        match parent {
            None => self.root.set(heir),
            Some(parent) if parent.links.left.get() == Some(id) => parent.links.left.set(heir),
            Some(parent) => parent.links.right.set(heir),
        }
        node.links.rank.store(0, Relaxed);
        let mut above = parent;
        while let Some(node) = above.filter(|node| node.balance()) {
            above = node.node(node.links.parent.get());
        }
        true
    }

    /// The element that has waited longest for the earliest deadline, and that deadline.
    #[must_use]
    pub fn first<E: Elements>(&self, elements: &E) -> Option<(Id, u64)> {
        let id = self.root.get()?;
        Some((id, elements.links(id).deadline.load(Relaxed)))
    }

    /// Removes the first element if its deadline is not after `now`, a TSC value. To be repeated until `None`; between
    /// two calls the caller may let interrupts in.
    pub fn expire<E: Elements>(&self, elements: &E, now: u64) -> Option<Id> {
        let (id, _) = self.first(elements).filter(|(_, deadline)| *deadline <= now)?;
        self.remove(elements, id);
        Some(id)
    }
}

impl<'a, E: Elements> Node<'a, E> {
    fn new(elements: &'a E, id: Id) -> Self {
        Self { elements, id, links: elements.links(id) }
    }

    fn node(self, id: Option<Id>) -> Option<Self> {
        id.map(|id| Self::new(self.elements, id))
    }

    fn left(self) -> Option<Self> {
        self.node(self.links.left.get())
    }

    fn right(self) -> Option<Self> {
        self.node(self.links.right.get())
    }

    fn key(self) -> (u64, u64) {
        (self.links.deadline.load(Relaxed), self.links.sequence.load(Relaxed))
    }

    /// Makes one tree of two; returns its root. The parent of the root is the caller's business.
    fn meld(self, other: Self) -> Self {
        let (mut node, mut other) = if other.key() < self.key() { (other, self) } else { (self, other) };
        let root = node;
        // Down: interleave the two right branches by deadline. What hangs to the left stays where it is.
        let mut highest = None;
        while let Some(mut right) = node.right() {
            if other.key() < right.key() {
                swap(&mut right, &mut other);
                node.adopt(right);
                highest = highest.or(Some(node.id));
            }
            node = right;
        }
        node.adopt(other);
        // Up: nodes below the highest that got a new child are all looked at, those above while ranks change.
        let mut all = highest.is_some();
        while (node.balance() || all)
            && node.id != root.id
            && let Some(parent) = node.node(node.links.parent.get())
        {
            all &= highest != Some(node.id);
            node = parent;
        }
        root
    }

    /// Makes `child` the right child.
    fn adopt(self, child: Self) {
        self.links.right.set(Some(child.id));
        child.links.parent.set(Some(self.id));
    }

    /// Puts the child of higher rank to the left; returns whether the node's own rank has changed.
    fn balance(self) -> bool {
        let rank = |child: Option<Self>| child.map_or(0, |child| child.links.rank.load(Relaxed));
        let (left, right) = (rank(self.left()), rank(self.right()));
        if left < right {
            let left = self.links.left.get();
            self.links.left.set(self.links.right.get());
            self.links.right.set(left);
        }
        let rank = left.min(right) + 1;
        let changed = self.links.rank.load(Relaxed) != rank;
        self.links.rank.store(rank, Relaxed);
        changed
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
