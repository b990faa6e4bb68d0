//! Short ways of memory: one step of the tree, and a few leaves of one table.
//!
//! Purpose: delegations and revocations of one node that is up to 16 pages, or up to 16 large pages.
//! Invariants: each does what the general way does, or nothing, and leaves it to that.
//! Concurrency: the regions of the one or two domains, until tree and tables say the same; cores are waited for with none.
//! Source: `docs/src/decisions/0020-short-ways.md`.
use super::{END, LARGE, Stored, attributes, last, lock, number, space};
use crate::domain::Tables;
use crate::tables::HARDWARE;
use crate::translations::{self, Cores};
use abi::address::PAGE_BITS;
use abi::item::ItemFlags;
use abi::{Kind, PhysAddr, Rights, VirtAddr};
use capability::tree::{Attributes as Manner, Piece, Space, Span, Transfer, Tree};
use memory::format::{Attributes, Format, Host};
use memory::shootdown::Shootdown;
use memory::table::{Supply, Table};
use objects::{Domain, Ref, Store};

/// Leaves that are mapped or taken in a short way.
const SHORT: u64 = 16;
const LARGEST: u64 = SHORT * LARGE;

/// As [`super::delegate`] of memory with no flag but [`ItemFlags::LAST`], if it is one step of the tree and one table has it.
/// Whether it was; else nothing is done. `range` is an item's: a power of two, to which `base` is aligned.
#[inline(always)]
pub fn delegate_run(
    store: &Store<'_>,
    from: (Ref<Domain>, Span),
    to: (Ref<Domain>, u64),
    with: (Rights, ItemFlags),
) -> bool {
    match from.1.count {
        ..=SHORT => delegate_leaves::<1>(store, from, to, with),
        LARGE..=LARGEST => delegate_leaves::<2>(store, from, to, with),
        _ => false,
    }
}

/// [`delegate_run`] as leaves of `LEVEL`.
#[inline(always)]
fn delegate_leaves<const LEVEL: u32>(
    store: &Store<'_>,
    (from, range): (Ref<Domain>, Span),
    (to, base): (Ref<Domain>, u64),
    (rights, flags): (Rights, ItemFlags),
) -> bool {
    let (stored, giver, domain) = (Stored(store), store.get(from), store.get(to));
    if base + range.count > END {
        return false;
    }
    let (from, attributes) = (space(from, Kind::Memory), last(flags));
    let tree = lock::of(giver, domain);
    let transfer = Transfer { from, range, to: number(to), base, rights, attributes };
    let Some((delegation, piece)) = Tree(&stored).plan_delegation(&transfer) else { return false };
    if LEVEL > 1 && !piece.origin.is_multiple_of(LARGE) || !enter_leaves::<LEVEL>(domain, &piece) {
        return false;
    }
    if Tree(&stored).enter_delegation(delegation, piece.space).is_ok() {
        return true;
    }
    let (mut shootdown, range) = (translations::shootdown(), (base << PAGE_BITS, piece.span.count << PAGE_BITS));
    translations::restrict(domain, range, Attributes::empty(), &mut shootdown);
    drop(tree);
    shootdown.finish(&Cores);
    false
}

/// As [`super::revoke`] of memory from others, if it is one step of the tree and one table has it. Whether it was.
#[inline(always)]
pub fn revoke_run(store: &Store<'_>, owner: Ref<Domain>, range: Span, rights: Rights) -> bool {
    let (stored, mut shootdown) = (Stored(store), translations::shootdown());
    let giver = store.get(owner);
    let mut tree = lock::of(giver, giver);
    let admit = |other| tree.add(stored.domain(other));
    let Some((only, piece)) = Tree(&stored).plan_revocation(space(owner, Kind::Memory), range, rights, admit) else {
        return false;
    };
    let Some(level) = level(piece.span).filter(|_| !piece.attributes.has(Manner::GUEST)) else { return false };
    let domain = stored.domain(piece.space.owner);
    let taken = match level {
        1 => take_leaves::<1>(domain, &piece, &mut shootdown),
        _ => take_leaves::<2>(domain, &piece, &mut shootdown),
    };
    if !taken {
        return false;
    }
    Tree(&stored).remove_only(only, Space { kind: Kind::Memory, ..piece.space });
    drop(tree);
    shootdown.finish(&Cores);
    true
}

/// Takes a piece, if it is leaves of `LEVEL` in one table; its region is held. Whether it was.
#[inline(always)]
fn take_leaves<const LEVEL: u32>(domain: &Domain, piece: &Piece, shootdown: &mut Shootdown) -> bool {
    let range = (piece.span.base << PAGE_BITS, piece.span.count << PAGE_BITS);
    let table = domain.latest.table_at(&HARDWARE, domain.master(), VirtAddr::new(range.0), LEVEL);
    let Some(table) = table.map(|table| table.root()) else { return false };
    if LEVEL > 1 {
        let taken = translations::take_large(domain, table, range, shootdown);
        if taken {
            Tables(domain).release((piece.span.count / LARGE) as u32);
        }
        return taken;
    }
    translations::restrict_leaves(domain, table, range, Attributes::empty(), shootdown);
    true
}

/// Maps a piece by leaves of `LEVEL` in one table, if nothing is there; its region is held. Whether it did.
#[inline(always)]
fn enter_leaves<const LEVEL: u32>(domain: &Domain, piece: &Piece) -> bool {
    let (at, leaves) = (VirtAddr::new(piece.span.base << PAGE_BITS), piece.span.count / LARGE.pow(LEVEL - 1));
    // Each may have to be divided.
    if LEVEL > 1 && Tables(domain).reserve(leaves as u32).is_err() {
        return false;
    }
    let known = domain.latest.table_at(&HARDWARE, domain.master(), at, LEVEL);
    let entry = leaf(LEVEL, piece.rights) | piece.origin << PAGE_BITS;
    let table = known.or_else(|| make_table(domain, at, LEVEL));
    let entered = table.is_some_and(|table| table.enter(&HARDWARE, (LEVEL, at), leaves, entry));
    if LEVEL > 1 && !entered {
        Tables(domain).release(leaves as u32);
    }
    entered
}

/// The level of the table that has these pages, the user's, as leaves, if they are few enough for a short way.
#[inline(always)]
const fn level(span: Span) -> Option<u32> {
    if span.end() > END {
        None
    } else if span.count <= SHORT {
        if span.base % LARGE + span.count <= LARGE { Some(1) } else { None }
    } else {
        let table = LARGE * LARGE;
        let large = span.count <= LARGEST && (span.base | span.count).is_multiple_of(LARGE);
        if large && span.base % table + span.count <= table { Some(2) } else { None }
    }
}

/// The entry of a table of `level` for physical page 0 and threads with `rights`.
pub(super) fn leaf(level: u32, rights: Rights) -> u64 {
    Host::leaf(PhysAddr::truncate(0), level, attributes(rights) | Attributes::USER)
}

/// The table of `level` for an address, where there was none; its region is held.
#[inline(never)]
pub(super) fn make_table(domain: &Domain, virt: VirtAddr, level: u32) -> Option<Table<Host>> {
    domain.master().descend(&HARDWARE, virt, level, &mut Tables(domain)).ok().map(Table::new)
}
