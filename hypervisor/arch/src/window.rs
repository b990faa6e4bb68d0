//! Temporal mappings: looking at memory that is not the kernel's.
//!
//! Purpose: boot information, firmware tables, module headers, device registers and (later) messages are reached
//! through a window of this core's own at [`layout::WINDOW`]; there is no map of all memory.
//! Invariants: a mapping exists while its [`View`] does; an entry is cleared and flushed, for all tags, before the page is used
//! again;
//! mappings are never executable; addresses beyond the processor's physical width are refused.
//! Concurrency: each core has its own window and tables; a [`View`] cannot leave its core (it is not `Send`).
//! Source: lecture D:337; design plan §3.
use crate::cpu;
use abi::{PhysAddr, address::PAGE_SIZE};
use core::marker::PhantomData;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use memory::format::{Attributes, Format, Host};
use memory::layout;
use percpu::Window;

static PHYSICAL_BITS: AtomicU32 = AtomicU32::new(36);

/// Sets the processor's physical address width, in bits.
pub fn set_physical_bits(bits: u32) {
    PHYSICAL_BITS.store(bits, Ordering::Relaxed);
}

/// Gives the calling core its window: `pages` leaf entries in tables at virtual address `tables`.
///
/// # Safety
/// The tables are this core's, are referred to by the page directory for [`layout::WINDOW`], and stay.
pub unsafe fn install(tables: u64, pages: u32) {
    // SAFETY: the caller's promise; nothing is mapped in the new tables yet.
    unsafe { percpu::this().local.set_window(Window { tables, pages, next: 0 }) };
}

fn entry(index: u32) -> &'static AtomicU64 {
    let table = core::ptr::with_exposed_provenance::<AtomicU64>(percpu::this().local.window().tables as usize);
    // SAFETY: `install` was promised a table with an entry for each page, and callers stay below the number of pages.
    unsafe { &*table.add(index as usize) }
}

/// A range of physical memory, visible to this core.
#[derive(Debug)]
pub struct View {
    start: NonNull<u8>,
    length: usize,
    first: u32,
    pages: u32,
    core: PhantomData<*mut ()>,
}

impl View {
    /// Shows `length` bytes at `phys`. `None` if they reach beyond the processor's physical addresses, or the window
    /// has no room.
    pub fn new(phys: PhysAddr, length: usize, attributes: Attributes) -> Option<Self> {
        let end = phys.get().checked_add(length as u64)?;
        if length == 0 || end > 1 << PHYSICAL_BITS.load(Ordering::Relaxed) {
            return None;
        }
        let local = &percpu::this().local;
        let window = local.window();
        let first = window.next;
        let pages = u32::try_from(end.div_ceil(PAGE_SIZE) - phys.page()).ok()?;
        let next = first.checked_add(pages).filter(|&next| next <= window.pages)?;
        for page in 0..pages {
            let frame = PhysAddr::truncate((phys.page() + u64::from(page)) * PAGE_SIZE);
            // Global, so that it is forgotten whatever the tag.
            let attributes = attributes.difference(Attributes::EXECUTE | Attributes::USER) | Attributes::GLOBAL;
            entry(first + page).store(Host::leaf(frame, 1, attributes), Ordering::Release);
        }
        // SAFETY: the same tables; what is at or above `next` is still free.
        unsafe { local.set_window(Window { next, ..window }) };
        let start = layout::WINDOW + u64::from(first) * PAGE_SIZE + (phys.get() & (PAGE_SIZE - 1));
        let start = NonNull::new(core::ptr::with_exposed_provenance_mut(start as usize))?;
        Some(Self { start, length, first, pages, core: PhantomData })
    }

    /// Address of the first byte.
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// The bytes.
    ///
    /// # Safety
    /// It is memory, and nobody writes it while the slice lives.
    pub unsafe fn bytes(&self) -> &[u8] {
        // SAFETY: mapped readable for the lifetime of `self`; the rest is the caller's duty.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    /// The bytes, for writing.
    ///
    /// # Safety
    /// It was mapped writable, is memory that nobody else uses, and no other view shows it.
    pub unsafe fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }

    /// Address of the 32 bits at `offset`, if they are within the view and at a multiple of 4.
    fn word(&self, offset: usize) -> Option<NonNull<u32>> {
        let inside = offset < self.length && self.length - offset >= 4;
        // SAFETY: within the view.
        let word = inside.then(|| unsafe { self.start.add(offset).cast::<u32>() });
        word.filter(|word| word.is_aligned())
    }

    /// Reads a 32-bit device register at `offset`; 0 if it is not within the view, or not at a multiple of 4.
    ///
    /// # Safety
    /// Reading the register at the view's address plus `offset` has no effect on memory.
    pub unsafe fn register(&self, offset: usize) -> u32 {
        // SAFETY: within the view and aligned, the rest is the caller's duty.
        self.word(offset).map_or(0, |word| unsafe { word.read_volatile() })
    }

    /// Writes a 32-bit device register.
    ///
    /// # Safety
    /// As for [`Self::register`], and the view is writable.
    pub unsafe fn set_register(&self, offset: usize, value: u32) {
        if let Some(word) = self.word(offset) {
            // SAFETY: as above.
            unsafe { word.write_volatile(value) };
        }
    }
}

impl Drop for View {
    /// Clears and flushes the entries; the room at the end of the window that is empty becomes usable again.
    fn drop(&mut self) {
        let local = &percpu::this().local;
        let mut window = local.window();
        for index in self.first..self.first + self.pages {
            entry(index).store(0, Ordering::Release);
            cpu::flush_page(layout::WINDOW + u64::from(index) * PAGE_SIZE);
        }
        while window.next > 0 && entry(window.next - 1).load(Ordering::Relaxed) == 0 {
            window.next -= 1;
        }
        // SAFETY: the same tables; the entries at or above `next` are clear.
        unsafe { local.set_window(window) };
    }
}
