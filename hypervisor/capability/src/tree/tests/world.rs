//! Purpose: nodes in a vector, spaces of a few domains, a mirror of what the effects reported, and the checker of the
//! tree's invariants.
use crate::tree::index::{GROUP, NO_FORK, leaf_of};
use crate::tree::{
    Attributes, Effects, Error, Full, Node, NodeId, Nodes, Piece, ROW, Row, Space, SpaceIndex, Span, Tree,
};
use abi::{Kind, Rights};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

pub const DOMAINS: u32 = 4;

/// What a unit of a space holds: origin, rights, attributes without the limit.
pub type Entry = (u64, u8, u16);
/// Owner and unit.
pub type Place = (u32, u64);

/// See [`World::contents`].
#[derive(Debug, PartialEq, Eq)]
pub struct Contents {
    owner: u32,
    own: String,
    parent: Option<u32>,
    ring: [u32; 2],
}

pub struct World {
    nodes: Vec<Node>,
    free: RefCell<Vec<u32>>,
    used: RefCell<BTreeMap<u32, usize>>,
    /// Nodes that each domain may have.
    pub limit: Cell<usize>,
    indexes: Vec<SpaceIndex>,
    /// Nodes looked at.
    pub looks: Cell<u64>,
    /// The only domains whose indices and nodes may change, if there is such a rule.
    pub held: RefCell<Option<Vec<u32>>>,
}

impl World {
    pub fn new(capacity: usize) -> Self {
        Self {
            nodes: (0..capacity).map(|_| Node::default()).collect(),
            free: RefCell::new((1..=capacity as u32).rev().map(|at| at * NodeId::STEP).collect()),
            used: RefCell::default(),
            limit: Cell::new(usize::MAX),
            indexes: (0..DOMAINS * 4).map(|_| SpaceIndex::default()).collect(),
            looks: Cell::new(0),
            held: RefCell::default(),
        }
    }

    fn assert_held(&self, owner: u32) {
        assert!(self.may_change(owner), "{owner} is not of {:?}", self.held);
    }

    fn may_change(&self, owner: u32) -> bool {
        self.held.borrow().as_ref().is_none_or(|held| held.contains(&owner))
    }

    /// What is in nodes, by name: of whose domain, what its region protects, and its place in a ring with whose region.
    pub fn contents(&self) -> BTreeMap<u32, Contents> {
        let free: BTreeSet<_> = self.free.borrow().iter().copied().collect();
        let place = |number: u32| &self.nodes[(number / NodeId::STEP) as usize - 1];
        let used = (1..=self.nodes.len() as u32).map(|at| at * NodeId::STEP).filter(|number| !free.contains(number));
        let contents = used.map(|number| {
            let node = place(number);
            let own =
                format!("{:?} {:?} {:?} {:?}", node.piece(), node.parent(), node.first, [&node.before, &node.after]);
            let ring = [&node.next, &node.previous].map(|link| link.get().map_or(0, NodeId::number));
            let parent = node.parent().map(|parent| place(parent.number()).space().owner);
            (number, Contents { owner: node.space().owner, own, parent, ring })
        });
        contents.collect()
    }

    /// Fails if something has changed since `before` that belongs to no domain that is held.
    pub fn check_changes(&self, before: &BTreeMap<u32, Contents>) {
        let after = self.contents();
        for (id, old) in before {
            match after.get(id) {
                Some(new) if new == old => {}
                new => {
                    let changed = new.is_none_or(|new| new.own != old.own);
                    assert!(!changed || self.may_change(old.owner), "{old:?} became {new:?}, held {:?}", self.held);
                    let moved = new.is_none_or(|new| (new.parent, new.ring) != (old.parent, old.ring));
                    let may = old.parent.is_some_and(|parent| self.may_change(parent));
                    // Who is alone has no ring that somebody else could look at.
                    let alone = old.parent.is_none() && old.ring == [*id; 2];
                    assert!(!moved || may || alone, "{old:?} left, held {:?}", self.held);
                }
            }
        }
    }

