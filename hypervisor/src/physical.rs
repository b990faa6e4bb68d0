//! Firmware's memory, as the parsers want it.
//!
//! Purpose: physical ranges through the temporary window, for boot information and ACPI tables.
//! Invariants: what is mapped lies in the first megabyte or inside one range of the boot loader's memory map, so that a
//! hostile pointer cannot make the kernel read device registers.
//! Concurrency: boot core, before other cores start.
//! Source: ACPI specification 6.5, §5.2 (tables lie in reported memory).
use abi::PhysAddr;
use arch::window::{self, View};
use core::ptr::NonNull;
use firmware::boot_info::BootInfo;
use firmware::physical::PhysicalMemory;
use memory::format::Attributes;

/// The first megabyte, where old firmware keeps its tables.
const LOW: u64 = 1 << 20;

/// Memory that firmware may have put tables into.
pub struct FirmwareMemory<'a>(pub &'a BootInfo<'a>);

impl FirmwareMemory<'_> {
    fn holds(&self, base: u64, length: u64) -> bool {
        let Some(end) = base.checked_add(length) else { return false };
        end <= LOW || self.0.memory().any(|area| base >= area.base && end <= area.base.saturating_add(area.length))
    }
}

// SAFETY: the window maps exactly the bytes asked for until `unmap`; nothing else runs that could change them.
unsafe impl PhysicalMemory for FirmwareMemory<'_> {
    fn map(&self, base: u64, length: usize) -> Option<NonNull<u8>> {
        let base = PhysAddr::new(base).filter(|base| self.holds(base.get(), length as u64))?;
        View::new(base, length, Attributes::READ).map(View::into_raw)
    }

    fn unmap(&self, address: NonNull<u8>, length: usize) {
        window::release(address, length);
    }
}
