//! Moving a thread to another core.
//!
//! Purpose: operation 4 of `ec_ctrl`: a context and a scheduling context like the old ones take their selectors, on the
//! other core.
//! Invariants: the new context has registers, vector registers and message page of the old one; the page belongs to the
//! new one from then on. The capabilities of the old ones are revoked, with what was delegated from them. The handler goes
//! on with the old one's time until it replies, and then that ends ([`Context::has_moved`]).
//! Concurrency: the old context's core, where it waits for its handler: the caller.
//! Source: interface §5 ("ec_ctrl", operation 4).
use crate::create::{give_memory_portal, publish_new, store_new, undo};
use crate::lifetime::Counted;
use crate::slots::named;
use crate::{cores, mapping, scheduler, vectors, views};
use abi::event::RECALL;
use abi::item::ItemFlags;
use abi::operation::RevokeFlags;
use abi::rights::{ContextRights, SchedulingRights};
use abi::{Crd, Rights, Selector, Status};
use capability::tree::Span;
use objects::frame::Frame;
use objects::{Context, Continuation, Identity, Portal, Ref, Scheduling, Store};

/// Moves the context at `at`, which `caller` handles a recall of, to the core in RSI; RDX says where its domain gets its
/// new capability, from the event base on.
///
/// # Errors
/// [`Status::BadParameter`] if anything is not as it has to be, [`Status::QuotaExhausted`].
pub fn migrate(
    store: &Store<'_>,
    (caller_ref, caller): (Ref<Context>, &Context),
    at: Selector,
    frame: &Frame,
) -> Result<(), Status> {
    let (core, range) = ((frame.rsi.get() & 0xFFF) as u32, Crd::from_word(frame.rdx.get()));
    let [context_at, portal_at, scheduling_at] = [0, 1, 2].map(|offset| at.number() + offset);
    let old_ref = named::<Context>(store, context_at, Rights::NONE)?;
    let portal = named::<Portal>(store, portal_at, Rights::NONE);
    let time = named::<Scheduling>(store, scheduling_at, Rights::NONE);
    let (portal_ref, time) = portal.and_then(|portal| Ok((portal, store.get(time?)))).or(Err(Status::BadParameter))?;
    let portal = store.get(portal_ref);
    let old = store.get(old_ref);
    let waits = old.continuation() == Continuation::AwaitHandler && !old.has_moved();
    let handled = waits && old.partner.get() == caller_ref.to_word();
    let there = (core as usize) < cores::running().len() && store.get(portal.context).identity().core == core;
    // Exits of virtual CPUs have numbers of their own, of which one is that of a recall.
    let recalled = old.event() == u64::from(RECALL) && !old.identity().guest;
    if !handled || !recalled || !there || time.context != old_ref {
        return Err(Status::BadParameter);
    }
    let new = copy(store, old, core)?;
    give_memory_portal(store, store.get(new), Some(portal_ref));
    let make = || Scheduling::new(new, core, time.priority(), time.budget());
    let scheduling = store_new(store, old.identity().domain, Counted::Context(new), make).inspect_err(|_| {
        store.get(new).give_page();
        old.take_page();
        Counted::Context(new).release(store);
    })?;
    vectors::hand_over(old, store.get(new));
    let owner = caller.identity().domain;
    for base in [context_at, scheduling_at] {
        let mut span = Span { base, count: 1 };
        while mapping::revoke(store, owner, (abi::Kind::Objects, Rights::ALL), &mut span, RevokeFlags::SELF).is_none() {
        }
    }
    let rights = SchedulingRights::all().into();
    publish_new(store, owner, Selector::new(scheduling_at), rights, scheduling).inspect_err(|_| {
        scheduler::discard(store, scheduling);
        // It has the message page already, and shows it.
        undo(store, new.capability(ContextRights::all().into()));
    })?;
    publish_new(store, owner, at, ContextRights::all().into(), new)
        .inspect_err(|_| scheduler::wake(store, scheduling))?;
    let span = Span { base: context_at, count: 1 };
    let to = (old.identity().domain, old.identity().event_base + range.base());
    let delegated = mapping::delegate(
        store,
        (owner, abi::Kind::Objects),
        span,
        to,
        (range.rights(), ItemFlags::empty(), 0),
        &mut None,
    );
    scheduler::wake(store, scheduling);
    delegated
}

/// A context like `old` on `core`, which has its message page.
fn copy(store: &Store<'_>, old: &Context, core: u32) -> Result<Ref<Context>, Status> {
    let domain = old.identity().domain;
    views::of_core(store.get(domain), core).or(Err(Status::QuotaExhausted))?;
    let new = Context::new(Identity { core, ..*old.identity() }, 0);
    for (to, from) in new.frame().words().iter().zip(old.frame().words()) {
        to.set(from.get());
    }
    new.set_continuation(Continuation::Run);
    let new = store_new(store, domain, Counted::Domain(domain), || new)?;
    old.give_page();
    Ok(new)
}
