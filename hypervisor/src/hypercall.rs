//! Hypercalls.
//!
//! Purpose: decode what ring 3 asks for, do it, and leave a status. So far: delegation of ports from hypervisor
//! space (`misc`, sub-operation 1), which is how a root program gets its ports.
//! Invariants: every word in every register has an answer; a number that this kernel does not serve yet answers
//! `BadHypercall`, an unknown sub-operation `BadParameter`; nothing from ring 3 is used as an address.
//! Concurrency: runs on the core of the caller, interrupts off.
//! Source: interface §1, §3 and §5.
use crate::domain;
use abi::item::{ItemFlags, ItemKind};
use abi::operation::Misc;
use abi::utcb::{self, Header};
use abi::{Crd, Hypercall, Kind, Request, Selector, Status, TypedItem};
use capability::window::{Range, overlap};
use objects::frame::Frame;
use objects::{Context, Domain, Store};

/// Entered from `syscall_entry`; returns to the caller.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn hypercall(frame: &Frame) {
    // SAFETY: in the kernel, interrupts off; the store is local to this function.
    let store = unsafe { arch::pool::store() };
    let request = Request::from_word(frame.rdi.get());
    let status = match (request.hypercall, domain::current(&store)) {
        (Hypercall::Misc, Some(caller)) => match Misc::from_flags(request.flags) {
            Some(Misc::Delegate) => delegate(&store, caller, request.selector, frame.rsi.get(), frame.rdx.get()),
            Some(Misc::Lookup | Misc::Suspend) => Status::BadFeature,
            None => Status::BadParameter,
        },
        _ => Status::BadHypercall,
    };
    frame.rdi.set(u64::from(status.number()));
}

/// Delegates the typed items of the caller's message page from the domain `source` into `window` of `destination`.
fn delegate(store: &Store<'_>, caller: &Context, source: Selector, window: u64, destination: u64) -> Status {
    // So far there is one domain, and its capability for itself stands where the interface puts it.
    if source != Selector::ROOT_DOMAIN || Selector::new(destination) != Selector::ROOT_DOMAIN {
        return Status::BadCapability;
    }
    let window = Crd::from_word(window);
    let header = Header::from_word(domain::message_word(caller, 0));
    for index in 0..header.items() {
        let Some(word) = utcb::item_offset(index).map(|offset| offset / 8) else { break };
        let item = TypedItem::from_words(domain::message_word(caller, word), domain::message_word(caller, word + 1));
        if let Err(status) = delegate_item(store.get(caller.domain()), item, window) {
            return status;
        }
    }
    Status::Success
}

fn delegate_item(receiver: &Domain, item: TypedItem, window: Crd) -> Result<(), Status> {
    let delegates = matches!(item.kind(), ItemKind::Delegate | ItemKind::TranslateOrDelegate);
    let same_kind = item.range.kind() == window.kind();
    let rights = item.range.rights().and(window.rights());
    if !delegates || !same_kind || rights.is_none() {
        return Ok(()); // A null result, which is not an error.
    }
    if !item.flags().contains(ItemFlags::HYPERVISOR) {
        return Err(Status::BadFeature);
    }
    match item.range.kind() {
        Kind::Ports => {
            let range = |crd: Crd| Range { base: crd.base(), order: crd.order() };
            match overlap(range(item.range), range(window)) {
                Some(common) => domain::allow_ports(receiver, common).map_err(|_| Status::QuotaExhausted),
                None => Ok(()),
            }
        }
        _ => Err(Status::BadFeature),
    }
}
