//! Delegation and revocation: the mapping tree, with the kernel's objects as nodes and the processor's tables as effect.
//!
//! Purpose: what the tree decides becomes page-table entries, bits of a port bitmap, capability slots.
//! Invariants: a domain's tables show exactly what its tree nodes say, and the message pages of its contexts; after a
//! revocation no core uses what was revoked.
//! Concurrency: the regions of the domains that an operation touches, or all; cores are made to forget translations after they
//! are released, once for all that an operation has taken.
//! Source: interface §3 and §5; lecture C:241-372; `docs/src/decisions/0003-objects-and-sync.md`.
use crate::domain::{self, map_guest, map_user, restrict_guest, set_ports};
use crate::tables::HARDWARE;
use crate::translations::{self, Cores};
use crate::{lifetime, slots};
use abi::address::{PAGE_BITS, PAGE_SIZE, USER_END};
use abi::item::ItemFlags;
use abi::operation::Noted;
use abi::rights::MemoryRights;
use abi::{Kind, PhysAddr, Rights, Selector, Status, VirtAddr};
use capability::tree::{Attributes as Manner, Effects, Error, Outcome, Piece, ROW, Row, Space, Span, Transfer, Tree};
use capability::word::Capability;
use core::sync::atomic::{AtomicU64, Ordering};
use memory::format::{Attributes, Host};
use memory::shootdown::Shootdown;
use memory::table::{MapError, Table};
use objects::{Domain, Ref, Store};
use percpu::Hazard;
use sync::Closed;

pub mod lock;
mod query;
mod revoke;
mod short;
mod stored;
use lock::Met;
pub use query::{lookup, translate};
pub use revoke::{clear, revoke, revoke_later, revoke_reporting};
pub use short::{delegate_run, revoke_run};
use short::{leaf, make_table};
use stored::{Stored, exact_number, number};

/// Steps of the tree's work before the kernel looks whether something else has to run, and small pages that count as one.
const SLICE: u32 = 2;
const PAGES: u64 = 16;
/// Small pages, capabilities and ports that are mapped or taken in one go.
const PORTION: [u64; 3] = [128, 16, 4096];
/// The first of the pages whose table of leaves has one that is not for users.
const END: u64 = (USER_END >> PAGE_BITS) / LARGE * LARGE;
/// Pages of a large page, and of those that are.
const LARGE: u64 = 512;
const MANY: u64 = 8 * LARGE;
/// No domain's number.
const NOBODY: u32 = u32::MAX;

/// Whether this core is to do something else before long.
pub fn waits() -> bool {
    let shared = &percpu::this().shared;
    shared.pending(Hazard::Schedule) || arch::apic::is_requested()
}

/// The table of leaves that was used last.
struct Leaves {
    /// Whose.
    owner: u32,
    /// Which 2 MiB.
    region: u64,
    table: PhysAddr,
    /// An entry for physical page 0 with `rights`.
    entry: u64,
    rights: Rights,
}

/// What the tree's decisions do to the machine.
struct Machine<'s> {
    stored: &'s Stored<'s>,
    /// What translations may be stale where.
    shootdown: Shootdown,
    /// Steps until the lock is given away for a moment, and it is looked whether something waits.
    left: u32,
    leaves: Option<Leaves>,
    /// Whether all regions are to be held.
    all: bool,
    /// What is in the way of what is entered is what was given there before.
    replaces: bool,
    /// Those that are, if they are taken one by one, and the domain whose was last.
    met: Option<Met<'s>>,
    reached: u32,
}

/// Rights of a mapping as page-table attributes.
pub fn attributes(rights: Rights) -> Attributes {
    let rights = MemoryRights::from(rights);
    let mut attributes = Attributes::READ;
    attributes.set(Attributes::WRITE, rights.contains(MemoryRights::WRITE));
    attributes.set(Attributes::EXECUTE, rights.contains(MemoryRights::EXECUTE));
    attributes
}

/// As [`attributes`], of a piece of memory, with its type.
fn manner(piece: &Piece) -> Attributes {
    let combining = piece.attributes.has(Manner::WRITE_COMBINING);
    attributes(piece.rights) | if combining { Attributes::WRITE_COMBINING } else { Attributes::empty() }
}

