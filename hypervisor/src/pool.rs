//! The kernel's memory pool, from the boot loader's memory map to the first frame.
//!
//! Purpose: choose the pool, map it, and hand out zeroed frames.
//! Invariants: the pool overlaps neither image, modules, boot information nor anything the map calls occupied; a frame
//! handed out by [`zeroed`] is all zeros and charged to an account.
//! Concurrency: [`start`] on the boot core; the allocator is behind one lock (per-core caches exist in `memory`).
//! Source: design plan §3 (memory of the kernel); `docs/src/decisions/0001-kernel-pool.md`.
use crate::log::{info, warning};
use abi::PhysAddr;
use abi::address::{LARGE_PAGE_SIZE, PAGE_SIZE};
use arch::boot::{BootTable, BootTables};
use core::sync::atomic::{AtomicBool, Ordering};
use firmware::boot_info::{AVAILABLE, BootInfo};
use memory::format::{Attributes, Format, Host};
use memory::frames::{Clean, Descriptor, Dirty, Frame, FrameNumber, Frames, Order, OutOfMemory};
use memory::layout;
use memory::plan::{self, Entry, Plan, PlanError};
use memory::quota::Quota;
use memory::region::Region;
use sync::{Once, Spin};

static FRAMES: Once<Spin<Frames<'static>>> = Once::new();
static QUOTA: Once<Quota> = Once::new();
static POISON: AtomicBool = AtomicBool::new(false);
/// What freed frames are filled with in poisoning mode: not canonical as an address, absent as a table entry.
const POISON_PATTERN: u64 = 0xDEAD_DEAD_DEAD_DEA0;
/// Reserved ranges besides the modules: image, boot information, first page, room for video memory and ROMs.
const FIXED: usize = 4;
/// Modules that are kept out of the pool; the boot loader may have loaded more, which is refused.
const MODULES: usize = 60;

/// Entries of the memory map that are believed; looking for the pool takes their square in steps.
const ENTRIES: usize = 1024;

/// Why there is no pool.
#[derive(Debug)]
pub enum PoolError {
    /// The memory map offers none.
    Plan(PlanError),
    /// A memory map too long to be true.
    Map(usize),
    /// More modules than the kernel can keep track of.
    Modules,
    /// The allocator refused the pool: a defect of ours.
    Defect,
}

impl core::fmt::Display for PoolError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Plan(error) => error.fmt(f),
            Self::Map(entries) => write!(f, "the memory map has {entries} entries, more than {ENTRIES}: it is broken"),
            Self::Modules => write!(f, "more than {MODULES} modules were loaded; pass fewer"),
            Self::Defect => f.write_str("the frame allocator refuses the pool"),
        }
    }
}

/// The memory map as the plan wants it.
pub fn entries<'a>(boot: &BootInfo<'a>) -> impl Iterator<Item = Entry> + Clone + use<'a> {
    boot.memory()
        .map(|area| Entry { region: Region::from_length(area.base, area.length), usable: area.kind == AVAILABLE })
}

