//! The kernel's memory pool, from the boot loader's memory map to the first frame.
//!
//! Purpose: choose the pool, map it, and hand out zeroed frames.
//! Invariants: the pool overlaps neither image, modules, boot information nor anything the map calls occupied; a frame
//! handed out by [`zeroed`] is all zeros and charged to an account.
//! Concurrency: [`start`] on the boot core; the allocator is behind one lock.
//! Source: design plan §3 (memory of the kernel); `docs/src/decisions/0001-kernel-pool.md`.
use crate::log::{info, warning};
use crate::stop::give_up;
use crate::tables::HARDWARE;
use abi::PhysAddr;
use abi::address::{LARGE_PAGE_SIZE, PAGE_SIZE};
use abi::counter::Counter;
use arch::boot::BootTable;
use core::sync::atomic::{AtomicBool, Ordering};
use firmware::boot_info::{AVAILABLE, BootInfo};
use firmware::options::Options;
use memory::format::{Attributes, Format, Host};
use memory::frames::{Clean, Defect, Descriptor, Dirty, Frame, FrameNumber, Frames, Order, OutOfMemory, Reusable};
use memory::layout;
use memory::mmu::Mmu;
use memory::plan::{self, Entry, Plan};
use memory::quota::Quota;
use memory::region::Region;
use sync::{Guard, Once, Spin};

static FRAMES: Spin<Frames<'static>> = Spin::new(Frames::none());
static QUOTA: Once<Quota> = Once::new();
static POISON: AtomicBool = AtomicBool::new(false);
/// What freed frames are filled with in poisoning mode: not canonical as an address, absent as a table entry.
const POISON_PATTERN: u64 = 0xDEAD_DEAD_DEAD_DEA0;
/// Reserved ranges besides the modules: image, boot information, first page, room for video memory and ROMs.
const FIXED: usize = 4;
/// Entries of a table.
const ENTRIES_OF_TABLE: u32 = 512;
/// Modules that are kept out of the pool; the boot loader may have loaded more, which is refused.
const MODULES: usize = 60;

/// Entries of the memory map that are believed; looking for the pool takes their square in steps.
const ENTRIES: usize = 1024;

/// The memory map as the plan wants it.
pub fn entries<'a>(boot: &BootInfo<'a>) -> impl Iterator<Item = Entry> + Clone + use<'a> {
    boot.memory()
        .map(|area| Entry { region: Region::from_length(area.base, area.length), usable: area.kind == AVAILABLE })
}

/// Chooses the pool, maps it in the boot tables and starts the allocator; gives up where there can be none. `information`
/// is where the boot information lies, `physical_bits` the processor's address width.
pub fn start(boot: &BootInfo<'_>, information: Region, options: &Options<'_>, physical_bits: u32) -> Plan {
    if boot.memory().count() > ENTRIES {
        give_up!("the memory map has more than {ENTRIES} entries: it is broken");
    }
    let mut reserved = [Region::from_length(0, 0); FIXED + MODULES];
    let video = Region { start: 0xA_0000, end: 0x10_0000 };
    let fixed = [arch::boot::image(), information, Region { start: 0, end: PAGE_SIZE }, video];
    let modules = boot
        .modules()
        .map(|module| Region { start: module.start & !(PAGE_SIZE - 1), end: module.end.next_multiple_of(PAGE_SIZE) });
    let mut all = fixed.into_iter().chain(modules);
    reserved.iter_mut().zip(all.by_ref()).for_each(|(slot, region)| *slot = region);
    if all.next().is_some() {
        give_up!("more than {MODULES} modules were loaded; pass fewer");
    }
    let plan = plan::choose(entries(boot), &reserved, options.kernel_memory, 1 << physical_bits)
        .unwrap_or_else(|why| give_up!("{why}"));
    let (start, length) = (PhysAddr::truncate(plan.pool.start), plan.pool.length());
    if length < plan.wanted {
        warning!("memory pool: {} MiB wanted, none that large is free in one piece", plan.wanted >> 20);
    }
    map_in_boot_tables(start, length);

    let count = (length / PAGE_SIZE) as usize;
    let descriptors = ((count * (size_of::<Descriptor>() + size_of::<u64>())) as u64).next_multiple_of(PAGE_SIZE);
    // SAFETY: the plan found the range free, it was just mapped, and this is the only call. A descriptor of all
    // zeros says "tail of a block".
    let slots = unsafe {
        arch::pool::install(start, length, descriptors);
        arch::pool::reserved::<Descriptor>(count)
    };
    let frames = slots.and_then(|slots| Frames::new(slots, (descriptors / PAGE_SIZE) as u32));
    let frames = frames.unwrap_or_else(|| give_up!("the frame allocator refuses the pool"));
    let free = frames.free_frames();
    *FRAMES.lock() = frames;
    QUOTA.call_once(|| Quota::new(free));
    POISON.store(options.poison, Ordering::Relaxed);
    let poisoned = if options.poison { ", freed frames are poisoned" } else { "" };
    info!("memory pool: {} MiB at {start}, {free} frames free{poisoned}", length >> 20);
    plan
}

