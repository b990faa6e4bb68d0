//! The lock of the mapping tree.
//!
//! Purpose: one core at a time works on the tree.
//! Invariants: whoever waits is counted while it does.
//! Concurrency: a core that holds the lock for long looks whether it is wanted, and opens it for a moment.
//! Source: lecture C:509-512 (coarse lock); `docs/src/locking.md`.
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use sync::{Guard, Spin};

static TREE: Spin<()> = Spin::new(());
/// Cores that wait for it.
static WAITING: AtomicU32 = AtomicU32::new(0);

/// Takes the tree's lock.
#[inline(always)]
pub fn lock() -> Guard<'static, ()> {
    match TREE.try_lock() {
        Some(tree) => tree,
        None => wait(),
    }
}

#[cold]
fn wait() -> Guard<'static, ()> {
    WAITING.fetch_add(1, Relaxed);
    let tree = TREE.lock();
    WAITING.fetch_sub(1, Relaxed);
    tree
}

/// Whether another core waits for the lock.
pub fn is_wanted() -> bool {
    WAITING.load(Relaxed) != 0
}