    fn take(&self, owner: u32) -> Option<NodeId> {
        self.assert_held(owner);
        let mut used = self.used.borrow_mut();
        let used = used.entry(owner).or_default();
        if *used >= self.limit.get() {
            return None;
        }
        let id = self.free.borrow_mut().pop()?;
        *used += 1;
        Some(node_id(id))
    }

    pub fn tree(&self) -> Tree<'_, Self> {
        Tree(self)
    }

    pub fn used(&self) -> usize {
        self.used.borrow().values().sum()
    }

    /// The nodes of a space from low to high.
    pub fn nodes_of(&self, space: Space) -> Vec<NodeId> {
        let tree = self.tree();
        let mut nodes = vec![];
        let (floor, after) = tree.floor(self.index(space), 0);
        let mut at = floor.or(after);
        while let Some(id) = at {
            assert_eq!(self.node(id).before.get(), nodes.last().copied(), "neighbours name each other");
            nodes.push(id);
            at = self.node(id).after.get();
        }
        nodes
    }

    pub fn pieces(&self, owner: u32) -> Vec<Piece> {
        self.nodes_of(memory(owner)).into_iter().map(|id| self.node(id).piece()).collect()
    }

    /// All memory units of all domains, each with its entry and its parent.
    pub fn units(&self) -> BTreeMap<Place, (Entry, Option<Place>)> {
        let mut units = BTreeMap::new();
        for owner in 0..DOMAINS {
            for id in self.nodes_of(memory(owner)) {
                let (piece, parent) = (self.node(id).piece(), self.node(id).parent());
                for offset in 0..piece.span.count {
                    let origin = piece.origin + offset;
                    let parent = parent.map(|parent| {
                        let parent = self.node(parent).piece();
                        (parent.space.owner, parent.span.base + (origin - parent.origin))
                    });
                    let entry = (origin, piece.rights.bits(), piece.attributes.limited(0).0);
                    assert!(units.insert((owner, piece.span.base + offset), (entry, parent)).is_none());
                }
            }
        }
        units
    }

    /// The leaves below a branch from low to high, and the number of forks.
    fn check_branch(&self, branch: u32, up: Option<NodeId>, bits: u32) -> (Vec<NodeId>, usize) {
        if let Some(leaf) = leaf_of(branch) {
            assert_eq!(self.node(leaf).leaf_up.get(), up, "up is the inverse of child");
            return (vec![leaf], 0);
        }
        let id = node_id(branch);
        let fork = self.node(id);
        assert_eq!(fork.up.get(), up, "up is the inverse of child");
        assert!(fork.bit() < bits, "bits fall on the way down");
        let [(mut low, low_forks), (high, high_forks)] =
            [0, 1].map(|side| self.check_branch(fork.child[side].get(), Some(id), fork.bit()));
        let units = |nodes: &[NodeId]| nodes.iter().map(|&id| self.node(id).base()).collect::<Vec<_>>();
        let (lows, highs) = (units(&low), units(&high));
        assert!(lows.iter().all(|unit| unit >> fork.bit() == lows[0] >> fork.bit()));
        assert!(highs.iter().all(|unit| unit >> fork.bit() == lows[0] >> fork.bit() | 1), "a fork's bit decides");
        low.extend(high);
        (low, low_forks + high_forks + 1)
    }

    /// Invariants 1 to 3, and those of the indexes. The nodes found.
    pub fn check_structure(&self) -> BTreeSet<u32> {
        let held = self.held.take();
        let found = self.check_all();
        self.held.replace(held);
        found
    }

    fn check_all(&self) -> BTreeSet<u32> {
        let (mut indexed, mut roots) = (BTreeSet::new(), BTreeSet::new());
        for space in (0..DOMAINS).flat_map(|owner| KINDS.map(|kind| Space { owner, kind })) {
            let mut end = 0;
            let nodes = self.nodes_of(space);
            if nodes.is_empty() {
                assert!(self.index(space).is_empty());
                continue;
            }
            let (leaves, forks) = self.check_branch(self.index(space).root.get(), None, NO_FORK);
            let group = |id: &NodeId| self.node(*id).base() >> GROUP;
            let mut heads = nodes.clone();
            heads.dedup_by_key(|id| group(id));
            assert_eq!((&leaves, forks), (&heads, heads.len() - 1), "the index leads to the groups in their order");
            let forks = nodes.iter().filter(|&&id| self.node(id).bit() != NO_FORK).count();
            assert_eq!(forks, heads.len() - 1, "one has no fork, nor have those that are no leaves");
            for id in nodes {
                let node = self.node(id);
                assert_eq!(node.space(), space, "a node is in the index of its space");
                assert!(node.count.get() > 0 && node.base() >= end, "nodes of a space do not overlap");
                assert!(!node.rights().is_none(), "a node without rights is gone");
                end = node.end();
                assert!(indexed.insert(id.number()));
                if node.parent().is_none() {
                    roots.insert(id.number());
                }
                if let Some(twin) = node.twin() {
                    let twin_node = self.node(twin);
                    let upper = node.run().after(twin_node.origin() - node.origin());
                    assert!(twin_node.run().starts_as(&upper) || twin_node.is_marked(), "a twin is the upper part");
                    assert!(indexed.insert(twin.number()));
                    if node.parent().is_none() {
                        roots.insert(twin.number());
                    }
                }
            }
        }
        let mut related = BTreeSet::new();
        for root in roots.into_iter().map(node_id) {
            self.check_ring(Some(root), None);
            let mut todo = vec![root];
            while let Some(id) = todo.pop() {
                assert!(related.insert(id.number()), "a node is the child of one node");
                todo.extend(self.check_ring(self.node(id).first.get(), Some(id)));
            }
        }
        assert_eq!(related, indexed, "indexes and trees hold the same nodes");
        related
    }

    /// The nodes of a ring, all of them children of `parent`.
    fn check_ring(&self, first: Option<NodeId>, parent: Option<NodeId>) -> Vec<NodeId> {
        let mut ring = vec![];
        let mut at = first;
        while let Some(id) = at.filter(|id| ring.first() != Some(id)) {
            ring.push(id);
            let node = self.node(id);
            assert_eq!(node.parent(), parent);
            if let Some(parent) = parent.map(|parent| self.node(parent)) {
                assert_eq!(node.origins().and(parent.origins()), node.origins(), "a child's origins are its parent's");
                assert!(parent.rights().contains(node.rights()), "a child's rights are its parent's");
            }
            at = node.next.get();
            assert_eq!(at.and_then(|next| self.node(next).previous.get()), Some(id), "the ring is linked both ways");
        }
        ring
    }

    /// All invariants, between operations.
    pub fn check(&self) {
        let found = self.check_structure();
        assert_eq!(found.len(), self.used(), "nodes in use are the nodes reachable");
        for (&owner, &used) in self.used.borrow().iter() {
            let owned = found.iter().filter(|&&id| self.node(node_id(id)).space().owner == owner).count();
            assert_eq!(owned, used, "each domain pays for its nodes");
        }
    }

    /// Invariant 4.
    pub fn check_joined(&self) {
        let tree = self.tree();
        for owner in 0..DOMAINS {
            for pair in self.nodes_of(memory(owner)).windows(2) {
                let [low, high] = [pair[0], pair[1]].map(|id| self.node(id));
                let joinable = low.parent().is_some() && low.run().continues_in(&high.run());
                assert!(
                    !joinable || !(tree.is_leaf(pair[0]) || tree.is_leaf(pair[1])),
                    "{:?} {:?}",
                    low.piece(),
                    high.piece()
                );
            }
        }
    }
}