/// Chooses the pool, maps it in the boot tables and starts the allocator. `information` is where the boot information
/// lies, `size` what the command line asks for in bytes, `physical_bits` the processor's address width.
///
/// # Errors
/// See [`PoolError`].
pub fn start(
    boot: &BootInfo<'_>,
    information: Region,
    size: Option<u64>,
    poison: bool,
    physical_bits: u32,
) -> Result<Plan, PoolError> {
    let count = boot.memory().count();
    if count > ENTRIES {
        return Err(PoolError::Map(count));
    }
    let mut reserved = [Region::from_length(0, 0); FIXED + MODULES];
    let image = arch::boot::image();
    let [image_start, image_end] = [image.start, image.end].map(|virt| arch::boot::image_phys(virt).get());
    let fixed = [
        Region { start: image_start, end: image_end },
        information,
        Region { start: 0, end: PAGE_SIZE },
        Region { start: 0xA_0000, end: 0x10_0000 },
    ];
    let modules = boot
        .modules()
        .map(|module| Region { start: module.start & !(PAGE_SIZE - 1), end: module.end.next_multiple_of(PAGE_SIZE) });
    let mut all = fixed.into_iter().chain(modules);
    reserved.iter_mut().zip(all.by_ref()).for_each(|(slot, region)| *slot = region);
    if all.next().is_some() {
        return Err(PoolError::Modules);
    }
    let plan = plan::choose(entries(boot), &reserved, size, 1 << physical_bits).map_err(PoolError::Plan)?;
    if plan.is_short() {
        warning!("memory pool: {} MiB wanted, none that large is free in one piece", plan.wanted >> 20);
    }
    let (start, length) = (PhysAddr::truncate(plan.pool.start), plan.pool.length());
    map_in_boot_tables(start, length);

    let count = (length / PAGE_SIZE) as usize;
    let descriptors = ((count * size_of::<Descriptor>()) as u64).next_multiple_of(PAGE_SIZE);
    // SAFETY: the plan found the range free, it was just mapped, and this is the only call.
    unsafe { arch::pool::install(start, length, descriptors) };
    // SAFETY: the only call; a descriptor is an integer and all zeros says "tail of a block".
    let slots = unsafe { arch::pool::reserved::<Descriptor>(count) }.ok_or(PoolError::Defect)?;
    let frames = Frames::new(slots, (descriptors / PAGE_SIZE) as u32).ok_or(PoolError::Defect)?;
    let free = frames.free_frames();
    FRAMES.call_once(|| Spin::new(frames));
    QUOTA.call_once(|| Quota::new(free));
    POISON.store(poison, Ordering::Relaxed);
    info!(
        "memory pool: {} MiB at {start}, {free} frames free{}",
        length >> 20,
        if poison { ", freed frames are poisoned" } else { "" }
    );
    Ok(plan)
}

fn map_in_boot_tables(start: PhysAddr, length: u64) {
    let first = abi::VirtAddr::new(layout::POOL_BASE).index(2);
    for index in 0..(length / LARGE_PAGE_SIZE) as usize {
        let frame = start.offset(index as u64 * LARGE_PAGE_SIZE);
        let entry = Host::leaf(frame, 2, Attributes::READ | Attributes::WRITE);
        // SAFETY: memory that the plan found free.
        unsafe { BootTables::get().set(BootTable::Image, first + index, entry) };
    }
}

/// The kernel's own account; all others get their quota from it.
pub fn kernel() -> Option<&'static Quota> {
    QUOTA.get()
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
    Ok(dirty(order, quota)?.cleared_by(|number, order| {
        // SAFETY: the frame was just handed out to us.
        unsafe { arch::pool::fill(number.get(), order.index() as u32, 0) };
    }))
}

/// A block of frames with any content, charged to `quota`.
///
/// # Errors
/// The account or the pool is exhausted.
pub fn dirty(order: Order, quota: &Quota) -> Result<Frame<Dirty>, OutOfMemory> {
    FRAMES.get().ok_or(OutOfMemory::Pool)?.lock().allocate(order, quota)
}

/// Gives back the block at `start`, which [`address`] named, nothing refers to any more and `quota` paid for. A defect
/// of the kernel's accounting is reported, and the block is lost.
///
/// # Safety
/// Nothing refers to the block any more: no table entry, no object, no processor.
pub unsafe fn release(start: PhysAddr, quota: &Quota) {
    let Some(frames) = FRAMES.get() else { return };
    let number = FrameNumber::new(arch::pool::number(start).unwrap_or(u32::MAX));
    let poison = POISON.load(Ordering::Relaxed);
    let frame = frames.lock().reclaim(number);
    let freed = frame.and_then(|frame| {
        let retired = frame.retire(poison, |number, order| {
            // SAFETY: the frame was allocated, and its owner is done with it.
            unsafe { arch::pool::fill(number.get(), order.index() as u32, POISON_PATTERN) };
        });
        frames.lock().free(retired, quota)
    });
    if let Err(defect) = freed {
        warning!("memory pool: {defect:?} at {start}");
    }
}

/// Frames that are free.
pub fn free() -> u32 {
    FRAMES.get().map_or(0, |frames| frames.lock().free_frames())
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
    arch::pool::phys(frame.into_dirty().into_number().get())
}