fn map_in_boot_tables(start: PhysAddr, length: u64) {
    let first = abi::VirtAddr::new(layout::POOL_BASE).index(2);
    for index in 0..(length / LARGE_PAGE_SIZE) as usize {
        let frame = start.offset(index as u64 * LARGE_PAGE_SIZE);
        let entry = Host::leaf(frame, 2, Attributes::READ | Attributes::WRITE);
        // SAFETY: memory that the plan found free.
        unsafe { BootTable::Image.set(first + index, entry) };
    }
}

/// The kernel's own account; all others get their quota from it.
pub fn kernel() -> Option<&'static Quota> {
    QUOTA.get()
}

/// Takes a lock of what memory is made of; whether it is free at once is counted.
#[inline(always)]
pub fn lock<T>(lock: &Spin<T>) -> Guard<'_, T> {
    lock.lock_or(|| percpu::this().shared.count(Counter::LockWaits, 1))
}

/// A block of zeroed frames, charged to the kernel's own account.
///
/// # Errors
/// The account or the pool is exhausted (or the pool does not exist yet).
pub fn zeroed(order: Order) -> Result<Frame<Clean>, OutOfMemory> {
    charged(order, kernel().ok_or(OutOfMemory::Pool)?)
}

/// A block of zeroed frames, charged to `quota`.
///
/// # Errors
/// The account or the pool is exhausted.
pub fn charged(order: Order, quota: &Quota) -> Result<Frame<Clean>, OutOfMemory> {
    let frame = match order {
        Order::PAGE => lock(&FRAMES).allocate_page(quota)?,
        order => Err(lock(&FRAMES).allocate(order, quota)?),
    };
    Ok(frame.unwrap_or_else(cleared))
}

fn cleared(frame: Frame<Dirty>) -> Frame<Clean> {
    frame.cleared_by(|number, order| {
        // SAFETY: the frame was just handed out to us.
        unsafe { arch::pool::fill(number.0, order.index() as u32, 0) };
    })
}

/// A block of frames with any content, charged to `quota`.
///
/// # Errors
/// The account or the pool is exhausted.
pub fn dirty(order: Order, quota: &Quota) -> Result<Frame<Dirty>, OutOfMemory> {
    lock(&FRAMES).allocate(order, quota)
}

/// Gives back the block at `start`, which [`address`] named, nothing refers to any more and `quota` paid for; `over` says why
/// nobody uses it. A defect of the kernel's accounting is reported, and the block is lost.
///
/// # Safety
/// Nothing refers to the block any more: no table entry, no object.
pub unsafe fn release(start: PhysAddr, quota: &Quota, over: impl Reusable) {
    give_back(start, over, |frames, frame| frames.free(frame, quota));
}

/// As [`release`], of a frame that consists of zeros.
///
/// # Safety
/// As for [`release`].
pub unsafe fn release_clean(start: PhysAddr, quota: &Quota, over: impl Reusable) {
    if !POISON.load(Ordering::Relaxed) {
        return give_back(start, over, |frames, frame| frames.free_clean(frame.cleared_by(|_, _| ()), quota));
    }
    let words = arch::pool::words(start);
    if words.is_none_or(|words| words.iter().any(|word| word.load(Ordering::Relaxed) != 0)) {
        warning!("memory pool: a table at {start} is not empty");
    }
    // SAFETY: the caller's promise.
    unsafe { release(start, quota, over) };
}

