//! Delegation and revocation: the mapping tree, with the kernel's objects as nodes and the processor's tables as effect.
//!
//! Purpose: what the tree decides becomes page-table entries, bits of a port bitmap, capability slots.
//! Invariants: a domain's tables show exactly what its tree nodes say, and the message pages of its contexts; after a
//! revocation no core uses what was revoked.
//! Concurrency: one lock for the whole tree; cores are made to forget translations after it is released, once for all that
//! an operation has taken.
//! Source: interface §3 and §5; lecture C:241-372; `docs/src/decisions/0003-objects-and-sync.md`.
use crate::domain::{self, map_guest, map_user, restrict_guest, set_ports};
use crate::tables::HARDWARE;
use crate::translations::{self, Cores};
use crate::{lifetime, slots};
use abi::address::{PAGE_BITS, PAGE_SIZE, USER_END};
use abi::crd::MAX_ORDER;
use abi::item::ItemFlags;
use abi::operation::RevokeFlags;
use abi::rights::MemoryRights;
use abi::{Crd, Kind, PhysAddr, Rights, Selector, Status, VirtAddr};
use capability::tree::{
    Attributes as Manner, Effects, Error, Full, Node, NodeId, Nodes, Outcome, Piece, Space, SpaceIndex, Span, Transfer,
    Tree,
};
use capability::word::Capability;
use core::num::NonZeroU32;
use core::sync::atomic::Ordering;
use memory::format::Attributes;
use memory::shootdown::Shootdown;
use objects::{Domain, GRANULE, Ref, Store};
use sync::Spin;

static TREE: Spin<()> = Spin::new(());
/// Steps of the tree's work before the kernel looks whether something else has to run.
const SLICE: u32 = 64;

/// Word of the reference to a node. Names are shorter: they count granules.
fn word(id: NodeId) -> u64 {
    u64::from(id.get().get()) * GRANULE as u64
}

/// The tree's nodes and indices, in the store.
struct Stored<'s>(&'s Store<'s>);

impl Stored<'_> {
    #[inline]
    fn domain(&self, owner: u32) -> &Domain {
        // SAFETY: owners in the tree are `Ref::id` of domains; a domain stays while it has nodes.
        unsafe { self.0.at(owner.into()) }
    }
}

impl Nodes for Stored<'_> {
    #[inline]
    fn node(&self, id: NodeId) -> &Node {
        // SAFETY: names of nodes are made by `allocate` only.
        unsafe { self.0.at(word(id)) }
    }

    fn index(&self, space: Space) -> &SpaceIndex {
        let [memory, ports, objects] = &self.domain(space.owner).spaces;
        match space.kind {
            Kind::Ports => ports,
            Kind::Objects => objects,
            _ => memory,
        }
    }

    #[inline(always)]
    fn allocate(&self, owner: u32) -> Option<NodeId> {
        // SAFETY: as in `domain`.
        let payer = unsafe { self.0.certain(owner.into()) };
        let node = self.0.adopt::<Node>(lifetime::slot(self.0, payer)?);
        NonZeroU32::new((node.to_word() / GRANULE as u64) as u32).map(NodeId::new)
    }

    #[inline(always)]
    fn release(&self, _owner: u32, id: NodeId) {
        // SAFETY: the tree names a node only while it is allocated, and nobody looks at nodes without its lock.
        unsafe { lifetime::remove(self.0, self.0.certain::<Node>(word(id)), None) };
    }

    fn recharge(&self, _from: u32, _to: u32) -> Result<(), Full> {
        Ok(())
    }
}

/// What the tree's decisions do to the machine.
struct Machine<'s> {
    stored: &'s Stored<'s>,
    /// What translations may be stale where.
    shootdown: Shootdown,
    /// How often the tree has asked whether to go on.
    steps: u32,
}

/// Rights of a mapping as page-table attributes.
pub fn attributes(rights: Rights) -> Attributes {
    let rights = MemoryRights::from(rights);
    let mut attributes = Attributes::READ;
    attributes.set(Attributes::WRITE, rights.contains(MemoryRights::WRITE));
    attributes.set(Attributes::EXECUTE, rights.contains(MemoryRights::EXECUTE));
    attributes
}

/// The part of a piece of memory that the page tables show: virtual address, physical address, size in bytes.
fn shown(piece: &Piece) -> (u64, PhysAddr, u64) {
    let pages = Span { base: 0, count: USER_END >> PAGE_BITS };
    let piece = piece.within(pages);
    (piece.span.base << PAGE_BITS, PhysAddr::truncate(piece.origin << PAGE_BITS), piece.span.count << PAGE_BITS)
}

