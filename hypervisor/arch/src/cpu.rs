//! Single instructions.
//!
//! Purpose: waiting, stopping, address-space switch and time stamps as functions.
//! Invariants: interrupts are on only inside [`wait`].
//! Concurrency: each acts on the calling core.
//! Source: AMD64 manual volume 3.
use abi::PhysAddr;
use core::arch::asm;

/// Halts until an interrupt arrives, takes it, and returns with interrupts off again.
pub fn wait() {
    // SAFETY: the kernel's interrupt handlers expect to be entered from here: they use the current stack below RSP
    // (the target has no red zone) and preserve all registers. STI takes effect after HLT, so no wake-up is lost.
    unsafe { asm!("sti", "hlt", "cli") }
}

/// Takes the interrupts that are pending, and returns with interrupts off again.
pub fn breathe() {
    // SAFETY: as for `wait`; the NOP ends the shadow of STI.
    unsafe { asm!("sti", "nop", "cli") }
}

/// Stops this core for good. Only an NMI wakes it, and it stops again.
pub fn halt() -> ! {
    loop {
        // SAFETY: with interrupts off this only stops the core.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) }
    }
}

/// Loads the address space whose top-level table, and tag, is `root`; drops all translations with that tag that are not global,
/// unless the highest bit says not to.
///
/// # Safety
/// `root` names a table that maps the running code, its stack and the core-local page as they are mapped now. Only if tags
/// are enabled there is one, or the highest bit; what stays is right.
#[inline]
pub unsafe fn load_root(root: u64) {
    // SAFETY: the caller vouches for the table.
    unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack)) }
}

/// Physical address of the current top-level table.
pub fn root() -> PhysAddr {
    PhysAddr::truncate(tagged_root() & !0xFFF)
}

/// As [`root`], with its tag.
pub fn tagged_root() -> u64 {
    // SAFETY: reads a register.
    unsafe { x86::controlregs::cr3() }
}

/// Makes [`fault_address`] give this.
#[inline]
pub fn set_fault_address(address: u64) {
    // SAFETY: the register holds information only.
    unsafe { core::arch::asm!("mov cr2, {}", in(reg) address, options(nomem, nostack, preserves_flags)) };
}

/// Address of the last page fault on this core.
pub fn fault_address() -> u64 {
    // SAFETY: reads a register.
    unsafe { x86::controlregs::cr2() as u64 }
}

/// The stack pointer, roughly: somewhere in the caller's frame.
pub fn stack_pointer() -> u64 {
    let value: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rsp", out(reg) value, options(nomem, nostack)) }
    value
}

/// Drops the translation of the page that holds `address` on this core, of the tag that is loaded, or global.
pub fn flush_page(address: u64) {
    // SAFETY: forgetting a translation has no effect but a new walk.
    unsafe { asm!("invlpg [{}]", in(reg) address, options(nostack)) }
}

/// The time-stamp counter; what is before or after it may overlap with it.
#[inline]
pub fn time_stamp() -> u64 {
    // SAFETY: reads a counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}
