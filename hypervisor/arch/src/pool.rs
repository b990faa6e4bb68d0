//! The bytes of the kernel's memory pool.
//!
//! Purpose: frames as words: page tables for the memory code, zeroing and poisoning for the frame allocator. The
//! arithmetic is one addition (`docs/src/decisions/0001-kernel-pool.md`).
//! Invariants: the pool is mapped writable, never executable, at [`layout::POOL_BASE`], from [`install`] on, in every
//! address space. Its first pages (the frame descriptors) are a Rust object and not reachable through [`words`].
//! Concurrency: words are atomics; who may change which frame is decided by who owns its `Frame`.
//! Source: design plan §3.
use abi::{PhysAddr, address::PAGE_SIZE};
use core::arch::asm;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};
use memory::frames::{Clean, Frame};
use memory::{layout, mmu::Mmu};
use objects::Store;

static START: AtomicU64 = AtomicU64::new(0);
static SIZE: AtomicU64 = AtomicU64::new(0);
static RESERVED: AtomicU64 = AtomicU64::new(0);
/// Where the sets of sharers are, a word for each frame.
static SHARERS: AtomicU64 = AtomicU64::new(0);

/// Tells this module where the pool is: `size` bytes at `start`, of which the first `reserved` hold descriptors, and behind
/// them a word for each frame.
///
/// # Safety
/// Called once; the range is mapped at [`layout::POOL_BASE`] and used by nobody else; `reserved` is a multiple of 4096.
pub unsafe fn install(start: PhysAddr, size: u64, reserved: u64) {
    START.store(start.get(), Ordering::Relaxed);
    RESERVED.store(reserved, Ordering::Relaxed);
    SHARERS.store(layout::POOL_BASE + reserved - size / PAGE_SIZE * 8, Ordering::Relaxed);
    SIZE.store(size, Ordering::Release);
}

/// Physical address of frame `number` of the pool.
pub fn phys(number: u32) -> PhysAddr {
    PhysAddr::truncate(START.load(Ordering::Relaxed) + u64::from(number) * PAGE_SIZE)
}

/// Number of the pool's frame that holds `address`; `None` outside the pool.
pub fn number(address: PhysAddr) -> Option<u32> {
    let offset = address.get().checked_sub(START.load(Ordering::Relaxed))?;
    (offset < SIZE.load(Ordering::Acquire)).then_some((offset / PAGE_SIZE) as u32)
}

/// Virtual address of `address`; `None` outside the pool or among the descriptors.
pub fn virt(address: PhysAddr) -> Option<u64> {
    let offset = address.get().checked_sub(START.load(Ordering::Relaxed))?;
    let inside = offset >= RESERVED.load(Ordering::Relaxed) && offset < SIZE.load(Ordering::Acquire);
    inside.then_some(layout::POOL_BASE + offset)
}

/// The frame at `address` as words; `None` outside the pool, among the descriptors, or not page-aligned.
pub fn words(address: PhysAddr) -> Option<&'static [AtomicU64; 512]> {
    let virt = virt(address).filter(|_| address.is_aligned(PAGE_SIZE))?;
    let words = core::ptr::with_exposed_provenance::<[AtomicU64; 512]>(virt as usize);
    // SAFETY: a mapped page of the pool, aligned, outside the descriptors; everything in it is accessed through
    // atomics or owned by other means only while it is not handed to callers of this function (see the header).
    Some(unsafe { &*words })
}

/// Physical address of a page of the pool that [`words`] gave.
pub fn phys_of(words: &'static [AtomicU64; 512]) -> PhysAddr {
    let offset = (words.as_ptr().addr() as u64).wrapping_sub(layout::POOL_BASE);
    PhysAddr::truncate(START.load(Ordering::Relaxed).wrapping_add(offset))
}

