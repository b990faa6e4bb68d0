//! Switching contexts on a core.
//!
//! Purpose: make another context the one that leaves the kernel.
//! Invariants: current context, register frame and address space change together.
//! Concurrency: the calling core; contexts belong to cores.
//! Source: design plan §3 (execution); `docs/src/decisions/0007-register-frame.md`.
use abi::PhysAddr;
use objects::{Context, Ref, Store};

/// The context that runs on this core, and its reference.
pub fn current<'s>(store: &'s Store<'_>) -> Option<(Ref<Context>, &'s Context)> {
    let context = store.reference(percpu::this().local.current.get())?;
    Some((context, store.get(context)))
}

/// Makes `next` the context that leaves the kernel.
pub fn to(store: &Store<'_>, next: Ref<Context>) {
    let local = &percpu::this().local;
    let context = store.get(next);
    let root = store.get(context.identity().domain).local;
    if local.space.get() != root.get() {
        local.space.set(root.get());
        load(root);
    }
    local.current.set(next.to_word());
    // SAFETY: the frame is the current context's from here on; it stays while the context does, which is at least as
    // long as it is current.
    unsafe { arch::descriptors::set_frame(context.frame()) };
}

fn load(root: PhysAddr) {
    // SAFETY: a domain's table of this core shares all kernel entries of the core.
    unsafe { arch::cpu::load_root(root) };
}

/// Leaves the kernel for the first time, as `context`.
pub fn start(store: &Store<'_>, context: Ref<Context>) -> ! {
    to(store, context);
    // SAFETY: `to` made it current; `Context` sees to the segments and the instruction pointer.
    unsafe { arch::entry::leave(store.get(context).frame()) }
}
