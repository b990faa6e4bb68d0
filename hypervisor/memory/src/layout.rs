//! The kernel's part of the address space: who sits where.
//!
//! Purpose: every fixed address of ring 0, in one place, for Rust, assembly and tests.
//! Invariants: everything is above the user range and in top-level slot 511; the assertions at the end tie the
//! numbers together. `boot/entry.s` and `boot/kernel.ld` get the same numbers from here or assert them.
//! Concurrency: constants. What is per machine, per core and per domain is said at each.
//! Source: lecture D:331-338; design plan §3; `docs/src/decisions/0002-table-pages.md`.
use abi::address::{LARGE_PAGE_SIZE, PAGE_SIZE};

/// What is added to a physical address of the kernel image to get its virtual one (mod 2^64).
pub const IMAGE_OFFSET: u64 = 0xFFFF_FFFF_8000_0000;
/// Virtual address of the image's first byte; its physical address is 16 MiB. Per machine.
pub const IMAGE_BASE: u64 = 0xFFFF_FFFF_8100_0000;
/// The most that the image may occupy, in bytes.
pub const IMAGE_LIMIT: u64 = 4 << 20;
/// Virtual address of the kernel's memory pool. Per machine.
pub const POOL_BASE: u64 = 0xFFFF_FFFF_8200_0000;
/// The most that the pool may occupy, in bytes.
pub const POOL_LIMIT: u64 = 768 << 20;

/// Pages of the kernel stack of a core.
pub const STACK_PAGES: u64 = 4;
/// First address after the kernel stack of a core; an unmapped page lies below the stack.
pub const STACK_TOP: u64 = 0xFFFF_FFFF_BFFF_E000;
/// Pages of each interrupt stack of a core.
pub const INTERRUPT_STACK_PAGES: u64 = 2;
/// Number of interrupt stacks of a core: double fault, NMI, debug, machine check (IST 1 to 4).
pub const INTERRUPT_STACKS: u64 = 4;
/// The local APIC of the core in xAPIC mode, uncached.
pub const LOCAL_APIC: u64 = 0xFFFF_FFFF_BFFF_E000;
/// The core-local page: the same address, another frame on each core.
pub const CORE_LOCAL: u64 = 0xFFFF_FFFF_BFFF_F000;

/// The I/O permission bitmap of the current domain, two pages, and a page whose first byte is all ones (trap T8).
pub const IO_BITMAP: u64 = 0xFFFF_FFFF_C000_0000;
/// Temporal mappings of a core.
pub const WINDOW: u64 = 0xFFFF_FFFF_DF00_0000;
/// Size of the temporal window in bytes.
pub const WINDOW_SIZE: u64 = 16 << 20;
/// The capability space of the current domain, up to the end of the address space.
pub const CAPABILITIES: u64 = 0xFFFF_FFFF_E000_0000;

/// First address of the GiB whose page directory belongs to a core.
pub const GIB_510: u64 = 0xFFFF_FFFF_8000_0000;
/// First address of the GiB whose page directory belongs to a (domain, core) pair.
pub const GIB_511: u64 = 0xFFFF_FFFF_C000_0000;

/// Lowest address of the kernel stack of a core.
pub const STACK_BOTTOM: u64 = STACK_TOP - STACK_PAGES * PAGE_SIZE;

/// First address after interrupt stack `ist` (1 to 4); each is followed downwards by an unmapped page.
pub const fn interrupt_stack_top(ist: u64) -> u64 {
    STACK_BOTTOM - PAGE_SIZE - (ist - 1) * (INTERRUPT_STACK_PAGES + 1) * PAGE_SIZE
}

const _: () = {
    assert!(IMAGE_BASE == IMAGE_OFFSET + (16 << 20));
    assert!(POOL_BASE >= IMAGE_BASE + IMAGE_LIMIT && POOL_BASE.is_multiple_of(LARGE_PAGE_SIZE));
    // The last page table of the GiB holds what is per core; the pool ends before it.
    assert!(POOL_BASE + POOL_LIMIT <= CORE_LOCAL & !(LARGE_PAGE_SIZE - 1));
    assert!(interrupt_stack_top(INTERRUPT_STACKS) - 3 * PAGE_SIZE >= CORE_LOCAL & !(LARGE_PAGE_SIZE - 1));
    assert!(CORE_LOCAL + PAGE_SIZE == IO_BITMAP);
    assert!(WINDOW + WINDOW_SIZE == CAPABILITIES);
};