#[inline]
fn give_back(
    start: PhysAddr,
    over: impl Reusable,
    by: impl FnOnce(&mut Frames<'_>, Frame<Dirty>) -> Result<(), Defect>,
) {
    let number = number(start);
    if POISON.load(Ordering::Relaxed)
        && let Ok(frame) = lock(&FRAMES).reclaim(number, over)
    {
        // SAFETY: the frame was allocated, and its owner is done with it.
        unsafe { arch::pool::fill(number.0, frame.order().index() as u32, POISON_PATTERN) };
    }
    let mut frames = lock(&FRAMES);
    if let Err(defect) = frames.reclaim(number, over).and_then(|frame| by(&mut frames, frame)) {
        drop(frames);
        warning!("memory pool: {defect:?} at {start}");
    }
}

fn number(start: PhysAddr) -> FrameNumber {
    FrameNumber(arch::pool::number(start).unwrap_or(u32::MAX))
}

/// A zeroed frame for a table or the like, charged to `quota`, that belongs to the top-level table `root`. Entry `index` of
/// `table` is to refer to it, and is cleared by [`release_tables`].
///
/// # Errors
/// As for [`charged`].
pub fn table_of(root: PhysAddr, quota: &Quota, table: PhysAddr, index: usize) -> Result<PhysAddr, OutOfMemory> {
    quota.charge(1)?;
    charged_table_of(root, quota, table, index)
}

/// As [`table_of`], where `quota` has been charged already.
///
/// # Errors
/// The pool is exhausted; the charge is taken back then.
pub fn charged_table_of(root: PhysAddr, quota: &Quota, table: PhysAddr, index: usize) -> Result<PhysAddr, OutOfMemory> {
    let frame = lock(&FRAMES).charged_page(quota)?;
    let frame = frame.unwrap_or_else(cleared).into_number();
    lock(&FRAMES).note(number(root), frame, number(table).0 * ENTRIES_OF_TABLE + index as u32);
    Ok(arch::pool::phys(frame.0))
}

/// The entry that refers to `table`, if it came from [`table_of`].
pub fn referrer(table: PhysAddr) -> Option<(PhysAddr, usize)> {
    lock(&FRAMES).noted(number(table)).map(place_of)
}

/// Table and index of an entry.
fn place_of(entry: u32) -> (PhysAddr, usize) {
    (arch::pool::phys(entry / ENTRIES_OF_TABLE), (entry % ENTRIES_OF_TABLE) as usize)
}

/// The table that was noted before `table` for the same top-level table; for that one itself, the one noted last.
pub fn noted_before(table: PhysAddr) -> Option<PhysAddr> {
    lock(&FRAMES).noted_before(number(table)).map(|frame| arch::pool::phys(frame.0))
}

/// Has `to` pay for so many pages in the place of `from`. Whether it can.
fn take_over(pages: u32, (from, to): (&Quota, &Quota)) -> bool {
    let charged = to.charge(pages).is_ok();
    // Who has paid for them can be refunded; if not, nobody else pays.
    let done = charged && from.refund(pages).is_ok();
    if charged && !done {
        let _ = to.refund(pages);
    }
    done
}

/// Makes the table that [`noted_before`] names for `after` belong to `root`, until [`release_aside`]; who has paid for it,
/// and who is to. Whether that one can.
pub fn set_aside(after: PhysAddr, payers: (&Quota, &Quota), root: PhysAddr) -> bool {
    let done = take_over(1, payers);
    if done {
        lock(&FRAMES).renote(number(after), number(root));
    }
    done
}

/// As [`set_aside`], of the block at `start`, which belongs to no table.
pub fn set_block_aside(start: PhysAddr, pages: u32, payers: (&Quota, &Quota), root: PhysAddr) -> bool {
    let done = take_over(pages, payers);
    if done {
        lock(&FRAMES).note(number(root), number(start), 0);
    }
    done
}

/// Gives back what was set aside last for `root`.
///
/// # Safety
/// As for [`release`].
pub unsafe fn release_aside(root: PhysAddr, quota: &Quota, over: impl Reusable) {
    let aside = lock(&FRAMES).denote(number(root), over);
    if let Some((frame, _)) = aside {
        // SAFETY: the caller's promise.
        unsafe { release(arch::pool::phys(frame.0), quota, over) };
    }
}

/// Gives back what belongs to `root`, the youngest first, at most `count`; `cleared` is told which entry referred to each.
/// Whether that was all.
///
/// # Safety
/// As for [`release`]; but for what refers to others of these, they are empty.
pub unsafe fn release_tables(
    root: PhysAddr,
    (quota, over): (&Quota, impl Reusable),
    count: usize,
    mut cleared: impl FnMut(PhysAddr, usize),
) -> bool {
    for _ in 0..count {
        let Some((frame, entry)) = lock(&FRAMES).denote(number(root), over) else { return true };
        let (table, index) = place_of(entry);
        HARDWARE.write(table, index, 0);
        cleared(table, index);
        // SAFETY: the caller's promise.
        unsafe { release_clean(arch::pool::phys(frame.0), quota, over) };
    }
    false
}

/// Takes out what belongs to `root` and came there last: it, and the entry that referred to it, which is cleared.
pub fn take_table(root: PhysAddr) -> Option<(PhysAddr, (PhysAddr, usize))> {
    let (frame, entry) = lock(&FRAMES).detach(number(root))?;
    let (table, index) = place_of(entry);
    HARDWARE.write(table, index, 0);
    Some((arch::pool::phys(frame.0), (table, index)))
}

/// Frames that are free.
pub fn free() -> u32 {
    lock(&FRAMES).free_frames()
}

/// A single zeroed frame that becomes a table or the like, by its physical address, charged to the kernel.
///
/// # Errors
/// As for [`zeroed`].
pub fn table() -> Result<PhysAddr, OutOfMemory> {
    zeroed(Order::PAGE).map(address)
}

/// As [`table`], charged to `quota`.
///
/// # Errors
/// As for [`charged`].
pub fn page(quota: &Quota) -> Result<PhysAddr, OutOfMemory> {
    charged(Order::PAGE, quota).map(address)
}

/// The physical address of a frame that is owned by a table entry or an object from now on.
pub fn address(frame: Frame<Clean>) -> PhysAddr {
    arch::pool::phys(frame.into_number().0)
}