/// A name that no node has.
const NO_NODE: u32 = ((1 << 24) - 1) * NodeId::STEP;

const KINDS: [Kind; 3] = [Kind::Memory, Kind::Ports, Kind::Objects];

fn node_id(number: u32) -> NodeId {
    NodeId::new(NonZeroU32::new(number).unwrap())
}

impl Nodes for World {
    fn node(&self, id: NodeId) -> &Node {
        self.looks.set(self.looks.get() + 1);
        &self.nodes[(id.number() / NodeId::STEP) as usize - 1]
    }

    fn index(&self, space: Space) -> &SpaceIndex {
        self.assert_held(space.owner);
        &self.indexes[space.owner as usize * 4 + space.kind as usize]
    }

    fn allocate_run(&self, owner: u32, most: u64) -> Option<(NodeId, u64)> {
        let first = self.take(owner)?;
        let follows = |count: u64| self.free.borrow().last() == Some(&(first.number() + count as u32 * NodeId::STEP));
        let count = (1..most).take_while(|&count| follows(count) && self.take(owner).is_some()).count();
        Some((first, 1 + count as u64))
    }

    fn release(&self, owner: u32, id: NodeId) {
        self.assert_held(owner);
        *self.used.borrow_mut().get_mut(&owner).unwrap() -= 1;
        // What a freed node holds must not matter.
        let node = self.node(id);
        for link in [&node.next, &node.previous, &node.first, &node.up, &node.leaf_up, &node.before, &node.after] {
            link.set(Some(node_id(NO_NODE)));
        }
        node.set_parent(Some(node_id(NO_NODE)));
        node.child.iter().for_each(|child| child.set(NO_NODE));
        self.free.borrow_mut().push(id.number());
    }

