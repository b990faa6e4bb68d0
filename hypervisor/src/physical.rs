//! Firmware's memory, as the parsers want it.
//!
//! Purpose: physical ranges through the temporary window, for boot information and ACPI tables.
//! Invariants: what is mapped lies in the first megabyte or inside one range of the boot loader's memory map, whatever
//! its kind, and outside the kernel's image and pool; a hostile pointer reads nothing that is not there.
//! Concurrency: boot core, before other cores start.
//! Source: ACPI specification 6.5, §5.2 (tables lie in reported memory).
use abi::PhysAddr;
use abi::address::PAGE_SIZE;
use arch::boot;
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
        let [first, last] = [boot::image().start, boot::image().end].map(|virt| boot::image_phys(virt).get());
        let image = base < last && end > first;
        let mut pages = (base..end).step_by(PAGE_SIZE as usize).chain(end.checked_sub(1)).map(PhysAddr::truncate);
        if length == 0 || image || pages.any(|page| arch::pool::number(page).is_some()) {
            return false;
        }
        end <= LOW || self.0.memory().any(|area| base >= area.base && end <= area.base.saturating_add(area.length))
    }
}

// SAFETY: the window maps exactly the bytes asked for until `unmap`; nothing else runs that could change them, and the
// kernel's own variables are left out.
unsafe impl PhysicalMemory for FirmwareMemory<'_> {
    fn map(&self, base: u64, length: usize) -> Option<NonNull<u8>> {
        let base = PhysAddr::new(base).filter(|base| self.holds(base.get(), length as u64))?;
        View::new(base, length, Attributes::READ).map(View::into_raw)
    }

    fn unmap(&self, address: NonNull<u8>, length: usize) {
        // SAFETY: `map` gave up the view of exactly these bytes.
        unsafe { window::release(address, length) };
    }
}