/// What of a page-table entry stays if these rights do.
#[inline(always)]
fn remaining(left: Rights) -> Attributes {
    let rights = Attributes::READ | Attributes::WRITE | Attributes::EXECUTE;
    if left.is_none() { Attributes::empty() } else { !rights | attributes(left) }
}

/// The part of a piece of memory that the page tables show: virtual address, physical address, size in bytes.
fn shown(piece: &Piece) -> (u64, PhysAddr, u64) {
    let pages = Span { base: 0, count: USER_END >> PAGE_BITS };
    let piece = piece.within(pages);
    (piece.span.base << PAGE_BITS, PhysAddr::truncate(piece.origin << PAGE_BITS), piece.span.count << PAGE_BITS)
}

impl<'s> Machine<'s> {
    fn new(stored: &'s Stored<'s>) -> Self {
        Self {
            stored,
            shootdown: translations::shootdown(),
            left: SLICE,
            leaves: None,
            all: true,
            replaces: false,
            met: None,
            reached: NOBODY,
        }
    }

    /// The table of leaves with all of a piece of memory that is entered, or taken, if there is one, or if it is to be
    /// entered; and the entry for physical page 0.
    #[inline(always)]
    fn leaves(&mut self, piece: &Piece, enter: bool) -> Option<(Table<Host>, u64)> {
        let (region, inside) = (piece.span.base / LARGE, piece.span.base % LARGE);
        let special = if enter { Manner::GUEST.or(Manner::WRITE_COMBINING) } else { Manner::GUEST };
        if inside + piece.span.count > LARGE || piece.span.count == LARGE || piece.attributes.has_any(special) {
            return None;
        }
        let known = |leaves: &Leaves| (leaves.owner, leaves.region) == (piece.space.owner, region);
        if !self.leaves.as_ref().is_some_and(|leaves| known(leaves) && leaves.rights == piece.rights) {
            self.find_leaves(piece, enter);
        }
        self.leaves.as_ref().map(|leaves| (Table::new(leaves.table), leaves.entry))
    }

    #[inline(never)]
    fn find_leaves(&mut self, piece: &Piece, enter: bool) {
        self.leaves = None;
        let (domain, virt) = (self.stored.domain(piece.space.owner), VirtAddr::new(piece.span.base << PAGE_BITS));
        if piece.span.base >= END {
            return;
        }
        let known = domain.latest.table_at(&HARDWARE, domain.master(), virt, 1);
        let table = known.or_else(|| enter.then(|| make_table(domain, virt, 1)).flatten());
        self.leaves = table.map(|table| Leaves {
            owner: piece.space.owner,
            region: piece.span.base / LARGE,
            table: table.root(),
            entry: leaf(1, piece.rights),
            rights: piece.rights,
        });
    }

    /// Before `piece` is taken by the tables' general way.
    fn work(&mut self, piece: &Piece) {
        (self.leaves, self.left) = (None, self.left.saturating_sub((piece.span.count / PAGES) as u32));
    }

