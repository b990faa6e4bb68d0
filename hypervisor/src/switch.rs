//! Switching contexts on a core.
//!
//! Purpose: make another context the one that leaves the kernel.
//! Invariants: current context, register frame and address space change together.
//! Concurrency: the calling core; contexts belong to cores.
//! Source: design plan §3 (execution); `docs/src/decisions/0007-register-frame.md`.
use crate::{vectors, views};
use abi::PhysAddr;
use core::sync::atomic::Ordering::Relaxed;
use objects::{Context, Domain, Ref, Store};

/// The context that runs on this core, and its reference.
pub fn current<'s>(store: &'s Store<'_>) -> Option<(Ref<Context>, &'s Context)> {
    // SAFETY: `to` alone sets the word, from a reference; a context lives while it is current.
    let context = unsafe { store.trusted(percpu::this().local.current.get()) }?;
    Some((context, store.get(context)))
}

/// Whether switching to `next` is nothing but [`to_plain`]: its domain's tables are loaded, and nobody's vector registers
/// are in the way.
#[inline]
pub fn is_plain(next: &Context) -> bool {
    percpu::this().local.plain.get() == next.identity().domain.to_word()
}

/// Makes `next`, which is this context, the one that leaves the kernel; see [`is_plain`].
#[inline]
pub fn to_plain(next: Ref<Context>, context: &Context) {
    percpu::this().local.current.set(next.to_word());
    // SAFETY: the frame is the current context's from here on; it stays while the context does, which is at least as
    // long as it is current.
    unsafe { arch::descriptors::set_frame(context.frame()) };
}

/// Makes `next` the context that leaves the kernel. False if there is no memory for its domain's tables on this core.
#[inline]
pub fn to(store: &Store<'_>, next: Ref<Context>) -> bool {
    let local = &percpu::this().local;
    let context = store.get(next);
    let domain_ref = context.identity().domain;
    let domain = store.get(domain_ref);
    if local.space.get() != domain_ref.to_word() {
        let known = domain.views[local.id.get() as usize & 511].load(Relaxed);
        if known != 0 {
            // SAFETY: a domain's view of this core shares all kernel entries of the core.
            unsafe { arch::cpu::load_root(PhysAddr::truncate(known)) };
        } else if !load(domain) {
            return false;
        }
        local.space.set(domain_ref.to_word());
    }
    local.plain.set(domain_ref.to_word());
    if local.vectors.get() != 0 {
        vectors::switch(context);
        local.plain.set(if local.vectors.get() == 0 { domain_ref.to_word() } else { 0 });
    }
    to_plain(next, context);
    true
}

#[cold]
fn load(domain: &Domain) -> bool {
    let Ok(view) = views::view(domain) else { return false };
    // SAFETY: a domain's view of this core shares all kernel entries of the core.
    unsafe { arch::cpu::load_root(view.root()) };
    true
}