impl<'s> Machine<'s> {
    fn new(stored: &'s Stored<'s>) -> Self {
        Self { stored, shootdown: translations::shootdown(), steps: 0 }
    }

    /// Writes the capabilities of a piece of an object space.
    fn fill(&self, piece: &Piece, rights: Rights) -> Result<(), Full> {
        let domain = self.stored.domain(piece.space.owner);
        for unit in 0..piece.span.count {
            let slot = slots::slot(domain, Selector::new(piece.span.base + unit)).map_err(|_| Full)?;
            slot.store(Capability::from_origin(piece.origin + unit, rights).word(), Ordering::Release);
        }
        Ok(())
    }
}

impl Effects for Machine<'_> {
    fn mapped(&mut self, piece: &Piece) -> Result<(), Full> {
        let domain = self.stored.domain(piece.space.owner);
        match piece.space.kind {
            Kind::Memory => {
                let (virt, phys, size) = shown(piece);
                let master = domain.master();
                let mut mapped = map_user(domain, virt, phys, size, attributes(piece.rights));
                if piece.attributes.has(Manner::GUEST) && mapped.is_ok() {
                    mapped = map_guest(domain, virt, phys, size, attributes(piece.rights))
                        .inspect_err(|_| restrict_guest(domain, (virt, size), Attributes::empty()));
                }
                mapped.map_err(|_| {
                    // Nothing stays behind of it; a page that was there already (a message page) does.
                    let entered = |offset: &u64| {
                        let shown = master.lookup(&HARDWARE, VirtAddr::new(virt + offset));
                        shown.is_some_and(|(at, ..)| at == phys.offset(*offset))
                    };
                    let pages = (0..size).step_by(PAGE_SIZE as usize).take_while(entered).count();
                    let range = (virt, pages as u64 * PAGE_SIZE);
                    translations::restrict(domain, range, Attributes::empty(), &mut self.shootdown);
                    Full
                })
            }
            Kind::Ports => {
                let guests = piece.attributes.has(Manner::GUEST).then(|| set_ports(domain, piece.span, true, true));
                guests.unwrap_or(Ok(())).and_then(|()| set_ports(domain, piece.span, true, false)).map_err(|_| {
                    let _ = guests.map(|_| set_ports(domain, piece.span, false, true));
                    Full
                })
            }
            _ => self.fill(piece, piece.rights).inspect_err(|_| {
                // What was filled before is emptied; it fails where it failed.
                let _ = self.fill(piece, Rights::NONE);
            }),
        }
    }

    fn raised(&mut self, piece: &Piece) {
        let domain = self.stored.domain(piece.space.owner);
        match piece.space.kind {
            Kind::Memory => {
                let ((virt, phys, size), rights) = (shown(piece), attributes(piece.rights));
                let (range, none) = ((virt, size), Attributes::empty());
                // A part of a larger page is mapped anew.
                if !domain::raise(domain, range, rights, false) {
                    translations::restrict(domain, range, none, &mut self.shootdown);
                    let _ = map_user(domain, virt, phys, size, rights);
                }
                if piece.attributes.has(Manner::GUEST) && !domain::raise(domain, range, rights, true) {
                    restrict_guest(domain, range, none);
                    self.shootdown.add_all(&Cores);
                    let _ = map_guest(domain, virt, phys, size, rights);
                }
            }
            // The slots are there.
            Kind::Objects => drop(self.fill(piece, piece.rights)),
            // A port is allowed or not.
            _ => {}
        }
    }

    fn may_continue(&mut self) -> bool {
        self.steps += 1;
        self.steps < SLICE
    }

    fn revoked(&mut self, piece: &Piece, left: Rights, last: bool) {
        let domain = self.stored.domain(piece.space.owner);
        match piece.space.kind {
            Kind::Memory => {
                let (virt, _, size) = shown(piece);
                let rights = Attributes::READ | Attributes::WRITE | Attributes::EXECUTE;
                let left = if left.is_none() { Attributes::empty() } else { !rights | attributes(left) };
                translations::restrict(domain, (virt, size), left, &mut self.shootdown);
                if piece.attributes.has(Manner::GUEST) {
                    restrict_guest(domain, (virt, size), left);
                    self.shootdown.add_all(&Cores);
                }
            }
            Kind::Ports if left.is_none() => {
                // There is a bitmap: the ports were allowed in it. Processors look at it at each access.
                let _ = set_ports(domain, piece.span, false, false);
                if piece.attributes.has(Manner::GUEST) {
                    let _ = set_ports(domain, piece.span, false, true);
                }
            }
            // The slots are there, so that nothing can be missing.
            Kind::Objects => drop(self.fill(piece, left)),
            _ => {}
        }
        if last && piece.space.kind == Kind::Objects {
            let store = self.stored.0;
            (0..piece.span.count).for_each(|unit| lifetime::unnamed(store, piece.origin + unit, &mut self.shootdown));
        }
    }
}