    /// Begins a slice of what is done to a domain: with all regions, or with its own.
    fn begin(&mut self, owner: Ref<Domain>) -> Option<Closed<'static>> {
        self.met = (!self.all).then(|| lock::met(self.stored.domain(number(owner))));
        self.all.then(lock::all)
    }

    /// Before the lock is given away, and a new slice begins.
    fn pause(&mut self) {
        (self.leaves, self.left, self.met, self.reached) = (None, SLICE, None, NOBODY);
    }

    /// Takes the region of `owner`, if not all are held; otherwise all are to be.
    #[inline(never)]
    fn reach(&mut self, owner: u32) -> bool {
        let domain = self.stored.domain(owner);
        let may = self.met.as_mut().is_none_or(|met| met.add(domain));
        if may {
            self.reached = owner
        } else {
            self.all = true
        }
        may
    }

    /// At the end of a slice: whether nobody waits. To begin anew costs far more than to look.
    #[inline(never)]
    fn look(&mut self) -> bool {
        self.left = SLICE;
        !lock::is_wanted() && !waits()
    }

    /// How much of a piece of more than a few units is entered at its start, or taken at its end, in one go.
    fn large_portion(&self, piece: &Piece, enter: bool) -> u64 {
        let (kind, count) = (piece.space.kind, piece.span.count);
        if kind != Kind::Memory {
            return count.min(PORTION[if kind == Kind::Objects { 1 } else { 2 }]);
        }
        let (base, end) = (piece.span.base, piece.span.end());
        // Up to where one table ends.
        let (inside, few) = if enter {
            (base % LARGE, PORTION[0].min(LARGE - base % LARGE))
        } else {
            (end % LARGE, PORTION[0].min((end - 1) % LARGE + 1))
        };
        let large = count >= LARGE && (base ^ piece.origin).is_multiple_of(LARGE) && inside == 0;
        if !large {
            return count.min(few);
        }
        if enter {
            return count.min(MANY) / LARGE * LARGE;
        }
        let master = self.stored.domain(piece.space.owner).master();
        let is_large = |last: &u64| {
            let shown = master.lookup(&HARDWARE, VirtAddr::new((end - LARGE * last) << PAGE_BITS));
            shown.is_none_or(|(.., level)| level > 1)
        };
        match (1..=count.min(MANY) / LARGE).take_while(is_large).last() {
            Some(pages) => pages * LARGE,
            _ => count.min(few),
        }
    }

    /// Enters a piece into the domain's tables; all of it or nothing.
    fn enter(&mut self, piece: &Piece) -> Result<(), Error> {
        let domain = self.stored.domain(piece.space.owner);
        match piece.space.kind {
            Kind::Memory => {
                self.leaves = None;
                let (virt, phys, size) = shown(piece);
                self.left = self.left.saturating_sub((piece.span.count / PAGES) as u32);
                let master = domain.master();
                let mut mapped = map_user(domain, virt, phys, size, manner(piece));
                if piece.attributes.has(Manner::GUEST) && mapped.is_ok() {
                    // Guests may have used some of it already.
                    mapped = map_guest(domain, virt, phys, size, manner(piece))
                        .inspect_err(|_| _ = self.take_from_guests(domain, (virt, size), Attributes::empty()));
                }
                mapped.map_err(|error| {
                    // Nothing stays behind of it; a page that was there already (a message page) does.
                    let mut done = 0;
                    while done < size
                        && let Some((at, _, level)) = master.lookup(&HARDWARE, VirtAddr::new(virt + done))
                        && at == phys.offset(done)
                    {
                        done += if level > 1 { LARGE << PAGE_BITS } else { PAGE_SIZE };
                    }
                    translations::restrict(domain, (virt, done.min(size)), Attributes::empty(), &mut self.shootdown);
                    // Of the tables' entries the tree has all but those of message pages.
                    if matches!(error, MapError::Occupied(_)) { Error::Occupied } else { Error::Full }
                })
            }
            Kind::Ports => {
                let guests = piece.attributes.has(Manner::GUEST).then(|| set_ports(domain, piece.span, true, true));
                guests.unwrap_or(Ok(())).and_then(|()| set_ports(domain, piece.span, true, false)).map_err(|_| {
                    let _ = guests.map(|_| set_ports(domain, piece.span, false, true));
                    Error::Full
                })
            }
            _ => self.fill(piece, piece.rights).inspect_err(|_| {
                // What was filled before is emptied; it fails where it failed.
                let _ = self.fill(piece, Rights::NONE);
            }),
        }
    }

    /// Takes memory from the guests of a domain; what was noted there.
    fn take_from_guests(&mut self, domain: &Domain, range: (u64, u64), left: Attributes) -> Noted {
        let noted = restrict_guest(domain, range, left);
        self.shootdown.add_cores(&Cores, domain.guests.load(Ordering::SeqCst));
        noted
    }

    /// Writes the capabilities of a piece of an object space.
    fn fill(&self, piece: &Piece, rights: Rights) -> Result<(), Error> {
        let domain = self.stored.domain(piece.space.owner);
        for unit in 0..piece.span.count {
            let slot = slots::slot(domain, Selector::new(piece.span.base + unit)).map_err(|_| Error::Full)?;
            slot.store(Capability::from_origin(piece.origin + unit, rights).word(), Ordering::Release);
        }
        Ok(())
    }
}