/// The page after `words`.
///
/// # Safety
/// They are the first page of a block of several.
#[inline]
pub unsafe fn page_after(words: &'static [AtomicU64; 512]) -> &'static [AtomicU64; 512] {
    let next = words.as_ptr().addr() + PAGE_SIZE as usize;
    // SAFETY: the caller's promise; otherwise as in `words`.
    unsafe { &*core::ptr::with_exposed_provenance(next) }
}

/// Copies `count` words, at most those of a page, from word `start` of a page to the same place of another.
///
/// The pages are shared with ring 3, which may change them meanwhile.
#[inline]
pub fn copy_words(from: &[AtomicU64; 512], to: &[AtomicU64; 512], start: usize, count: usize) {
    let (Some(from), Some(to)) = (from.get(start..), to.get(start..)) else { return };
    let count = count.min(from.len());
    // SAFETY: as many words from both places on lie within their pages; they consist of atomics, so that they may change
    // through shared references. The direction flag is clear in the kernel.
    unsafe {
        asm!("rep movsq", inout("rcx") count => _, inout("rsi") from.as_ptr() => _, inout("rdi") to.as_ptr() => _,
            options(nostack, preserves_flags));
    }
}

/// Fills `1 << order` frames from `number` on with `pattern`.
///
/// # Safety
/// The caller owns these frames, and nothing refers to their contents.
pub unsafe fn fill(number: u32, order: u32, pattern: u64) {
    let Some(start) = virt(phys(number)) else { return };
    // SAFETY: mapped pages of the pool, owned by the caller; the direction flag is clear in the kernel.
    unsafe { fill_words(start, (512usize) << order, pattern) }
}

/// # Safety
/// `words` words from `start` on are mapped, writable and unused.
unsafe fn fill_words(start: u64, words: usize, pattern: u64) {
    // SAFETY: the caller's duty.
    unsafe {
        asm!("rep stosq", inout("rcx") words => _, inout("rdi") start => _, in("rax") pattern, options(nostack, preserves_flags));
    }
}

/// The reserved part of the pool as an array of `T`, all of whose bytes are zero.
///
/// # Safety
/// Called once, after [`install`]; the all-zero bit pattern is a valid `T`.
#[must_use]
pub unsafe fn reserved<T>(count: usize) -> Option<&'static mut [T]> {
    let size = RESERVED.load(Ordering::Relaxed);
    let start = core::ptr::with_exposed_provenance_mut::<T>(layout::POOL_BASE as usize);
    if count.checked_mul(size_of::<T>()).is_none_or(|bytes| bytes as u64 > size) || align_of::<T>() > 4096 {
        return None;
    }
    // SAFETY: mapped, large enough (checked), used by nobody else (`install` and `words` leave it out, and the caller
    // calls once); zero is valid for `T` by the caller's promise.
    unsafe {
        fill_words(layout::POOL_BASE, size as usize / 8, 0);
        Some(core::slice::from_raw_parts_mut(start, count))
    }
}

/// Turns a frame for good into `count` values of `T`. `None` if they do not fit.
#[must_use]
pub fn place<T: Sync>(frame: Frame<Clean>, count: usize, mut make: impl FnMut(usize) -> T) -> Option<&'static [T]> {
    let bytes = frame.order().bytes() as usize;
    let start = virt(phys(frame.into_number().0))?;
    if count.checked_mul(size_of::<T>()).is_none_or(|needed| needed > bytes) || align_of::<T>() > 4096 {
        return None;
    }
    let start = core::ptr::with_exposed_provenance_mut::<T>(start as usize);
    // SAFETY: the frame was owned and is given up for ever, so nobody else reaches its bytes; it is mapped, aligned to
    // at least a page, and large enough (checked).
    unsafe {
        for index in 0..count {
            start.add(index).write(make(index));
        }
        Some(core::slice::from_raw_parts(start, count))
    }
}

/// The kernel's objects, which lie in the pool.
///
/// # Safety
/// The pool is installed; the caller is in the kernel with interrupts off, and lets go of the store before it leaves.
#[inline]
#[must_use]
pub unsafe fn store() -> Store<'static> {
    // SAFETY: the pool is mapped for ever, at the address that the store knows; pages of objects are frames that slabs own,
    // which others do not touch.
    unsafe { Store::new(NonNull::dangling(), 0) }
}

/// Lets `fill` write the bytes of an owned frame.
pub fn with_bytes<R>(frame: &mut Frame<Clean>, fill: impl FnOnce(&mut [u8]) -> R) -> Option<R> {
    let start = virt(phys(frame.number().0))?;
    let start = core::ptr::with_exposed_provenance_mut::<u8>(start as usize);
    // SAFETY: the frame is owned and borrowed exclusively; it is mapped, and any byte is a valid `u8`.
    Some(fill(unsafe { core::slice::from_raw_parts_mut(start, frame.order().bytes() as usize) }))
}

/// Words of a table that are written in one go.
const ROW: usize = 8;

/// Word `index` (below 512) of the table at `place`.
///
/// # Safety
/// [`Hardware`] gave the place.
#[inline]
pub unsafe fn word_at(place: u64, index: usize) -> &'static AtomicU64 {
    // SAFETY: by the caller's promise the place is that of a page of the pool, which is mapped for ever; it is accessed
    // through atomics only.
    unsafe { &*core::ptr::with_exposed_provenance(place as usize + (index & 511) * 8) }
}

/// The processor's view of tables in the pool.
#[derive(Clone, Copy, Debug)]
pub struct Hardware(());

impl Hardware {
    /// Access to tables of the pool.
    ///
    /// # Safety
    /// It is used with addresses of frames that serve as tables only: a write elsewhere would change an object.
    pub const unsafe fn new() -> Self {
        Self(())
    }

    /// Virtual address of a table, in which the highest bit is set.
    #[inline]
    pub fn place(&self, table: PhysAddr) -> u64 {
        layout::POOL_BASE + (table.get() - START.load(Ordering::Relaxed))
    }

    /// The table at this virtual address.
    pub fn table(&self, place: u64) -> PhysAddr {
        PhysAddr::truncate(place - layout::POOL_BASE + START.load(Ordering::Relaxed))
    }