/// `span` of a space of `owner`, from `origin` on, without attributes.
pub fn piece(owner: Ref<Domain>, kind: Kind, span: Span, origin: u64, rights: Rights) -> Piece {
    let space = Space { owner: owner.id().get(), kind };
    Piece { space, span, origin, rights, attributes: Manner::NONE }
}

/// Enters something that comes from nowhere: a resource of the machine.
///
/// # Errors
/// [`Status::BadCapability`] if the place is taken, [`Status::QuotaExhausted`].
pub fn enter(store: &Store<'_>, piece: &Piece) -> Result<(), Status> {
    let _tree = TREE.lock();
    insert(store, piece)
}

/// As [`enter`], with the tree's lock held.
#[inline(always)]
fn insert(store: &Store<'_>, piece: &Piece) -> Result<(), Status> {
    let entered = Tree(&Stored(store)).insert_root(piece);
    entered.map_err(|error| if error == Error::Occupied { Status::BadCapability } else { Status::QuotaExhausted })
}

/// Enters a new object into the object space of `owner`, and its capability into the slot.
///
/// # Errors
/// As [`enter`].
#[inline(always)]
pub fn publish(store: &Store<'_>, owner: Ref<Domain>, at: Selector, capability: Capability) -> Result<(), Status> {
    let span = Span { base: u64::from(at.slot()), count: 1 };
    // Until the slot is filled, so that a revocation that comes at once finds it.
    let _tree = TREE.lock();
    insert(store, &piece(owner, Kind::Objects, span, capability.origin(), capability.rights()))?;
    if slots::fill_shown(store, owner, at, capability) {
        return Ok(());
    }
    slots::slot(store.get(owner), at).map(|slot| slot.store(capability.word(), Ordering::Release)).map_err(|_| {
        let _ = Tree(&Stored(store)).remove(Space { owner: owner.id().get(), kind: Kind::Objects }, span.base);
        Status::QuotaExhausted
    })
}

/// Delegates `rights` to `range` of a space of `from` to the space of `to`, from `base` on, as the flags of the item say.
///
/// # Errors
/// [`Status::QuotaExhausted`] if it could be done in part only, [`Status::BadParameter`] if source and destination
/// overlap.
pub fn delegate(
    store: &Store<'_>,
    (from, kind): (Ref<Domain>, Kind),
    range: Span,
    (to, base): (Ref<Domain>, u64),
    (rights, flags): (Rights, ItemFlags),
) -> Result<(), Status> {
    let (stored, from, to) = (Stored(store), Space { owner: from.id().get(), kind }, to.id().get());
    let manner = |flag, manner| if flags.contains(flag) { manner } else { Manner::NONE };
    let attributes = manner(ItemFlags::GUEST, Manner::GUEST).or(manner(ItemFlags::LAST, Manner::LAST));
    let transfer = Transfer { from, range, to, base, rights, attributes };
    if flags.intersects(ItemFlags::RAISE | ItemFlags::REPLACE) && !flags.intersects(ItemFlags::GRANT | ItemFlags::COPY)
    {
        overmap(&stored, &transfer, flags.contains(ItemFlags::REPLACE))?;
    }
    loop {
        let mut machine = Machine::new(&stored);
        let guard = TREE.lock();
        let outcome = match flags {
            _ if flags.contains(ItemFlags::GRANT) => Tree(&stored).grant(&transfer, &mut machine),
            _ if flags.contains(ItemFlags::COPY) => Tree(&stored).copy(&transfer, &mut machine),
            _ => Tree(&stored).delegate(&transfer, &mut machine),
        };
        drop(guard);
        machine.shootdown.finish(&Cores);
        if is_done(outcome)? {
            return Ok(());
        }
    }
}

/// Whether an operation has come to its end, or why it never will.
fn is_done(outcome: Result<Outcome, Error>) -> Result<bool, Status> {
    match outcome {
        Ok(outcome) => Ok(outcome == Outcome::Done),
        Err(Error::Full) => Err(Status::QuotaExhausted),
        Err(_) => Err(Status::BadParameter),
    }
}

