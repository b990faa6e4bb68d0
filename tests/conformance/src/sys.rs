//! The interface as it is: registers, message pages, and short forms of what the checks use all the time.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use abi::hip::ROOT_UTCB_ADDRESS;
use abi::item::{ItemFlags, ItemKind};
use abi::rights::MemoryRights;
use abi::{Crd, Hypercall, Request, Rights, Selector, TypedItem};

/// The root domain's own selector, and those that follow it.
pub const ROOT: u64 = 32;
/// The first execution context.
pub const ROOT_EC: u64 = 33;
/// Its scheduling context.
pub const ROOT_SC: u64 = 34;
/// A selector that is always empty.
pub const EMPTY: u64 = 0x3F_0000;

/// The registers that a hypercall takes and gives.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Registers {
    /// Number, flags and selector; afterwards the status.
    pub rdi: u64,
    /// Second argument.
    pub rsi: u64,
    /// Third argument.
    pub rdx: u64,
    /// Fourth argument.
    pub rax: u64,
    /// Fifth argument.
    pub r8: u64,
}

impl Registers {
    /// The registers for a hypercall.
    #[must_use]
    pub const fn new(call: Hypercall, flags: u8, selector: u64, [rsi, rdx, rax, r8]: [u64; 4]) -> Self {
        Self { rdi: Request::new(call, flags, Selector::new(selector)).word(), rsi, rdx, rax, r8 }
    }

    /// The low byte of the first register.
    #[must_use]
    pub const fn status(self) -> u64 {
        self.rdi & 0xFF
    }

    /// Makes the hypercall.
    #[must_use]
    pub fn enter(self) -> Self {
        let Self { mut rdi, mut rsi, mut rdx, mut rax, mut r8 } = self;
        // SAFETY: the programs create objects, move capabilities that no Rust object depends on, or let functions of
        // their own run, which keep to their stacks.
        unsafe {
            asm!("syscall", inout("rdi") rdi, inout("rsi") rsi, inout("rdx") rdx, inout("rax") rax, inout("r8") r8,
                out("rcx") _, out("r11") _);
        }
        Self { rdi, rsi, rdx, rax, r8 }
    }
}

/// A hypercall of the calling thread; all registers come back.
pub fn hypercall(call: Hypercall, flags: u8, selector: u64, arguments: [u64; 4]) -> Registers {
    Registers::new(call, flags, selector, arguments).enter()
}

/// Ups a semaphore.
pub fn up(semaphore: u64) -> Registers {
    hypercall(Hypercall::ControlSemaphore, 0, semaphore, [0; 4])
}

/// Downs a semaphore, at most until the TSC reaches `deadline` (0: for ever).
pub fn down(semaphore: u64, deadline: u64) -> Registers {
    hypercall(Hypercall::ControlSemaphore, 1, semaphore, [deadline >> 32, deadline & 0xFFFF_FFFF, 0, 0])
}

/// The time-stamp counter.
#[must_use]
pub fn time_stamp() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a counter.
    unsafe { asm!("rdtsc", out("eax") low, out("edx") high, options(nomem, nostack)) };
    u64::from(high) << 32 | u64::from(low)
}

/// Word `index` of the page at `page`.
#[must_use]
pub fn word(page: u64, index: usize) -> &'static AtomicU64 {
    let page = core::ptr::with_exposed_provenance::<AtomicU64>(page as usize);
    // SAFETY: a message page, mapped by the kernel since its context exists; 512 words.
    unsafe { &*page.add(index & 511) }
}

/// A word of the first thread's message page.
#[must_use]
pub fn own(index: usize) -> &'static AtomicU64 {
    word(ROOT_UTCB_ADDRESS, index)
}

/// Message of the first thread: words and items; the windows stay.
pub fn message(words: &[u64], items: &[TypedItem]) {
    own(0).store(words.len() as u64 | (items.len() as u64) << 16, Relaxed);
    for (index, value) in words.iter().enumerate() {
        own(4 + index).store(*value, Relaxed);
    }
    for (index, item) in items.iter().enumerate() {
        let [range, control] = item.words();
        own(510 - 2 * index).store(range, Relaxed);
        own(511 - 2 * index).store(control, Relaxed);
    }
}

/// Capabilities from `base` on.
#[must_use]
pub fn objects(base: u64, order: u32, rights: u8) -> Crd {
    Crd::objects(Selector::new(base), order, Rights::new(rights)).unwrap_or(Crd::NULL)
}

/// Pages from page number `page` on.
#[must_use]
pub fn memory(page: u64, order: u32, rights: MemoryRights) -> Crd {
    Crd::memory(page, order, rights).unwrap_or(Crd::NULL)
}

/// An item that delegates without flags.
#[must_use]
pub fn give(range: Crd, hotspot: u64) -> TypedItem {
    TypedItem::new(range, ItemKind::Delegate, ItemFlags::empty(), hotspot)
}

/// Delegates items between domains, from the first thread's message page.
pub fn delegate(source: u64, items: &[TypedItem], window: Crd, destination: u64) -> Registers {
    message(&[], items);
    hypercall(Hypercall::Misc, 1, source, [window.word(), destination, 0, 0])
}

/// Delegates one item of the hypervisor's own space to the root domain.
pub fn acquire(range: Crd, window: Crd) -> Registers {
    delegate(ROOT, &[TypedItem::new(range, ItemKind::Delegate, ItemFlags::HYPERVISOR, 0)], window, ROOT)
}

/// The mapping that contains the base of `range` in the own domain; 0 if there is none.
pub fn lookup(range: Crd) -> Registers {
    hypercall(Hypercall::Misc, 0, 0, [range.word(), 0, 0, 0])
}

/// Revokes with flags; `remote` is the domain where the flag for it is set.
pub fn revoke(flags: u8, range: Crd, remote: u64) -> Registers {
    hypercall(Hypercall::Revoke, flags, 0, [range.word(), remote, 0, 0])
}

/// Limit and usage of a domain in pages; `None` if the kernel does not tell.
#[must_use]
pub fn domain_usage(domain: u64) -> Option<(u64, u64)> {
    let found = hypercall(Hypercall::ControlDomain, 2, domain, [0; 4]);
    (found.status() == 0).then_some((found.rsi, found.rdx))
}
