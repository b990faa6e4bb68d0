//! The mapping tree: who has what from whom.
//!
//! Purpose: one tree for memory, ports and objects. It delegates, grants and copies ranges between domains and takes
//! them back from everybody who has them in turn. It knows nothing of page tables or capability slots: what it does is
//! reported to [`Effects`], piece by piece.
//!
//! Model: every unit (page, port, selector) of a space is empty or a mapping with an origin (the unit of the root that
//! it stands for), rights, attributes and a parent, which is a unit of some space with the same origin. A [`Node`] is a
//! run of consecutive units of one space with consecutive origins, equal rights and attributes and one parent node.
//!
//! Invariants: 1. Nodes of one space do not overlap. 2. A node's origins lie within its parent's and its rights within
//! its parent's rights: after each step, not only after each operation. 3. The children of a node form a ring, and so do
//! the roots of one tree: one when it is made, more when a root is divided, or goes and leaves its children. 4. A node
//! without children and a neighbour in its space that are children of the same parent and differ in nothing but position
//! are one node; roots never join. 5. A parent is never removed before its children.
//!
//! Concurrency: whoever delegates, revokes, looks, enters a root or goes a short way holds the locks of what the domains have
//! that are named, or for which [`Effects::may_reach`] was asked, and those of all where [`Effects::may_reach_all`] is;
//! whoever does anything else holds all.
//! The files below call them the tree's lock. An operation stops when [`Effects::may_continue`] says so; the lock may then be
//! given away and the operation repeated with what it has left of its range. All other state is in the nodes.
//! Cost: steps are nodes looked at. Finding a unit: as many as a unit has bits at most, one or two beside the latest find;
//! entering and leaving: as many at most, few if units are dense. Delegating adds the number of ancestors. Dividing and
//! revoking look at the children of the nodes that have units in the range. No operation recurses.
//! Source: lecture C:241-300, C:331-372, C:456-492 (post-order removal); C:81-185, B:274-320, E:956-961 (map, grant, copy,
//! unmap); interface §3 and §5; `docs/src/decisions/0010-restartable-hypercalls.md`.
use abi::{Kind, Rights};
use core::convert::Infallible;
use core::iter::successors;

mod family;
mod index;
mod node;
mod overmap;
mod query;
mod revoke;
mod row;
mod short;
mod split;
mod steps;
mod transfer;

pub use index::{ROW, SpaceIndex};
pub use node::{Node, NodeId};
pub use short::{Delegation, Only};
pub use transfer::Transfer;

/// Greatest number of ancestors of a node.
pub const MAX_DEPTH: u16 = 512;
/// Units and origins are below this number.
pub const UNITS: u64 = 1 << 40;

/// A space of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// The domain, in the caller's numbering, below 2^24.
    pub owner: u32,
    /// Memory, ports or objects.
    pub kind: Kind,
}

/// `count` units from `base` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First unit, below 2^52.
    pub base: u64,
    /// Number of units, at most 2^52.
    pub count: u64,
}

impl Span {
    /// All units of a space.
    pub const ALL: Self = Self { base: 0, count: 1 << 52 };

    /// The unit after the last.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.base + self.count
    }

    /// The units from `base` to before `end`; none if `end` is not higher.
    #[must_use]
    pub const fn between(base: u64, end: u64) -> Self {
        Self { base, count: end.saturating_sub(base) }
    }

    /// What both have.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self::between(self.base.max(other.base), self.end().min(other.end()))
    }
}

impl From<crate::window::Range> for Span {
    fn from(range: crate::window::Range) -> Self {
        Self { base: range.base, count: range.count() }
    }
}

/// Properties of a mapping besides its rights, below 2^11.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(pub u16);

impl Attributes {
    /// None.
    pub const NONE: Self = Self(0);
    /// Memory is write-combining; passed on with every delegation.
    pub const WRITE_COMBINING: Self = Self(0x40);
    /// Also in the domain's table for devices.
    pub const DEVICE: Self = Self(0x80);
    /// Also in the domain's table for guests.
    pub const GUEST: Self = Self(0x20);
    /// Must not be delegated or copied, only granted (lecture C:419, map privilege).
    pub const LAST: Self = Self(0x100);
    /// Marks of nodes, not properties of mappings; see `split.rs`.
    const DIVIDED: Self = Self(0x400);
    const TWIN: Self = Self(0x200);
    /// The bits of [`Attributes::limit`].
    const LIMIT: Self = Self(0x1F);

    /// What another mapping made from one with these attributes has without being asked.
    const fn inherited(self) -> Self {
        Self(self.0 & (Self::WRITE_COMBINING.0 | Self::LAST.0))
    }

    /// How many mappings this one and what is made of it may be, 1 to 31 (lecture C:413-417, size of a subtree); 0: any number.
    #[must_use]
    pub const fn limit(self) -> u16 {
        self.0 & Self::LIMIT.0
    }

    /// These with another limit.
    #[must_use]
    pub const fn limited(self, limit: u16) -> Self {
        Self(self.0 & !Self::LIMIT.0 | limit & Self::LIMIT.0)
    }

    /// Those of both.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any of `other` is set.
    #[must_use]
    pub const fn has_any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether all of `other` are set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A run of mappings of one space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Whose.
    pub space: Space,
    /// Where.
    pub span: Span,
    /// Unit of the root that the first unit stands for: physical page, port, object.
    pub origin: u64,
    /// What may be done with it; never none in the tree.
    pub rights: Rights,
    /// How it is mapped.
    pub attributes: Attributes,
}

