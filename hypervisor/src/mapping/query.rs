//! Looking into the mapping tree.
//!
//! Purpose: what a domain has at a unit, and what another calls it.
//! Invariants: nothing changes.
//! Concurrency: the regions of sender and receiver, or all, for one look.
//! Source: interface §3 (translate), §5 (lookup).
use super::{Stored, lock, number, space};
use abi::crd::MAX_ORDER;
use abi::{Crd, Kind};
use capability::tree::{Piece, Span, Tree};
use objects::{Domain, Ref, Store};

/// The mapping of `owner` that holds the first unit of `range`: as much of it around there as has one order.
pub fn lookup(store: &Store<'_>, owner: Ref<Domain>, range: Crd) -> Crd {
    if range.kind() == Kind::Null {
        return Crd::NULL;
    }
    let (stored, space) = (Stored(store), space(owner, range.kind()));
    let domain = store.get(owner);
    let guard = lock::of(domain, domain);
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
    let space = space(sender, range.kind());
    let span = |crd: Crd| Span { base: crd.aligned_base(), count: crd.count() };
    let look = |reach: &dyn Fn(u32) -> bool| {
        Tree(&stored).translate((space, span(range)), (number(receiver), span(window)), reach)
    };
    let guard = lock::of(store.get(sender), store.get(receiver));
    let found = look(&|owner| owner == number(sender) || owner == number(receiver));
    drop(guard);
    let found = found.or_else(|| {
        let _all = lock::all();
        look(&|_| true)
    });
    let order = |piece: &Piece| piece.span.count.ilog2().min(piece.span.base.trailing_zeros());
    found
        .flatten()
        .and_then(|piece| Crd::new(range.kind(), piece.rights, order(&piece), piece.span.base))
        .unwrap_or(Crd::NULL)
}
