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
use arch::window::View;
use core::ops::Deref;
use firmware::boot_info::BootInfo;
use firmware::physical::PhysicalMemory;
use memory::format::Attributes;
use memory::region::Region;

/// The first megabyte, where old firmware keeps its tables.
const LOW: u64 = 1 << 20;

/// Memory that firmware may have put tables into.
pub struct FirmwareMemory<'a>(pub &'a BootInfo<'a>);

impl FirmwareMemory<'_> {
    fn holds(&self, base: u64, length: u64) -> bool {
        let Some(end) = base.checked_add(length) else { return false };
        let image = boot::image().overlaps(&Region { start: base, end });
        let mut pages = (base..end).step_by(PAGE_SIZE as usize).chain(end.checked_sub(1)).map(PhysAddr::truncate);
        if length == 0 || image || pages.any(|page| arch::pool::number(page).is_some()) {
            return false;
        }
        end <= LOW || self.0.memory().any(|area| base >= area.base && end <= area.base.saturating_add(area.length))
    }
}

impl PhysicalMemory for FirmwareMemory<'_> {
    type Bytes = Shown;

    fn bytes(&self, base: u64, length: usize) -> Option<Shown> {
        let base = PhysAddr::new(base).filter(|base| self.holds(base.get(), length as u64))?;
        View::new(base, length, Attributes::READ).map(Shown)
    }
}

/// A range of the firmware's memory.
pub struct Shown(View);

impl Deref for Shown {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: nothing else runs that could change the bytes, and the kernel's own variables are not among them.
        unsafe { self.0.bytes() }
    }
}
