//! Starting the other cores.
//!
//! Purpose: place the trampoline, hand a core its root table, reset and start it.
//! Invariants: a core claims the mailbox by one compare-and-exchange of its APIC id; one that is not expected, or comes after the
//! boot core withdrew the offer, parks with interrupts off and touches nothing. The trampoline and its mapping in the boot
//! tables stay for such a core.
//! Concurrency: one core is started at a time; the claim is the only shared state.
//! Source: Intel SDM volume 3, §9.4.4 (INIT-SIPI-SIPI); AMD64 manual volume 2, §16.3; `boot/trampoline.s`.
use crate::apic;
use crate::boot::BootTable;
use crate::window::View;
use abi::PhysAddr;
use core::arch::global_asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use memory::format::{Attributes, Format, Host};
use memory::layout;

#[repr(C)]
struct Mailbox {
    root: AtomicU64,
    expected: AtomicU32,
}

static MAILBOX: Mailbox = Mailbox { root: AtomicU64::new(0), expected: AtomicU32::new(NOBODY) };
/// No core is expected. No core has this id: it is the broadcast.
const NOBODY: u32 = u32::MAX;

// SAFETY: the symbols are defined by `boot/trampoline.s`; the kernel binary defines what the trampoline calls.
unsafe extern "C" {
    static trampoline_start: u8;
    static trampoline_end: u8;
    static trampoline_gdt_base: u8;
    static trampoline_jump: u8;
}

global_asm!(
    include_str!("../../../boot/trampoline.s"),
    STACK_TOP = const layout::STACK_TOP as i64,
    MAILBOX = sym MAILBOX,
    ROOT = const offset_of!(Mailbox, root),
    EXPECTED = const offset_of!(Mailbox, expected),
);

/// The trampoline, in place.
#[derive(Debug)]
pub struct Trampoline {
    page: u8,
}

impl Trampoline {
    /// Copies the trampoline to `page` and maps it one-to-one, read-execute, in the boot tables. `None` if the page is
    /// not one below 1 MiB, or the window is full.
    ///
    /// # Safety
    /// The page is memory that nobody uses.
    #[must_use]
    pub unsafe fn install(page: PhysAddr) -> Option<Self> {
        let number = u8::try_from(page.page()).ok()?;
        let address = |symbol: *const u8| symbol.addr();
        let [start, end] = [&raw const trampoline_start, &raw const trampoline_end];
        let [gdt, jump] = [&raw const trampoline_gdt_base, &raw const trampoline_jump];
        // SAFETY: constants of the image between two symbols.
        let code = unsafe { core::slice::from_raw_parts(start, address(end) - address(start)) };
        let mut view = View::new(page, 4096, Attributes::READ | Attributes::WRITE)?;
        // SAFETY: the caller gave us the page.
        let bytes = unsafe { view.bytes_mut() };
        bytes.get_mut(..code.len())?.copy_from_slice(code);
        for word in [gdt, jump] {
            let field = bytes.get_mut(address(word) - address(start)..)?.first_chunk_mut::<4>()?;
            *field = (u32::from_le_bytes(*field) + page.get() as u32).to_le_bytes();
        }
        drop(view);
        let entry = Host::leaf(page, 1, Attributes::READ | Attributes::EXECUTE);
        // SAFETY: mapped without write right.
        unsafe { BootTable::Low.set(usize::from(number), entry) };
        Some(Self { page: number })
    }

    /// Offers `root`, an address space for this core alone, to the core `apic_id`.
    pub fn offer(&self, apic_id: u32, root: PhysAddr) {
        MAILBOX.root.store(root.get(), Ordering::Relaxed);
        MAILBOX.expected.store(apic_id, Ordering::Release);
    }

    /// Starts the core `apic_id`. It may need a second call.
    ///
    /// # Safety
    /// What [`Self::offer`] offers has stack, core-local page and all. The core was reset.
    pub unsafe fn start(&self, apic_id: u32) {
        // SAFETY: the page holds the trampoline.
        unsafe { apic::send_startup(apic_id, self.page) };
    }

    /// Whether the offer was taken.
    pub fn taken(&self) -> bool {
        MAILBOX.expected.load(Ordering::Acquire) == NOBODY
    }

    /// Takes the offer back. False if the core has claimed it in the meantime.
    #[must_use]
    pub fn withdraw(&self) -> bool {
        MAILBOX.expected.swap(NOBODY, Ordering::AcqRel) != NOBODY
    }
}
