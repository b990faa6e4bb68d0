//! The I/O interrupt controllers: silent until somebody owns an interrupt.
//!
//! Purpose: mask every redirection entry, whatever the firmware has left there.
//! Invariants: an interrupt arrives only after its entry was written by the kernel.
//! Concurrency: boot core, before other cores start; index and data register belong together.
//! Source: Intel 82093AA data sheet, §3.
use crate::window::View;
use abi::PhysAddr;
use memory::format::Attributes;

const INDEX: usize = 0;
const DATA: usize = 0x10;
const VERSION: u32 = 1;
const FIRST_ENTRY: u32 = 0x10;
const MASKED: u32 = 1 << 16;

/// Masks all inputs of the controller at `base`; false if it cannot be reached.
///
/// # Safety
/// The registers of an I/O interrupt controller, or nothing at all, are there, but no memory.
pub unsafe fn mask_all(base: u64) -> bool {
    let attributes = Attributes::READ | Attributes::WRITE | Attributes::UNCACHED;
    let Some(view) = PhysAddr::new(base).and_then(|base| View::new(base, 0x20, attributes)) else { return false };
    // SAFETY: the caller vouches for the registers; masking an interrupt touches no memory.
    unsafe {
        view.set_register(INDEX, VERSION);
        let last = view.register(DATA) >> 16 & 0xFF;
        for entry in 0..=last {
            view.set_register(INDEX, FIRST_ENTRY + 2 * entry);
            view.set_register(DATA, MASKED);
        }
    }
    true
}