    fn recharge(&self, from: u32, to: u32) -> Result<(), Full> {
        let mut used = self.used.borrow_mut();
        if *used.entry(to).or_default() >= self.limit.get() {
            return Err(Full);
        }
        *used.entry(to).or_default() += 1;
        *used.entry(from).or_default() -= 1;
        Ok(())
    }
}

/// What page tables and slots would hold, from the effects alone.
pub struct Mirror<'w> {
    world: &'w World,
    pub entries: BTreeMap<Place, Entry>,
    pub mapped: Vec<Piece>,
    pub revoked: Vec<(Piece, Rights)>,
    pub last: Vec<u64>,
    /// May continue so many times between two preemptions.
    pub slice: usize,
    left: usize,
    /// Whether to check the tree at every report.
    pub checking: bool,
    /// Units that are entered or taken at once.
    pub portion: u64,
    /// Whether what can go a short way does.
    pub short: bool,
    /// Reports of new mappings to refuse after so many.
    pub refuse_after: usize,
    /// Whether nodes of all domains may be touched.
    pub all: bool,
    /// Domains that are held at most, if not all are.
    pub most: usize,
    /// Whether there are rows.
    pub rows: bool,
    /// Units of rows that were entered, and taken.
    pub in_rows: [u64; 2],
    /// Units that something has of which the tree does not know.
    pub foreign: BTreeSet<Place>,
    /// See [`Effects::goes_round`].
    pub round: bool,
}

impl<'w> Mirror<'w> {
    pub fn new(world: &'w World) -> Self {
        let units = world.units().into_iter();
        Self {
            world,
            entries: units.map(|(place, (entry, _))| (place, entry)).collect(),
            mapped: vec![],
            revoked: vec![],
            last: vec![],
            slice: usize::MAX,
            left: usize::MAX,
            checking: true,
            portion: u64::MAX,
            short: false,
            refuse_after: usize::MAX,
            all: true,
            most: usize::MAX,
            rows: true,
            in_rows: [0; 2],
            foreign: BTreeSet::new(),
            round: false,
        }
    }

    pub fn assert_matches(&self) {
        let units = self.world.units().into_iter();
        let tree: BTreeMap<_, _> = units.map(|(place, (entry, _))| (place, entry)).collect();
        assert_eq!(self.entries, tree, "the reports say what the tree holds");
    }
}

fn places(piece: &Piece) -> impl Iterator<Item = (Place, Entry)> {
    let piece = *piece;
    (0..piece.span.count).map(move |offset| {
        let entry = (piece.origin + offset, piece.rights.bits(), piece.attributes.limited(0).0);
        ((piece.space.owner, piece.span.base + offset), entry)
    })
}

