//! A node: one cache line.
//!
//! Purpose: the fields, and reading them as a [`Piece`] or as a [`Run`].
//! Invariants: see `tree.rs`; 64 bytes. Units and origins are below 2^40, and names are a step apart and below 2^30, so that
//! one of each share a word.
//! Concurrency: relaxed atomics; whoever uses them holds the tree's lock.
//! Source: lecture C:331-336 (node apart from the page table).
use super::{Attributes, Piece, Space, Span};
use abi::{Crd, Rights};
use core::num::NonZeroU32;
use sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Name of a node, given by [`super::Nodes::allocate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeId(NonZeroU32);

impl NodeId {
    /// From one name to the next.
    pub const STEP: u32 = 1 << STEP_BITS;

    /// A name from a number other than 0, a multiple of [`Self::STEP`] below 2^30.
    #[must_use]
    pub const fn new(number: NonZeroU32) -> Self {
        debug_assert!(number.get() >> (SHIFT + STEP_BITS) == 0 && number.get().is_multiple_of(Self::STEP));
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0.get()
    }

    /// The name so many behind.
    #[inline(always)]
    pub(super) fn following(self, count: u64) -> Option<Self> {
        Self::from_field(self.0.get().wrapping_add(count as u32 * Self::STEP))
    }

    /// A name that a field holds.
    #[inline]
    pub(super) fn from_field(field: u32) -> Option<Self> {
        NonZeroU32::new(field).map(Self)
    }
}

macro_rules! field {
    ($name:ident, $atomic:ident, $int:ty) => {
        #[derive(Debug, Default)]
        pub(super) struct $name($atomic);
        impl $name {
            #[inline]
            pub fn get(&self) -> $int {
                self.0.load(Relaxed)
            }
            #[inline]
            pub fn set(&self, value: $int) {
                self.0.store(value, Relaxed);
            }
        }
    };
}
field!(Number, AtomicU32, u32);
field!(Word, AtomicU64, u64);

/// A field that names a node or none.
#[derive(Debug, Default)]
pub(super) struct Link(AtomicU32);

impl Link {
    #[inline]
    pub fn get(&self) -> Option<NodeId> {
        NodeId::from_field(self.0.load(Relaxed))
    }

    #[inline]
    pub fn set(&self, node: Option<NodeId>) {
        self.0.store(number(node), Relaxed);
    }
}

const fn number(node: Option<NodeId>) -> u32 {
    match node {
        Some(node) => node.0.get(),
        None => 0,
    }
}

/// An origin, and the node that it was delegated from.
const fn source(origin: u64, parent: Option<NodeId>) -> u64 {
    origin << SHIFT | (number(parent) >> STEP_BITS) as u64
}

/// Bits below a unit or an origin in a word.
const SHIFT: u32 = 24;
/// log2 of [`NodeId::STEP`]: with the size of a node the name is its place.
const STEP_BITS: u32 = 6;
/// In [`Node::place`]: the bit of the unit at which the node's fork branches.
const BIT: u64 = 0xFF << 16;

/// In [`Node::space`]: bits below the depth.
const DEPTH: u32 = 26;
/// A depth that says that the ancestors have to be counted.
pub(super) const DEEP: u32 = (1 << (32 - DEPTH)) - 1;

/// In [`Node::place`]: see [`Node::mark`].
const MARKS: u64 = Attributes::DIVIDED.or(Attributes::TWIN).field();

impl Attributes {
    /// As they stand in [`Node::place`], above the rights.
    const fn field(self) -> u64 {
        (self.0 as u64) << 5
    }

    const fn from_field(place: u64) -> Self {
        Self((place >> 5) as u16 & 0x7FF)
    }
}

/// A run of mappings; see [`super`].
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Node {
    /// First unit << 24 | bit of its fork << 16 | attributes << 5 | rights.
    place: Word,
    pub(super) count: Word,
    /// First origin << 24 | name of the node it was delegated from / 64, 0 for a root.
    source: Word,
    /// Depth << 26 | owner << 2 | kind.
    space: Number,
    /// One of its children.
    pub(super) first: Link,
    /// The ring of the children of one parent, or of the roots of one tree.
    pub(super) next: Link,
    pub(super) previous: Link,
    /// Neighbours in the space.
    pub(super) before: Link,
    pub(super) after: Link,
    /// See `index.rs`.
    pub(super) child: [Number; 2],
    pub(super) up: Link,
    pub(super) leaf_up: Link,
}

const _: () = assert!(size_of::<Node>() == NodeId::STEP as usize);

/// What distinguishes mappings besides their length, in a form that is compared and continued with few instructions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    place: u64,
    pub count: u64,
    source: u64,
}

impl Run {
    pub fn new(piece: &Piece, parent: Option<NodeId>) -> Self {
        let properties = piece.attributes.field() | u64::from(piece.rights.bits());
        let source = source(piece.origin, parent);
        Self { place: piece.span.base << SHIFT | properties, count: piece.span.count, source }
    }

    /// What a child of `parent` in another place has of `count` of its units, after `ahead`: at `unit`, with the rights in
    /// `rights`, and `attributes` besides those it inherits.
    #[inline(always)]
    pub fn child(
        parent: (NodeId, &Node),
        (ahead, count): (u64, u64),
        unit: u64,
        rights: Rights,
        more: Attributes,
    ) -> Self {
        let (id, node) = parent;
        let inherited = Attributes(u16::MAX).inherited().field();
        let properties = node.place.get() & (inherited | u64::from(rights.bits())) | more.field();
        let origin = (node.source.get() >> SHIFT) + ahead;
        Self { place: unit << SHIFT | properties, count, source: source(origin, Some(id)) }
    }

    /// The run as a piece of a space.
    #[inline(always)]
    pub fn piece(&self, space: Space) -> Piece {
        Piece {
            space,
            span: Span { base: self.place >> SHIFT, count: self.count },
            origin: self.source >> SHIFT,
            rights: Rights::new(self.place as u8),
            attributes: Attributes::from_field(self.place),
        }
    }

    /// The run with so many units.
    pub const fn with_count(self, count: u64) -> Self {
        Self { count, ..self }
    }

    /// What is left of the run after `count` units.
    pub fn after(&self, count: u64) -> Self {
        let [place, source] = [self.place, self.source].map(|word| word + (count << SHIFT));
        Self { place, count: self.count - count, source }
    }

    /// Whether both start with the same unit and differ at most in length.
    pub fn starts_as(&self, other: &Self) -> bool {
        self.place == other.place && self.source == other.source
    }

    /// Whether `next`, of the same space, goes on where this one ends, with the same parent, rights and attributes.
    pub fn continues_in(&self, next: &Self) -> bool {
        let end = self.after(self.count);
        end.place == next.place && end.source == next.source
    }
}

/// A unit, and what else the nodes of a row have in common. The bit is set as without a fork.
#[derive(Clone, Copy, Debug)]
pub(super) struct Single {
    place: u64,
    space: u32,
}

impl Single {
    pub fn new(run: &Run, space: Space, depth: u32) -> Self {
        Self { place: run.place | BIT, space: depth << DEPTH | space.owner << 2 | space.kind as u32 }
    }

    pub const fn unit(self) -> u64 {
        self.place >> SHIFT
    }

    /// The same so many units above.
    pub const fn up(self, units: u64) -> Self {
        Self { place: self.place.wrapping_add(units << SHIFT), ..self }
    }

    /// The same so many units below.
    pub const fn down(self, units: u64) -> Self {
        Self { place: self.place.wrapping_sub(units << SHIFT), ..self }
    }
}

impl Node {
    pub(super) fn single(&self) -> Single {
        Single { place: self.place.get() | BIT, space: self.space.get() }
    }

    /// Whether the node starts with that unit.
    #[inline(always)]
    pub(super) fn is_like(&self, like: Single) -> bool {
        self.place.get() | BIT == like.place && self.space.get() == like.space
    }

    /// As [`Self::is_like`], and the same of `other`, whose space is known.
    #[inline(always)]
    pub(super) fn are_like(&self, like: Single, other: &Self, other_like: Single) -> bool {
        let differs = self.place.get() ^ like.place | other.place.get() ^ other_like.place;
        differs & !BIT == 0 && self.space.get() == like.space
    }

    /// Whether the node, which is `id`, has no children and no siblings.
    #[inline(always)]
    pub(super) fn is_only_leaf(&self, id: NodeId) -> bool {
        self.first.0.load(Relaxed) | self.next.0.load(Relaxed) ^ id.number() == 0
    }

    /// Whether the node has one unit and no children.
    #[inline(always)]
    pub(super) fn is_childless_unit(&self) -> bool {
        u64::from(self.first.0.load(Relaxed)) + self.count.get() == 1
    }

    /// First origin and parent, in a form that is compared with few instructions.
    #[inline(always)]
    pub(super) fn source(&self) -> u64 {
        self.source.get()
    }

    /// Whether one origin lies between two sources of the same parent.
    #[inline(always)]
    pub(super) const fn is_next(source: u64, next: u64) -> bool {
        source.wrapping_add(1 << SHIFT) == next
    }

    /// Sets everything but the links for a child of `parent`.
    #[inline(always)]
    pub(super) fn fill_single(&self, like: Single, (parent, origin): (NodeId, u64)) {
        self.place.set(like.place);
        self.count.set(1);
        self.source.set(source(origin, Some(parent)));
        self.space.set(like.space);
    }

    pub(super) fn base(&self) -> u64 {
        self.place.get() >> SHIFT
    }

    pub(super) fn end(&self) -> u64 {
        self.base() + self.count.get()
    }

    pub(super) fn bit(&self) -> u32 {
        (self.place.get() >> 16) as u8 as u32
    }

    pub(super) fn set_bit(&self, bit: u32) {
        self.place.set(self.place.get() & !BIT | u64::from(bit) << 16);
    }

    pub(super) fn rights(&self) -> Rights {
        Rights::new(self.place.get() as u8)
    }

    pub(super) fn set_rights(&self, rights: Rights) {
        self.place.set(self.place.get() & !u64::from(Rights::ALL.bits()) | u64::from(rights.bits()));
    }

    /// Sets another limit.
    pub(super) fn set_limit(&self, limit: u16) {
        self.place.set(self.place.get() & !Attributes::LIMIT.field() | Attributes(limit).field());
    }

    /// Whether the node has some of `rights` to pass on without a limit, in the usual way, and is not being divided.
    #[inline(always)]
    pub(super) fn is_giving(&self, rights: Rights) -> bool {
        let place = self.place.get();
        let rather_not = MARKS | Attributes::LAST.or(Attributes::LIMIT).or(Attributes::WRITE_COMBINING).field();
        place & rather_not == 0 && place & u64::from(rights.bits()) != 0
    }

    /// Whether a division is under way; see `split.rs`.
    pub(super) fn is_marked(&self) -> bool {
        self.place.get() & MARKS != 0
    }

    /// Sets the mark, or none.
    pub(super) fn mark(&self, mark: Attributes) {
        self.place.set(self.place.get() & !MARKS | mark.field());
    }

    /// The twin of a node that is being divided.
    pub(super) fn twin(&self) -> Option<NodeId> {
        self.next.get().filter(|_| self.place.get() & Attributes::DIVIDED.field() != 0)
    }

    /// Makes the node the twin of one from which `rights` are to be taken, see [`Self::order`]. It is in no index, which leaves
    /// room for that.
    pub(super) fn set_order(&self, rights: Rights, itself: bool) {
        self.set_rights(Rights::NONE);
        self.child[0].set(u32::from(rights.bits()) | u32::from(itself) << 8);
    }

    /// What a twin says is to be taken from all that descends from its node, and whether from that too; `None` if it is a part.
    pub(super) fn order(&self) -> Option<(Rights, bool)> {
        let order = self.child[0].get();
        self.rights().is_none().then(|| (Rights::new(order as u8), order >> 8 != 0))
    }

    pub(super) fn parent(&self) -> Option<NodeId> {
        NodeId::from_field((self.source.get() as u32 & ((1 << SHIFT) - 1)) << STEP_BITS)
    }

    pub(super) fn set_parent(&self, parent: Option<NodeId>) {
        self.source.set(source(self.origin(), parent));
    }

    /// Whether the node, which is `id`, is the unit `unit` of a tree that has nothing else.
    pub(super) fn is_alone(&self, id: NodeId, unit: u64) -> bool {
        let place = self.place.get() & (!0 << SHIFT | MARKS);
        place == unit << SHIFT
            && self.count.get() == 1
            && self.parent().is_none()
            && self.next.get() == Some(id)
            && self.first.get().is_none()
    }

    pub(super) fn origin(&self) -> u64 {
        self.source.get() >> SHIFT
    }

    /// Whether the origin `cut` has units of the node on both sides.
    pub(super) fn has_inside(&self, cut: u64) -> bool {
        self.origin() < cut && cut < self.origins().end()
    }

    pub(super) fn units(&self) -> Span {
        Span { base: self.base(), count: self.count.get() }
    }

    pub(super) fn origins(&self) -> Span {
        Span { base: self.origin(), count: self.count.get() }
    }

    pub(super) fn space(&self) -> Space {
        let space = self.space.get() & ((1 << DEPTH) - 1);
        // The low bits of a range descriptor are its type, so its decoder decodes ours.
        Space { owner: space >> 2, kind: Crd::from_word(u64::from(space & 3)).kind() }
    }

    /// Number of ancestors, or more; [`DEEP`] if there may be any number.
    pub(super) fn depth(&self) -> u32 {
        self.space.get() >> DEPTH
    }

    pub(super) fn attributes(&self) -> Attributes {
        Attributes::from_field(self.place.get() & !MARKS)
    }

    pub(super) fn piece(&self) -> Piece {
        Piece {
            space: self.space(),
            span: self.units(),
            origin: self.origin(),
            rights: self.rights(),
            attributes: self.attributes(),
        }
    }

    pub(super) fn run(&self) -> Run {
        Run { place: self.place.get() & !BIT, count: self.count.get(), source: self.source.get() }
    }

    /// As [`Run::continues_in`]; the field that mostly differs comes first.
    pub(super) fn continues_in(&self, next: &Self) -> bool {
        let count = self.count.get() << SHIFT;
        self.source.get() + count == next.source.get() && (self.place.get() & !BIT) + count == next.place.get() & !BIT
    }

    /// Sets everything but the links.
    pub(super) fn fill(&self, space: Space, run: &Run, depth: u32) {
        self.place.set(run.place | BIT);
        self.count.set(run.count);
        self.source.set(run.source);
        self.space.set(depth << DEPTH | space.owner << 2 | space.kind as u32);
    }
}
