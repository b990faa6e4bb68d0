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
use capability::tree::{Attributes, Space, Span, Transfer};
use capability::window::{Range, overlap, place};
use core::sync::atomic::Ordering::Relaxed;
use objects::{Domain, Page, Ref, Store};

fn range(crd: Crd) -> Range {
    Range { base: crd.base(), order: crd.order() }
}

/// Delegates the items of `page`, which `sender` wrote, into `window` of `receiver`. `each` gets the number of every
/// item and what was received for it.
///
/// # Errors
/// [`Status::QuotaExhausted`] if the receiver cannot pay for all of it.
pub fn transfer(
    store: &Store<'_>,
    sender: Ref<Domain>,
    page: &Page,
    receiver: Ref<Domain>,
    window: Crd,
    mut each: impl FnMut(usize, Crd),
) -> Result<(), Status> {
    let word = |index: usize| page.get(index).map_or(0, |word| word.load(Relaxed));
    for index in 0..Header::from_word(word(0)).items() {
        let Some(at) = utcb::item_offset(index).map(|offset| offset / 8) else { break };
        let item = TypedItem::from_words(word(at), word(at + 1));
        each(index, transfer_one(store, sender, item, receiver, window)?);
    }
    Ok(())
}

fn transfer_one(
    store: &Store<'_>,
    sender: Ref<Domain>,
    item: TypedItem,
    receiver: Ref<Domain>,
    window: Crd,
) -> Result<Crd, Status> {
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
    let hypervisor = root::hypervisor(store).filter(|_| item.flags().contains(ItemFlags::HYPERVISOR));
    let from = match hypervisor {
        Some(hypervisor) if root::is_root(sender) => hypervisor,
        _ => sender,
    };
    let transfer = Transfer {
        from: Space { owner: from.id().get(), kind },
        range: Span::from(source),
        to: receiver.id().get(),
        base: target.base,
        rights,
        attributes: Attributes::NONE,
    };
    mapping::delegate(store, &transfer)?;
    Ok(Crd::new(kind, rights, target.order, target.base).unwrap_or(Crd::NULL))
}
