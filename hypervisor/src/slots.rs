//! Object spaces: a domain's capabilities in the tables of its capability space.
//!
//! Purpose: look up in the current domain, put into and take from any.
//! Invariants: leaf tables and pages of capabilities belong to the domain and hang in its directory; a core's view gets
//! its entries by fault; looking up allocates nothing.
//! Concurrency: slots are atomic words; tables are added under a lock.
//! Source: lecture D:338, D:356; design plan §3; `docs/src/decisions/0002-table-pages.md`.
use crate::tables::HARDWARE;
use crate::translations::Cores;
use crate::{pool, switch, views};
use abi::{PhysAddr, Rights, Selector, Status, VirtAddr};
use capability::word::Capability;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst, fence};
use memory::format::{Attributes, Entry, Format, Host};
use memory::frames::OutOfMemory;
use memory::layout::CAPABILITIES;
use memory::mmu::Mmu;
use memory::shootdown::{Machine, Pages};
use objects::{Domain, Object, Ref, Store};

const RW: Attributes = Attributes::READ.union(Attributes::WRITE);

/// The capability at `selector` of the current domain.
#[inline]
pub fn look_up(selector: Selector) -> Capability {
    Capability::from_word(arch::capability::load(selector.number()))
}

/// Fills the slot of `selector`, if the core shows the space of `owner` because it runs one of its contexts, and the slot
/// has a page.
#[inline]
pub fn fill_shown(store: &Store<'_>, owner: Ref<Domain>, selector: Selector, capability: Capability) -> bool {
    switch::current(store).is_some_and(|(_, context)| context.identity().domain == owner && !context.identity().guest)
        && arch::capability::store(selector.number(), capability.word())
}

/// The capability at `selector` of a domain whose tables need not be loaded.
pub fn look_up_in(domain: &Domain, selector: Selector) -> Capability {
    let below = |table, level| Host::target(HARDWARE.read(table, address(selector).index(level)));
    let page = below(domain.directory, 2).and_then(|leaves| below(leaves, 1));
    Capability::from_word(page.map_or(0, |page| HARDWARE.read(page, selector.slot() as usize)))
}

/// The object of a capability, if it is a `T` and the capability has these rights.
#[inline]
pub fn object<T: Object>(store: &Store<'_>, capability: Capability, needed: impl Into<Rights>) -> Option<Ref<T>> {
    let word = capability.object(T::KIND, needed.into())?;
    // SAFETY: a capability of a kind is made from a reference to an object of that type, and keeps it.
    Some(unsafe { store.certain(word) })
}

/// The object at `selector` of the current domain, if it is a `T` and the capability has these rights.
#[inline]
pub fn find<T: Object>(store: &Store<'_>, selector: u64, needed: impl Into<Rights>) -> Option<Ref<T>> {
    object(store, Capability::from_word(arch::capability::load(selector)), needed)
}

/// As [`find`].
///
/// # Errors
/// [`Status::BadCapability`] if not.
#[inline]
pub fn named<T: Object>(store: &Store<'_>, selector: u64, needed: impl Into<Rights>) -> Result<Ref<T>, Status> {
    find(store, selector, needed).ok_or(Status::BadCapability)
}

/// The slot of `selector` in the domain's space; its page and table are made if missing.
///
/// # Errors
/// The pool is exhausted.
#[inline]
pub fn slot(domain: &Domain, selector: Selector) -> Result<&'static AtomicU64, OutOfMemory> {
    known(domain, selector).map_or_else(|| make(domain, selector), Ok)
}

const fn address(selector: Selector) -> VirtAddr {
    VirtAddr::new(CAPABILITIES + selector.slot() as u64 * 8)
}

/// The slot of `selector` in the domain's space, if its page is there.
#[inline]
pub fn known(domain: &Domain, selector: Selector) -> Option<&'static AtomicU64> {
    let virt = address(selector);
    let leaves = Host::target(HARDWARE.read(domain.directory, virt.index(2)))?;
    let page = Host::target(HARDWARE.read(leaves, virt.index(1)))?;
    Some(HARDWARE.word(page, selector.slot() as usize))
}

#[cold]
fn make(domain: &Domain, selector: Selector) -> Result<&'static AtomicU64, OutOfMemory> {
    let virt = address(selector);
    let leaves = below(domain, domain.directory, virt, 2)?;
    let page = below(domain, leaves, virt, 1)?;
    Ok(HARDWARE.word(page, selector.slot() as usize))
}

/// What the entry of `level` for `virt` in `table` refers to: a table or, at level 1, a page; made if absent.
fn below(domain: &Domain, table: PhysAddr, virt: VirtAddr, level: u32) -> Result<PhysAddr, OutOfMemory> {
    match Host::target(HARDWARE.read(table, virt.index(level))) {
        Some(next) => Ok(next),
        None => {
            let next = pool::table_of(domain.directory, &domain.quota, table, virt.index(level))?;
            let entry = if level == 1 { Host::leaf(next, 1, RW) } else { Host::table(next) };
            HARDWARE.write(table, virt.index(level), entry);
            Ok(next)
        }
    }
}

/// Brings the directory entry for `address`, in the capability space, from the domain's directory to the core's view.
/// Whether there was one to bring.
pub fn sync(domain: &Domain, address: u64) -> bool {
    let virt = VirtAddr::new(address);
    let entry = HARDWARE.read(domain.directory, virt.index(2));
    if Host::decode(entry, 2) == Entry::Absent {
        return false;
    }
    let Ok(local) = views::view(domain) else { return false };
    // The directory of GiB 511 exists in every view: it holds the I/O bitmap and the window.
    let changed = local.put(&HARDWARE, virt, 2, entry, &mut |_, _| Err(OutOfMemory::Pool)).unwrap_or(false);
    // Who takes it out from here on finds what was put; who did before is seen.
    fence(SeqCst);
    if HARDWARE.read(domain.directory, virt.index(2)) != entry {
        views::forget_capabilities(domain, virt.index(2));
        Cores.flush(Pages::ALL);
    }
    changed
}
