//! Switching contexts on a core.
//!
//! Purpose: make another context the one that leaves the kernel.
//! Invariants: current context, register frame and address space change together.
//! Concurrency: the calling core; contexts belong to cores.
//! Source: design plan §3 (execution); `docs/src/decisions/0007-register-frame.md`.
use crate::tables::HARDWARE;
use crate::{translations, vectors, views};
use abi::counter::Counter;
use arch::pool::word_at;
use core::sync::atomic::Ordering::{Acquire, Relaxed};
use memory::shootdown::NOTE;
use memory::tags::LOADS;
#[cfg(feature = "shadow")]
use memory::{shadow::Shadow, tags::KEEP};
use objects::{Context, NO_ROOT, Ref, Store};

/// The context that runs on this core, and its reference.
pub fn current<'s>(store: &'s Store<'_>) -> Option<(Ref<Context>, &'s Context)> {
    // SAFETY: `to` alone sets the word, from a reference; a context lives while it is current.
    let context = unsafe { store.trusted(percpu::this().local.current.get()) }?;
    Some((context, store.get(context)))
}

/// What switching to a context takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tables {
    /// [`to_plain`]: its domain's tables are loaded, and nobody's vector registers are in the way.
    Loaded,
    /// [`to_known`]: its domain has these tables here, and nobody's vector registers are in the way.
    Known(u64),
    /// [`to`].
    Unknown,
}

/// What switching to `next` takes.
#[inline(always)]
pub fn tables(next: &Context) -> Tables {
    let (loaded, root) = (percpu::this().local.plain.get(), next.root.get());
    match loaded {
        _ if loaded == root => Tables::Loaded,
        // Else nothing is loaded, or there are no tables: addresses of tables have the highest bit.
        _ if (loaded & root) >> 63 == 1 => Tables::Known(root),
        _ => Tables::Unknown,
    }
}

/// Makes `next`, which is this context, the one that leaves the kernel.
#[inline(always)]
pub fn to_plain(next: Ref<Context>, context: &Context) {
    percpu::this().local.current.set(next.to_word());
    // SAFETY: the frame is the current context's from here on; it stays while the context does, which is at least as
    // long as it is current.
    unsafe { arch::descriptors::set_frame(context.frame()) };
}

/// As [`to_plain`], and loads its domain's tables. If the answer is no, [`to`] has to follow: something is stale.
#[inline(always)]
pub fn to_known(next: Ref<Context>, context: &Context, root: u64) -> bool {
    let page = percpu::this();
    // SAFETY: the place of the view, which stays while contexts of its domain do.
    let [note, loads] = [NOTE, LOADS].map(|index| unsafe { word_at(root, index) });
    let loads = loads.load(Relaxed);
    #[cfg(feature = "shadow")]
    crate::shadow::note(Shadow::departs);
    if !page.shared.core.enter_if_right(loads, || note.load(Acquire)) {
        return false;
    }
    #[cfg(feature = "shadow")]
    crate::shadow::tell(|shadow, own| shadow.loads(own, loads, true));
    load(loads);
    page.local.plain.set(root);
    to_plain(next, context);
    true
}

/// As [`to_plain`] or [`to_known`], whichever it takes. If the answer is no, [`to`] has to follow.
#[inline(always)]
pub fn to_simply(next: Ref<Context>, context: &Context) -> bool {
    match tables(context) {
        Tables::Loaded => to_plain(next, context),
        Tables::Known(root) => return to_known(next, context, root),
        Tables::Unknown => return false,
    }
    true
}

/// Makes `next` the context that leaves the kernel. False if there is no memory for its domain's tables on this core.
#[inline]
pub fn to(store: &Store<'_>, next: Ref<Context>) -> bool {
    let context = store.get(next);
    to_simply(next, context) || to_slowly(next, context, store)
}

/// As [`to`], if the domain may have no tables here, something is stale, or vector registers may be in the way.
#[cold]
fn to_slowly(next: Ref<Context>, context: &Context, store: &Store<'_>) -> bool {
    let local = &percpu::this().local;
    if context.identity().guest {
        // It runs on whatever tables are loaded, and sees none of them.
        to_plain(next, context);
        return true;
    }
    let mut root = context.root.get();
    if root == NO_ROOT {
        let Ok(view) = views::view(store.get(context.identity().domain)) else { return false };
        root = HARDWARE.place(view.root());
        context.root.set(root);
    }
    if HARDWARE.place(arch::cpu::root()) != root {
        let shared = &percpu::this().shared;
        let view = HARDWARE.table(root);
        #[cfg(feature = "shadow")]
        crate::shadow::note(Shadow::departs);
        let (loads, stale) = shared.tags.enter(&shared.core, &HARDWARE, view, translations::has_tags());
        shared.count(Counter::LazyFlushes, stale.into());
        #[cfg(feature = "shadow")]
        let (loads, stale) = crate::provoke::loads(loads, stale);
        #[cfg(feature = "shadow")]
        crate::shadow::tell(|shadow, own| {
            shadow.loads(own, loads, if translations::has_tags() { loads & KEEP != 0 } else { !stale })
        });
        load(loads);
    }
    if local.vectors.get() != 0 {
        vectors::switch(context);
    }
    let free = local.vectors.get() == 0 || local.guest_vectors.get();
    local.plain.set(if free { root } else { 0 });
    to_plain(next, context);
    true
}

/// Loads a domain's tables, of which the core has said that it does, and with them its tag.
#[inline(always)]
fn load(loads: u64) {
    percpu::this().shared.count(Counter::RootLoads, 1);
    // SAFETY: a domain's view of this core shares all kernel entries of the core. What stays with the tag is right.
    unsafe { arch::cpu::load_root(loads) };
}