/// Entries of a table of leaves, and that for physical page 0.
struct Entries(&'static [AtomicU64], u64);

impl Row for Entries {
    #[inline(always)]
    fn places(&mut self, count: u64) -> impl Iterator<Item = impl FnOnce(u64)> {
        let (places, entry) = (self.0.split_off(..count as usize).unwrap_or_default(), self.1);
        places.iter().map(move |place| move |origin| place.store(entry | origin << PAGE_BITS, Ordering::Release))
    }
}

impl Effects for Machine<'_> {
    #[inline(always)]
    fn row(&mut self, piece: &Piece) -> Option<impl Row> {
        if piece.space.kind != Kind::Memory {
            return None;
        }
        // It lies in one table.
        const { assert!(LARGE.is_multiple_of(ROW)) };
        let (table, entry) = self.leaves(piece, true)?;
        // It is a slice.
        self.left = 1;
        let (words, first) = (HARDWARE.words(table.root()), (piece.span.base % LARGE) as usize);
        let places = words.get(first..first + piece.span.count as usize)?;
        arch::pool::are_zero(places).then_some(Entries(places, entry))
    }

    #[inline(always)]
    fn revoked_row(&mut self, row: &Piece) {
        if let Some((table, _)) = self.leaves(row, false) {
            let domain = self.stored.domain(row.space.owner);
            let range = (row.span.base << PAGE_BITS, row.span.count << PAGE_BITS);
            let none = Attributes::empty();
            translations::restrict_leaves(domain, table.root(), range, none, &mut self.shootdown);
        } else {
            self.revoked(row, Rights::NONE, false);
        }
        self.left = 1;
    }

    #[inline(always)]
    fn mapped(&mut self, piece: &Piece) -> Result<(), Error> {
        if piece.space.kind == Kind::Memory
            && let Some((table, entry)) = self.leaves(piece, true)
        {
            let (virt, entry) = (piece.span.base << PAGE_BITS, entry | piece.origin << PAGE_BITS);
            self.left = self.left.saturating_sub((piece.span.count / PAGES) as u32);
            let entered = table.enter(&HARDWARE, (1, VirtAddr::new(virt)), piece.span.count, entry);
            return if entered { Ok(()) } else { Err(Error::Occupied) };
        }
        self.enter(piece)
    }

    fn goes_round(&self) -> bool {
        self.replaces
    }

    fn free(&self, piece: &Piece) -> u64 {
        if piece.space.kind != Kind::Memory {
            return piece.span.count;
        }
        let (virt, _, size) = shown(piece);
        let free = self.stored.domain(piece.space.owner).master().free(&HARDWARE, (VirtAddr::new(virt), size));
        if free == size { piece.span.count } else { free >> PAGE_BITS }
    }

    fn raised(&mut self, piece: &Piece) {
        self.leaves = None;
        let domain = self.stored.domain(piece.space.owner);
        match piece.space.kind {
            Kind::Memory => {
                let ((virt, _, size), rights) = (shown(piece), manner(piece));
                let (range, all) = ((virt, size), Attributes::all());
                // A larger page of which it is a part is divided.
                if !domain::raise(domain, range, rights, false) {
                    translations::restrict(domain, range, all, &mut self.shootdown);
                    domain::raise(domain, range, rights, false);
                }
                if piece.attributes.has(Manner::GUEST) && !domain::raise(domain, range, rights, true) {
                    let _ = self.take_from_guests(domain, range, all);
                    domain::raise(domain, range, rights, true);
                }
            }
            // The slots are there.
            Kind::Objects => drop(self.fill(piece, piece.rights)),
            // A port is allowed or not.
            _ => {}
        }
    }

    #[inline(always)]
    fn portion(&self, piece: &Piece, enter: bool) -> u64 {
        if piece.span.count <= PORTION[1] { piece.span.count } else { self.large_portion(piece, enter) }
    }

    fn may_reach_all(&mut self) -> bool {
        core::mem::replace(&mut self.all, true)
    }

    #[inline(always)]
    fn may_reach(&mut self, owner: u32) -> bool {
        self.reached == owner || self.reach(owner)
    }

    #[inline(always)]
    fn may_continue(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left != 0 || self.look()
    }

    fn revoked(&mut self, piece: &Piece, left: Rights, last: bool) {
        let domain = self.stored.domain(piece.space.owner);
        match piece.space.kind {
            Kind::Memory => {
                self.left = self.left.saturating_sub((piece.span.count / PAGES) as u32);
                let left = remaining(left);
                if let Some((table, _)) = self.leaves(piece, false) {
                    let (table, range) = (table.root(), (piece.span.base << PAGE_BITS, piece.span.count << PAGE_BITS));
                    return translations::restrict_leaves(domain, table, range, left, &mut self.shootdown);
                }
                self.leaves = None;
                let (virt, _, size) = shown(piece);
                translations::restrict(domain, (virt, size), left, &mut self.shootdown);
                if piece.attributes.has(Manner::GUEST) {
                    let _ = self.take_from_guests(domain, (virt, size), left);
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
            Kind::Objects => {
                self.left = self.left.saturating_sub(piece.span.count as u32);
                let _ = self.fill(piece, left);
            }
            _ => {}
        }
        if last && piece.space.kind == Kind::Objects {
            let store = self.stored.0;
            (0..piece.span.count).for_each(|unit| lifetime::unnamed(store, piece.origin + unit, &mut self.shootdown));
        }
    }
}

/// A space of a domain.
const fn space(owner: Ref<Domain>, kind: Kind) -> Space {
    Space { owner: number(owner), kind }
}

/// `span` of a space of `owner`, from `origin` on, without attributes.
pub fn piece(owner: Ref<Domain>, kind: Kind, span: Span, origin: u64, rights: Rights) -> Piece {
    let space = Space { owner: exact_number(owner), kind };
    Piece { space, span, origin, rights, attributes: Manner::NONE }
}

/// Enters something that comes from nowhere: a resource of the machine.
///
/// # Errors
/// [`Status::BadCapability`] if the place is taken, [`Status::QuotaExhausted`].
pub fn enter(store: &Store<'_>, piece: &Piece) -> Result<(), Status> {
    let _all = lock::all();
    insert(store, piece)
}

/// As [`enter`], with the region of whoever gets it held.
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
    let domain = store.get(owner);
    let _region = lock::of(domain, domain);
    insert(store, &piece(owner, Kind::Objects, span, capability.origin(), capability.rights()))?;
    if slots::fill_shown(store, owner, at, capability) {
        return Ok(());
    }
    slots::slot(store.get(owner), at).map(|slot| slot.store(capability.word(), Ordering::Release)).map_err(|_| {
        let _ = Tree(&Stored(store)).remove(space(owner, Kind::Objects), span.base);
        Status::QuotaExhausted
    })
}

/// Delegates `rights` to `range` of a space of `from` to the space of `to`, from `base` on, as the flags of the item say. With
/// units that are `done` already it may leave the rest, if something else is to run first: then it says how many are done,
/// otherwise `None`.
///
/// # Errors
/// [`Status::QuotaExhausted`] if it could be done in part only, [`Status::BadParameter`] if source and destination
/// overlap.
pub fn delegate(
    store: &Store<'_>,
    (from, kind): (Ref<Domain>, Kind),
    range: Span,
    (to, base): (Ref<Domain>, u64),
    (rights, flags, limit): (Rights, ItemFlags, u8),
    done: &mut Option<u64>,
) -> Result<(), Status> {
    let (space, attributes) = (space(from, kind), asked(flags).limited(u16::from(limit)));
    let transfer = Transfer { from: space, range, to: number(to), base, rights, attributes };
    delegate_all(&Stored(store), (from, to), transfer, flags, done)
}

/// What flags of an item say that threads' mappings have.
const fn last(flags: ItemFlags) -> Manner {
    if flags.contains(ItemFlags::LAST) { Manner::LAST } else { Manner::NONE }
}

/// What flags of an item say of a mapping, whoever has it.
const fn asked(flags: ItemFlags) -> Manner {
    const { assert!(ItemFlags::GUEST.bits() >> 4 == Manner::GUEST.0 as u64) };
    const { assert!(ItemFlags::WRITE_COMBINING.bits() >> 4 == Manner::WRITE_COMBINING.0 as u64) };
    let same = Manner((flags.bits() >> 4) as u16 & Manner::GUEST.or(Manner::WRITE_COMBINING).0);
    last(flags).or(same)
}

/// As [`delegate`], whatever it takes.
#[inline(never)]
fn delegate_all(
    stored: &Stored<'_>,
    (from, to): (Ref<Domain>, Ref<Domain>),
    mut transfer: Transfer,
    flags: ItemFlags,
    done: &mut Option<u64>,
) -> Result<(), Status> {
    let first = transfer.range.base;
    let mut machine = Machine::new(stored);
    transfer.cut(done.unwrap_or(0).min(transfer.range.count));
    // What is made of something else than nodes of the giver's touches who that is from.
    machine.all = flags.intersects(ItemFlags::RAISE | ItemFlags::REPLACE | ItemFlags::GRANT | ItemFlags::COPY);
    let over = flags.intersects(ItemFlags::RAISE | ItemFlags::REPLACE)
        && !flags.intersects(ItemFlags::GRANT | ItemFlags::COPY);
    machine.replaces = over && flags.contains(ItemFlags::REPLACE);
    let way = if over { make_way(stored, transfer, flags, &mut machine) } else { Ok(Outcome::Done) };
    let outcome = way.and_then(|_| {
        loop {
            let _all = machine.all.then(lock::all);
            let _two = (!machine.all).then(|| lock::of(stored.0.get(from), stored.0.get(to)));
            let outcome = match flags {
                _ if flags.contains(ItemFlags::GRANT) => Tree(stored).grant(&mut transfer, &mut machine),
                _ if flags.contains(ItemFlags::COPY) => Tree(stored).copy(&mut transfer, &mut machine),
                _ => Tree(stored).delegate(&mut transfer, &mut machine),
            };
            machine.pause();
            // To look again for what is in the way would take long each time.
            if outcome != Ok(Outcome::Preempted) || !over && done.is_some() && waits() {
                break outcome;
            }
        }
    });
    machine.shootdown.finish(&Cores);
    *done = (outcome == Ok(Outcome::Preempted)).then(|| transfer.range.base - first);
    match outcome {
        Ok(_) => Ok(()),
        Err(Error::Full) => Err(Status::QuotaExhausted),
        Err(_) => Err(Status::BadParameter),
    }
}

/// What is in the way of a delegation gets its rights, or goes.
#[cold]
fn make_way(
    stored: &Stored<'_>,
    mut over: Transfer,
    flags: ItemFlags,
    machine: &mut Machine<'_>,
) -> Result<Outcome, Error> {
    loop {
        let _all = lock::all();
        let outcome = Tree(stored).overmap(&mut over, flags.contains(ItemFlags::REPLACE), machine);
        machine.pause();
        if outcome != Ok(Outcome::Preempted) {
            break outcome;
        }
    }
}

/// As [`revoke`] of all of it, for an object that `owner` alone has, at `unit` alone; the object's [`lifetime::unnamed`] is
/// left to the caller, who is told its name there. `None`, with nothing done, if there is none.
#[inline(always)]
pub fn remove(store: &Store<'_>, owner: Ref<Domain>, unit: u64) -> Option<u64> {
    let domain = store.get(owner);
    let _region = lock::of(domain, domain);
    let origin = Tree(&Stored(store)).remove(space(owner, Kind::Objects), unit)?;
    if !slots::fill_shown(store, owner, Selector::new(unit), Capability::NULL)
        && let Some(slot) = slots::known(store.get(owner), Selector::new(unit))
    {
        slot.store(Capability::NULL.word(), Ordering::Release);
    }
    Some(origin)
}
