//! Physical memory: what is free, and how the root partition looks at it.
//!
//! All free memory and all modules are mapped at [`WINDOW`], frame by frame in order. Other domains get memory from the
//! hypervisor's space, not from here, so that this mapping needs no right to execute.
//! Invariants: [`Pages`] that were not delegated yet are nobody else's; the memory of modules does not change.
//! Concurrency: the manager's thread.
//! Source: classic interface, "Boot, root task, HIP".
// UNSAFETY: physical memory seen as slices.

use core::ops::Range;
use core::sync::atomic::AtomicU64;

use abi::address::PAGE_SIZE;
use abi::hip::{HipReader, MemoryKind};
use abi::item::ItemFlags;
use abi::rights::MemoryRights;
use abi::{Crd, Selector, Status, TypedItem};
use alloc::vec::Vec;
use root::frames::{Frames, Pages};
use root::machine::free_ranges;
use rt::{heap, hypercall, item};

/// Virtual address at which physical address 0 appears.
const WINDOW: u64 = 1 << 40;
/// Memory below is left alone: firmware and start-up code of cores use it.
const LOW: u64 = 1 << 20;
/// Pages of the root partition's own heap.
const HEAP: u64 = (12 << 20) / PAGE_SIZE;
/// Items that one delegation takes.
const BATCH: usize = 200;

/// Items that delegate `count` pages from the hypervisor's space: frames from `frame` on appear at `page`.
pub fn items(frame: u64, page: u64, count: u64, rights: MemoryRights) -> impl Iterator<Item = TypedItem> {
    item::pieces(frame, page, count).filter_map(move |(frame, page, order)| {
        Some(TypedItem::delegate(Crd::memory(frame, order, rights)?, ItemFlags::HYPERVISOR, page))
    })
}

fn map(range: &Range<u64>, rights: MemoryRights) -> Result<(), Status> {
    let mut batch = [TypedItem::from_words(0, 0); BATCH];
    let mut all = items(range.start, range.start + WINDOW / PAGE_SIZE, range.end - range.start, rights);
    loop {
        let mut count = 0;
        for (slot, item) in batch.iter_mut().zip(&mut all) {
            *slot = item;
            count += 1;
        }
        let own = Selector::ROOT_DOMAIN;
        hypercall::delegate(own, item::all_memory(), own, batch.get(..count).unwrap_or_default()).ok()?;
        if count < BATCH {
            return Ok(());
        }
    }
}

/// The whole pages of a range of addresses, above [`LOW`].
fn whole(range: &Range<u64>) -> Range<u64> {
    range.start.max(LOW).div_ceil(PAGE_SIZE)..range.end / PAGE_SIZE
}

/// Takes all memory; gives what is free. The root partition has a heap from then on.
///
/// # Errors
/// What the kernel answered, or [`Status::QuotaExhausted`] if there is no room for the heap.
pub fn take(hip: &HipReader<'static>) -> Result<Frames, Status> {
    let rights = MemoryRights::READ | MemoryRights::WRITE;
    let free = || free_ranges(hip.memory()).map(|range| whole(&range)).filter(|range| !range.is_empty());
    // Nothing can be allocated before this.
    let own = free().find(|range| range.end - range.start >= HEAP).ok_or(Status::QuotaExhausted)?;
    for range in free() {
        map(&range, rights)?;
    }
    let heap = own.start..own.start + HEAP;
    // SAFETY: just mapped, and left out of what is free below.
    unsafe { heap::add((WINDOW + heap.start * PAGE_SIZE) as usize, (HEAP * PAGE_SIZE) as usize) };
    let mut frames = Frames::default();
    for range in free() {
        frames.add(if range.start == heap.start { heap.end..range.end } else { range });
    }
    Ok(frames)
}

/// The contents of the modules behind the root partition's own, and their physical addresses.
///
/// # Errors
/// What the kernel answered.
pub fn modules(hip: &HipReader<'static>) -> Result<Vec<(&'static [u8], u64)>, Status> {
    let modules = hip.memory().filter(|range| range.kind == MemoryKind::MODULE).skip(1);
    modules
        .map(|module| {
            map(&(module.address / PAGE_SIZE..module.end().div_ceil(PAGE_SIZE)), MemoryRights::READ)?;
            let start = core::ptr::with_exposed_provenance((WINDOW + module.address) as usize);
            // SAFETY: mapped now, and nobody writes to the memory of a module.
            Ok((unsafe { core::slice::from_raw_parts(start, module.size as usize) }, module.address))
        })
        .collect()
}

/// The bytes of pages that were not delegated yet.
pub fn bytes(pages: &mut Pages) -> &mut [u8] {
    let start = core::ptr::with_exposed_provenance_mut((WINDOW + pages.first() * PAGE_SIZE) as usize);
    // SAFETY: free memory is mapped here, and the value stands for these pages alone.
    unsafe { core::slice::from_raw_parts_mut(start, (pages.count() * PAGE_SIZE) as usize) }
}

/// The word at the start of a page that others may have too; the page stays taken for good.
pub fn shared_word(page: Pages) -> &'static AtomicU64 {
    let address = WINDOW + page.first() * PAGE_SIZE;
    // SAFETY: mapped for good, and the page is never given back, because the value that stands for it ends here.
    unsafe { rt::arch::utcb::shared_word(address as usize) }
}