/// What is in the way of a delegation gets its rights, or with `replace` goes.
#[cold]
fn overmap(stored: &Stored<'_>, transfer: &Transfer, replace: bool) -> Result<(), Status> {
    loop {
        let mut machine = Machine::new(stored);
        let guard = TREE.lock();
        let outcome = Tree(stored).overmap(transfer, replace, &mut machine);
        drop(guard);
        machine.shootdown.finish(&Cores);
        if is_done(outcome)? {
            return Ok(());
        }
    }
}

/// Takes `rights` from everybody who has them from `range` of `owner`; with the flag for it, from `owner` too, or from
/// `owner` alone. When it returns, no core uses them. False if there is more to do: the same has to be asked for again.
pub fn revoke(
    store: &Store<'_>,
    owner: Ref<Domain>,
    kind: Kind,
    range: Span,
    rights: Rights,
    flags: RevokeFlags,
) -> bool {
    let stored = Stored(store);
    let mut machine = Machine::new(&stored);
    let space = Space { owner: owner.id().get(), kind };
    let guard = TREE.lock();
    let outcome = if flags.contains(RevokeFlags::KEEP) {
        Tree(&stored).revoke_keep(space, range, rights, &mut machine)
    } else {
        Tree(&stored).revoke(space, range, rights, flags.contains(RevokeFlags::SELF), &mut machine)
    };
    drop(guard);
    machine.shootdown.finish(&Cores);
    if outcome.is_err() {
        crate::log::warning!("no kernel memory to divide a mapping that is revoked in part");
    }
    outcome != Ok(Outcome::Preempted)
}

/// As [`revoke`] of all of it, for an object that `owner` alone has, at `unit` alone; the object's [`lifetime::unnamed`] is
/// left to the caller, who is told its name there. `None`, with nothing done, if there is none.
#[inline(always)]
pub fn remove(store: &Store<'_>, owner: Ref<Domain>, unit: u64) -> Option<u64> {
    let _tree = TREE.lock();
    let space = Space { owner: owner.id().get(), kind: Kind::Objects };
    let origin = Tree(&Stored(store)).remove(space, unit)?;
    if !slots::fill_shown(store, owner, Selector::new(unit), Capability::NULL)
        && let Some(slot) = slots::known(store.get(owner), Selector::new(unit))
    {
        slot.store(Capability::NULL.word(), Ordering::Release);
    }
    Some(origin)
}

/// Takes everything from the spaces of a domain that nobody uses. False if there is more to do.
pub fn clear(store: &Store<'_>, owner: Ref<Domain>) -> bool {
    let kinds = [Kind::Memory, Kind::Ports, Kind::Objects].into_iter().zip(&store.get(owner).spaces);
    // Who has found it before may still give it something: that is seen when nobody can any more.
    let mut left = kinds.filter(|(_, index)| !index.is_empty());
    left.all(|(kind, _)| revoke(store, owner, kind, Span::ALL, Rights::ALL, RevokeFlags::SELF))
}

/// The mapping of `owner` that holds the first unit of `range`: as much of it around there as has one order.
pub fn lookup(store: &Store<'_>, owner: Ref<Domain>, range: Crd) -> Crd {
    if range.kind() == Kind::Null {
        return Crd::NULL;
    }
    let (stored, space) = (Stored(store), Space { owner: owner.id().get(), kind: range.kind() });
    let guard = TREE.lock();
    let found = Tree(&stored).lookup(space, range.base());
    drop(guard);
    let around = |order: u32, span: Span| {
        let base = range.base() >> order << order;
        base >= span.base && base + (1 << order) <= span.end()
    };
    found.map_or(Crd::NULL, |piece| {
        let order = (0..=MAX_ORDER).rev().find(|&order| around(order, piece.span)).unwrap_or(0);
        Crd::new(range.kind(), piece.rights, order, range.base() >> order << order).unwrap_or(Crd::NULL)
    })
}

/// What `range` of `sender` is called in the space of `receiver`, within its `window`; null if nothing.
pub fn translate(store: &Store<'_>, sender: Ref<Domain>, range: Crd, receiver: Ref<Domain>, window: Crd) -> Crd {
    if range.kind() != window.kind() || range.kind() == Kind::Null {
        return Crd::NULL;
    }
    let stored = Stored(store);
    let space = Space { owner: sender.id().get(), kind: range.kind() };
    let span = |crd: Crd| Span { base: crd.aligned_base(), count: crd.count() };
    let guard = TREE.lock();
    let found = Tree(&stored).translate(space, span(range), receiver.id().get(), span(window));
    drop(guard);
    let order = |piece: &Piece| piece.span.count.ilog2().min(piece.span.base.trailing_zeros());
    found.and_then(|piece| Crd::new(range.kind(), piece.rights, order(&piece), piece.span.base)).unwrap_or(Crd::NULL)
}