impl Effects for Mirror<'_> {
    fn mapped(&mut self, piece: &Piece) -> Result<(), Error> {
        if self.free(piece) != piece.span.count {
            return Err(Error::Occupied);
        }
        if self.refuse_after == 0 {
            return Err(Error::Full);
        }
        self.refuse_after -= 1;
        self.mapped.push(*piece);
        if self.checking {
            self.world.check_structure();
            for (place, entry) in places(piece) {
                assert_eq!(self.entries.insert(place, entry), None, "only free units are mapped");
            }
        }
        Ok(())
    }

    fn goes_round(&self) -> bool {
        self.round
    }

    fn free(&self, piece: &Piece) -> u64 {
        places(piece).take_while(|(place, _)| !self.foreign.contains(place)).count() as u64
    }

    fn revoked(&mut self, piece: &Piece, left: Rights, last: bool) {
        self.revoked.push((*piece, left));
        if last {
            self.last.push(piece.origin);
        }
        if self.checking {
            self.world.check_structure();
            for (place, entry) in places(piece) {
                assert_eq!(self.entries.remove(&place), Some(entry), "what is revoked was there");
                if !left.is_none() {
                    self.entries.insert(place, (entry.0, left.bits(), entry.2));
                }
            }
        }
    }

    fn raised(&mut self, piece: &Piece) {
        self.world.check_structure();
        for (place, entry) in places(piece) {
            let old = self.entries.insert(place, entry);
            let (origin, rights, attributes) = old.expect("what is raised was there");
            assert_eq!((origin, attributes), (entry.0, entry.2));
            assert!(rights & !entry.1 == 0 && rights != entry.1, "rights are added");
        }
    }

    fn row(&mut self, piece: &Piece) -> Option<impl Row> {
        assert!((piece.span.base ^ (piece.span.end() - 1)) < ROW, "a row is of one group");
        let may = self.rows && self.refuse_after as u64 >= piece.span.count && self.free(piece) == piece.span.count;
        let row = *piece;
        may.then_some(MirroredRow(RefCell::new((self, row))))
    }

    fn revoked_row(&mut self, row: &Piece) {
        self.in_rows[1] += row.span.count;
        self.revoked.push((*row, Rights::NONE));
        if self.checking {
            self.world.check_structure();
            for (place, entry) in places(row) {
                let old = self.entries.remove(&place).expect("what is revoked was there");
                assert_eq!((old.1, old.2), (entry.1, entry.2));
            }
        }
    }

    fn portion(&self, piece: &Piece, _: bool) -> u64 {
        self.portion.min(piece.span.count)
    }

    fn may_reach_all(&mut self) -> bool {
        std::mem::replace(&mut self.all, true)
    }

    fn may_reach(&mut self, owner: u32) -> bool {
        let mut held = self.world.held.borrow_mut();
        let Some(held) = held.as_mut().filter(|held| !held.contains(&owner)) else { return true };
        if held.len() == self.most {
            self.all = true;
            return false;
        }
        held.push(owner);
        true
    }

    fn may_continue(&mut self) -> bool {
        if self.left == 0 || self.left > self.slice {
            self.left = self.slice;
        }
        self.left -= 1;
        self.left > 0
    }
}

struct MirroredRow<'m, 'w>(RefCell<(&'m mut Mirror<'w>, Piece)>);

impl Row for MirroredRow<'_, '_> {
    fn places(&mut self, count: u64) -> impl Iterator<Item = impl FnOnce(u64)> {
        assert!(count <= self.0.borrow().1.span.count, "no more than was asked for");
        (0..count).map(|_| {
            |origin| {
                let (mirror, row) = &mut *self.0.borrow_mut();
                let piece = Piece { span: span(row.span.base, 1), origin, ..*row };
                row.span = span(row.span.base + 1, row.span.count - 1);
                mirror.in_rows[0] += 1;
                mirror.refuse_after -= 1;
                mirror.mapped.push(piece);
                if mirror.checking {
                    for (place, entry) in places(&piece) {
                        assert_eq!(mirror.entries.insert(place, entry), None, "only free units are mapped");
                    }
                }
            }
        })
    }
}

pub fn memory(owner: u32) -> Space {
    Space { owner, kind: Kind::Memory }
}

pub fn span(base: u64, count: u64) -> Span {
    Span { base, count }
}

pub fn piece(owner: u32, base: u64, count: u64, origin: u64, rights: u8) -> Piece {
    let (space, span, rights) = (memory(owner), span(base, count), Rights::new(rights));
    Piece { space, span, origin, rights, attributes: Attributes::NONE }
}
