//! What the first instructions leave behind, and what the linker knows about the image.
//!
//! Purpose: the assembly of `boot/`, and the image's sections as physical ranges.
//! Invariants: the constants given to the assembly are those of [`memory::layout`]; the boot tables are written by the
//! boot core only, through [`BootTable`].
//! Concurrency: used before other cores start, except that they read the boot tables while they start.
//! Source: `boot/entry.s`, `boot/trampoline.s`, `boot/kernel.ld`.
use abi::{PhysAddr, VirtAddr};
use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering};
use memory::layout;
use memory::region::Region;

global_asm!(
    include_str!("../../../boot/entry.s"),
    STACK_TOP = const layout::STACK_TOP as i64,
    STACK_PAGES = const layout::STACK_PAGES,
    STACK_INDEX = const VirtAddr::new(layout::STACK_BOTTOM).index(1),
    IST1_INDEX = const VirtAddr::new(layout::interrupt_stack_top(1) - 2 * 4096).index(1),
    WINDOW_DIRECTORY_INDEX = const VirtAddr::new(layout::WINDOW).index(2),
);

// SAFETY: the symbols are defined by `boot/kernel.ld` and `boot/entry.s`; of all but the tables only addresses are taken.
unsafe extern "C" {
    static image_start: u8;
    static text_start: u8;
    static text_end: u8;
    static sealed_end: u8;
    static data_end: u8;
    static boot_tables: [[AtomicU64; 512]; 12];
    static boot_stack: u8;
    static boot_interrupt_stacks: u8;
    static boot_core_local: u8;
}

/// A range of the image: virtual start and end, page-aligned.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// First address.
    pub start: VirtAddr,
    /// First address after it.
    pub end: VirtAddr,
}

macro_rules! address {
    ($symbol:ident) => {
        VirtAddr::new((&raw const $symbol).addr() as u64)
    };
}

/// Physical address of something in the image.
pub const fn image_phys(virt: VirtAddr) -> PhysAddr {
    PhysAddr::truncate(virt.get().wrapping_sub(layout::IMAGE_OFFSET))
}

/// Code; constants and what is sealed after boot; variables, boot tables and the boot core's pages.
pub fn sections() -> [Section; 3] {
    let ends = [address!(text_start), address!(text_end), address!(sealed_end), address!(data_end)];
    [0, 1, 2].map(|index| Section { start: ends[index], end: ends[index + 1] })
}

/// Physical addresses of the whole image, the pages that run before paging included.
pub fn image() -> Region {
    Region { start: image_phys(address!(image_start)).get(), end: image_phys(address!(data_end)).get() }
}

/// Physical addresses of the boot core's pages: kernel stack, interrupt stacks, core-local page.
pub fn boot_core_pages() -> [PhysAddr; 3] {
    [address!(boot_stack), address!(boot_interrupt_stacks), address!(boot_core_local)].map(image_phys)
}

/// Tables that `boot/entry.s` made and Rust completes, by their order there.
#[derive(Clone, Copy, Debug)]
#[repr(usize)]
pub enum BootTable {
    /// Leaves of the first 2 MiB, one-to-one.
    Low = 4,
    /// Directory of GiB 510.
    Image = 6,
    /// Leaves of the first 2 MiB of the temporal window.
    Window = 11,
}

impl BootTable {
    fn entries(self) -> &'static [AtomicU64; 512] {
        // SAFETY: zeroed memory of the image, 4 KiB aligned, 12 tables (`boot/entry.s`). The processor reads and writes
        // them too, which atomics allow.
        unsafe { &boot_tables[self as usize] }
    }

    /// Writes an entry. A present entry that changes must be flushed by the caller.
    ///
    /// # Safety
    /// The entry maps memory that no Rust object occupies, or maps it without write right.
    pub unsafe fn set(self, index: usize, entry: u64) {
        if let Some(slot) = self.entries().get(index) {
            slot.store(entry, Ordering::Release);
        }
    }

    /// Virtual address of the table.
    pub fn address(self) -> u64 {
        self.entries().as_ptr().addr() as u64
    }
}