    /// Word `index` (below 512) of a table, or of a page that a table shows and that consists of words that several cores
    /// use: a page of capabilities.
    #[inline]
    pub fn word(&self, page: PhysAddr, index: usize) -> &'static AtomicU64 {
        // SAFETY: by the promise of `new` the address is that of a page of the pool.
        unsafe { word_at(self.place(page), index) }
    }

    /// The words of a table.
    #[inline]
    pub fn words(&self, table: PhysAddr) -> &'static [AtomicU64; 512] {
        let offset = table.get() - START.load(Ordering::Relaxed);
        // SAFETY: as in `word`, for all words of the page.
        unsafe { &*core::ptr::with_exposed_provenance((layout::POOL_BASE + offset) as usize) }
    }

    /// `count` words of a table from `index` on; none if they reach beyond it.
    #[inline]
    fn some(&self, table: PhysAddr, index: usize, count: usize) -> &'static [AtomicU64] {
        self.words(table).get(index..index + count).unwrap_or_default()
    }

    /// The cores that may use the table.
    #[inline]
    pub fn shared(&self, table: PhysAddr) -> &'static AtomicU64 {
        let offset = (table.get() - START.load(Ordering::Relaxed)) / PAGE_SIZE * 8;
        let place = (SHARERS.load(Ordering::Relaxed) + offset) as usize;
        // SAFETY: as in `word`, the table is a frame of the pool, each of which has a word here, by the promise of `install`.
        unsafe { &*core::ptr::with_exposed_provenance::<AtomicU64>(place) }
    }
}

/// Whether all of them are 0.
#[inline]
pub fn are_zero(words: &[AtomicU64]) -> bool {
    let (rows, rest) = words.as_chunks::<ROW>();
    let none = |words: &[AtomicU64]| words.iter().fold(0, |all, word| all | word.load(Ordering::Relaxed)) == 0;
    rows.iter().all(|row| none(row)) && none(rest)
}

/// [`Mmu::clear`] of several entries.
#[inline(never)]
fn clear_some(words: &[AtomicU64], bits: u64) -> (u64, u64) {
    let (mut first, mut end) = (u64::MAX, 0);
    let mut note = |at, old: u64| {
        if old & bits != 0 {
            (first, end) = (first.min(at), at + 1);
        }
    };
    let (rows, rest) = words.as_chunks::<ROW>();
    let mut at = 0;
    for row in rows {
        let old = row.each_ref().map(|word| word.swap(0, Ordering::AcqRel));
        if old.iter().fold(0, |all, old| all | old) & bits != 0 {
            (at..).zip(old).for_each(|(at, old)| note(at, old));
        }
        at += ROW as u64;
    }
    (at..).zip(rest).for_each(|(at, word)| note(at, word.swap(0, Ordering::AcqRel)));
    (first, end)
}

impl Mmu for Hardware {
    #[inline]
    fn read(&self, table: PhysAddr, index: usize) -> u64 {
        self.word(table, index).load(Ordering::Acquire)
    }
    #[inline]
    fn write(&self, table: PhysAddr, index: usize, value: u64) {
        self.word(table, index).store(value, Ordering::Release);
    }
    #[inline]
    fn exchange(&self, table: PhysAddr, index: usize, value: u64) -> u64 {
        self.word(table, index).swap(value, Ordering::AcqRel)
    }
    #[inline]
    fn fill(&self, table: PhysAddr, index: usize, count: usize, mut entry: u64, step: u64) -> bool {
        let words = self.some(table, index, count);
        let free = are_zero(words);
        if free {
            let (rows, rest) = words.as_chunks::<ROW>();
            let mut write = |words: &[AtomicU64]| {
                for word in words {
                    word.store(entry, Ordering::Release);
                    entry = entry.wrapping_add(step);
                }
            };
            rows.iter().for_each(|row| write(row));
            write(rest);
        }
        free
    }
    #[inline(always)]
    fn fill_few(&self, table: PhysAddr, index: usize, count: usize, mut entry: u64, step: u64) -> bool {
        let (words, start, end) = (self.words(table), index & 511, (index + count) & 511);
        if count < 2 {
            let free = count == 0 || words[start].load(Ordering::Relaxed) == 0;
            if free && count != 0 {
                words[start].store(entry, Ordering::Release);
            }
            return free;
        }
        let (mut at, mut all) = (start, 0);
        // In this form few iterations are the least instructions.
        loop {
            all |= words[at].load(Ordering::Relaxed);
            at = (at + 1) & 511;
            if at == end {
                break;
            }
        }
        if all != 0 {
            return false;
        }
        at = start;
        loop {
            words[at].store(entry, Ordering::Release);
            (at, entry) = ((at + 1) & 511, entry.wrapping_add(step));
            if at == end {
                return true;
            }
        }
    }
    #[inline(always)]
    fn clear(&self, table: PhysAddr, index: usize, count: usize, bits: u64) -> (u64, u64) {
        if count == 1 {
            return (0, u64::from(self.exchange(table, index, 0) & bits != 0));
        }
        clear_some(self.some(table, index, count), bits)
    }
    #[inline]
    fn sharers(&self, table: PhysAddr) -> u64 {
        self.shared(table).load(Ordering::Relaxed)
    }
    #[inline]
    fn share(&self, table: PhysAddr, cores: u64) {
        self.shared(table).fetch_or(cores, Ordering::Relaxed);
    }
}
