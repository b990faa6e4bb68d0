//! Typed items: capabilities in messages.
//!
//! Purpose: from the items in a message page to delegations, for `misc` and for messages alike.
//! Invariants: a receiver gets what its window allows, of what the sender has; an item that moves nothing is null, which
//! is no error; the hypervisor's own resources come to the root domain only.
//! Concurrency: each word of the page is read once.
//! Source: interface §3.
use crate::{mapping, root};
use abi::item::{ItemFlags, ItemKind};
use abi::utcb::{self, Header};
use abi::{Crd, Kind, Status, TypedItem};
use capability::tree::Span;
use capability::window::{Range, overlap, place};
use core::sync::atomic::Ordering::Relaxed;
use objects::{Domain, Identity, Page, Ref, Store};

fn range(crd: Crd) -> Range {
    Range { base: crd.base(), order: crd.order() }
}

/// Where the items of a message go.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    /// What the receiver lets others name.
    pub translate: Crd,
    /// Where it takes delegations.
    pub delegate: Crd,
}

/// An item and the index of its first word in the page.
fn items(page: &Page) -> impl Iterator<Item = (usize, TypedItem)> {
    let word = |index: usize| page.get(index).map_or(0, |word| word.load(Relaxed));
    let count = Header::from_word(word(0)).items();
    (0..count).filter_map(utcb::item_offset).map(move |offset| {
        let at = offset / 8;
        (at, TypedItem::from_words(word(at), word(at + 1)))
    })
}

/// As [`delegate`], if there is one item, of memory, plain, and it goes a short way. Whether it did.
#[inline(always)]
pub fn delegate_only(store: &Store<'_>, sender: Ref<Domain>, page: &Page, receiver: Ref<Domain>, window: Crd) -> bool {
    let [.., first, second] = page;
    let item = TypedItem::from_words(first.load(Relaxed), second.load(Relaxed));
    let rights = item.range.rights().and(window.rights());
    if Header::from_word(page[0].load(Relaxed)).items() != 1
        || !item.is_plain()
        || item.range.kind() != Kind::Memory
        || window.kind() != Kind::Memory
        || rights.is_none()
    {
        return false;
    }
    let (source, target) = place(range(item.range), range(window), item.hotspot());
    mapping::delegate_run(store, (sender, Span::from(source)), (receiver, target.base), (rights, item.flags()))
}

/// How far a delegation is: items that are done, and units of the next.
pub type Position = (u64, u64);

/// Delegates the items of `page` from `sender` into `window` of `receiver`, from a position on. If it `may`, it leaves the
/// rest when something else is to run first, and says from where on.
///
/// # Errors
/// [`Status::QuotaExhausted`] if the receiver cannot pay for all of it.
pub fn delegate(
    store: &Store<'_>,
    (sender, page): (Ref<Domain>, &Page),
    (receiver, window): (Ref<Domain>, Crd),
    (first, mut units): Position,
    may: bool,
) -> Result<Option<Position>, Status> {
    // Of a single one it is known already.
    let short = items(page).nth(1).is_some();
    for (at, (_, item)) in (0..).zip(items(page)).skip(first as usize) {
        if may && at != first && at % 4 == 0 && mapping::waits() {
            return Ok(Some((at, 0)));
        }
        let mut done = may.then_some(units);
        delegate_one(store, sender, (item, item.flags()), (receiver, window), short && units == 0, &mut done)?;
        if let Some(units) = done {
            return Ok(Some((at, units)));
        }
        units = 0;
    }
    Ok(None)
}

/// Passes the items of a message from `from` to `to`, and writes what was received into the page of `to`.
///
/// # Errors
/// As [`delegate`].
#[inline(never)]
pub fn exchange(store: &Store<'_>, from: &Identity, to: &Identity, windows: Windows) -> Result<(), Status> {
    for (at, item) in items(from.message) {
        let translated = match item.kind() {
            ItemKind::Translate | ItemKind::TranslateOrDelegate => {
                mapping::translate(store, from.domain, item.range, to.domain, windows.translate)
            }
            _ => Crd::NULL,
        };
        let result = match item.kind() {
            ItemKind::TranslateOrDelegate | ItemKind::Delegate if translated.is_null() => {
                // Who opens a window says where there is room, not what may go.
                let flags = item.flags().difference(ItemFlags::REPLACE);
                let to = (to.domain, windows.delegate);
                // What goes with a message is there as a whole or not at all.
                item.received(delegate_one(store, from.domain, (item, flags), to, true, &mut None)?, true)
            }
            _ => item.received(translated, false),
        };
        for (slot, word) in to.message[at..].iter().zip(result.words()) {
            slot.store(word, Relaxed);
        }
    }
    Ok(())
}

/// Flags for which there is no short way.
const UNUSUAL: ItemFlags = ItemFlags::COPY
    .union(ItemFlags::GRANT)
    .union(ItemFlags::RAISE)
    .union(ItemFlags::REPLACE)
    .union(ItemFlags::LIMITED)
    .union(ItemFlags::GUEST)
    .union(ItemFlags::WRITE_COMBINING);

/// Delegates an item; with `short` in a short way, if there is one. For `left` see `done` of [`mapping::delegate`].
fn delegate_one(
    store: &Store<'_>,
    sender: Ref<Domain>,
    (item, flags): (TypedItem, ItemFlags),
    (receiver, window): (Ref<Domain>, Crd),
    short: bool,
    left: &mut Option<u64>,
) -> Result<Crd, Status> {
    let mut done = left.take();
    let delegates = matches!(item.kind(), ItemKind::Delegate | ItemKind::TranslateOrDelegate);
    let kind = item.range.kind();
    let rights = item.range.rights().and(window.rights());
    if !delegates || kind != window.kind() || kind == Kind::Null || rights.is_none() {
        return Ok(Crd::NULL);
    }
    let placed = match kind {
        Kind::Ports => overlap(range(item.range), range(window)).map(|common| (common, common)),
        _ => Some(place(range(item.range), range(window), item.hotspot())),
    };
    let Some((source, target)) = placed else { return Ok(Crd::NULL) };
    let hypervisor = if flags.contains(ItemFlags::HYPERVISOR) { root::hypervisor(store) } else { None };
    let (from, flags) = match hypervisor {
        // What is the hypervisor's stays so.
        Some(hypervisor) if root::is_root(sender) => (hypervisor, flags.difference(ItemFlags::GRANT)),
        // What is not the hypervisor's keeps its type.
        _ => (sender, flags.difference(ItemFlags::WRITE_COMBINING)),
    };
    let (source, target_base) = (Span::from(source), (receiver, target.base));
    if !short
        || kind != Kind::Memory
        || flags.intersects(UNUSUAL)
        || !mapping::delegate_run(store, (from, source), target_base, (rights, flags))
    {
        mapping::delegate(store, (from, kind), source, target_base, (rights, flags, item.limit()), &mut done)?;
        *left = done;
    }
    Ok(Crd::new(kind, rights, target.order, target.base).unwrap_or(Crd::NULL))
}