impl Piece {
    /// The part of the piece that lies in `span`.
    #[must_use]
    pub fn within(self, span: Span) -> Self {
        let span = self.span.and(span);
        Self { origin: self.origin + span.base.saturating_sub(self.span.base), span, ..self }
    }

    /// The origins.
    #[must_use]
    pub const fn origins(self) -> Span {
        Span { base: self.origin, count: self.span.count }
    }
}

/// No memory for a node, or for what an effect needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Why an operation went no further. What was done before stays done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// See [`Full`].
    Full,
    /// A node would have more than [`MAX_DEPTH`] ancestors.
    TooDeep,
    /// The place of a root is taken in part, or reaches [`UNITS`]; or what is not the tree's is in the way of a piece.
    Occupied,
    /// Source and destination overlap without being the same.
    Overlap,
}

/// How far an operation came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// To its end.
    Done,
    /// It stopped because [`Effects::may_continue`] said so: repeat it with what it has left of its range.
    Preempted,
}

/// Where nodes live, and who pays for them.
pub trait Nodes {
    /// The node with that name.
    fn node(&self, id: NodeId) -> &Node;
    /// The index of a space that has nodes or gets some.
    fn index(&self, space: Space) -> &SpaceIndex;
    /// Nodes that `owner` pays for, with any contents, whose names follow each other, from one to `most`: the first, and
    /// how many. `None` if `owner` cannot pay.
    fn allocate_run(&self, owner: u32, most: u64) -> Option<(NodeId, u64)>;
    /// As [`Self::allocate_run`], one.
    #[inline(always)]
    fn allocate(&self, owner: u32) -> Option<NodeId> {
        self.allocate_run(owner, 1).map(|(id, _)| id)
    }
    /// Takes back a node that `owner` pays for; nothing refers to it any more.
    fn release(&self, owner: u32, id: NodeId);
    /// Takes back nodes, as [`Self::release`], whose names follow each other: `count` from `first` on.
    fn release_run(&self, owner: u32, first: NodeId, count: u64) {
        successors(Some(first), |node| node.following(1))
            .take(count as usize)
            .for_each(|node| self.release(owner, node));
    }
    /// Makes `to` pay for a node that `from` paid for.
    ///
    /// # Errors
    /// [`Full`] if `to` cannot pay.
    fn recharge(&self, from: u32, to: u32) -> Result<(), Full>;
}

/// Where the units of a row are shown.
pub trait Row {
    /// The next `count` places: called with an origin, what stands for it is entered there. The tree is not consistent
    /// meanwhile.
    fn places(&mut self, count: u64) -> impl Iterator<Item = impl FnOnce(u64)>;
}

impl Row for Infallible {
    fn places(&mut self, _: u64) -> impl Iterator<Item = impl FnOnce(u64)> {
        core::iter::empty::<fn(u64)>()
    }
}

/// What the tree reports while it works. The tree is consistent at each call.
pub trait Effects {
    /// `piece` is about to be entered into the tree; nothing else can fail any more.
    ///
    /// # Errors
    /// [`Error::Full`] if tables or slots cannot be had, with nothing of the piece left in them: it is not entered, and the
    /// operation ends with that error. [`Error::Occupied`], likewise, if something is there that is not the tree's: then its
    /// units are left out.
    fn mapped(&mut self, piece: &Piece) -> Result<(), Error>;

    /// Whether a piece whose destination is taken in part is entered where it is not, instead of left out as a whole.
    fn goes_round(&self) -> bool {
        false
    }

    /// How many of the first units of `piece`, which the tree has not, nothing else has either.
    fn free(&self, piece: &Piece) -> u64 {
        piece.span.count
    }

    /// `piece`, with the rights it had, has only `left` now; none: it is gone. `last` says that nobody has anything of
    /// its tree any more: an object without holders.
    fn revoked(&mut self, piece: &Piece, left: Rights, last: bool);

    /// `piece`, which had fewer rights, is about to have those that it says.
    fn raised(&mut self, piece: &Piece);

    /// Units of `piece`, at most [`ROW`] without a multiple of that between them, are about to be entered one by one, from the
    /// first on, with any origins. `None` if they are to be reported as pieces: one may be taken.
    fn row(&mut self, _piece: &Piece) -> Option<impl Row> {
        None::<Infallible>
    }

    /// All units of `row` are gone, which had any origins.
    fn revoked_row(&mut self, row: &Piece) {
        self.revoked(row, Rights::NONE, false);
    }

    /// How many units of `piece` can be entered at once, or taken; at least one. They are the first that are entered, and
    /// the last that are taken.
    fn portion(&self, piece: &Piece, _enter: bool) -> u64 {
        piece.span.count
    }

    /// Whether nodes of all domains may be touched, not only of those that the operation names or has reached. If not, the
    /// operation stops as if it were preempted.
    fn may_reach_all(&mut self) -> bool {
        true
    }

    /// As [`Self::may_reach_all`], of the nodes of `owner` and the rings of their children.
    fn may_reach(&mut self, _owner: u32) -> bool {
        true
    }

    /// Whether to go on. Asked after at least one step that lasts, so that repetition reaches the end.
    fn may_continue(&mut self) -> bool {
        true
    }
}

/// The operations, over the nodes of `N`.
#[derive(Debug)]
pub struct Tree<'n, N>(pub &'n N);

#[cfg(test)]
mod tests;
