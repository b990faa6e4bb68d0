//! The hypervisor information page.
//!
//! Purpose: what the root program learns of the machine: cores, memory, modules, tables of the firmware.
//! Invariants: every range that the kernel keeps is listed as its own; length and checksum are right.
//! Concurrency: written once, before the root program starts; read-only for everybody afterwards.
//! Source: interface §7 ("HIP").
use crate::log::warning;
use crate::machine::Machine;
use crate::{clock, cores, vcpu};
use abi::hip::{CPU_SLOTS, MAX_MEMORY_DESCRIPTORS};
use abi::hip::{CpuDescriptor, CpuFlags, HipError, HipWriter, MemoryDescriptor, MemoryKind};
use arch::features::Features;
use firmware::boot_info::BootInfo;
use memory::plan::Plan;
use memory::region::Region;

/// Where the facts come from.
pub struct Facts<'a> {
    /// The boot loader's information.
    pub boot: BootInfo<'a>,
    /// The firmware's.
    pub machine: &'a Machine,
    /// The processor's.
    pub features: &'a Features,
    /// What the kernel keeps.
    pub plan: &'a Plan,
}

/// Descriptors of the kernel's ranges and the firmware's tables.
const OWN: usize = 6;

/// Writes the page into `area`.
pub fn write(facts: &Facts<'_>, area: &mut [u8]) {
    if let Err(error) = try_write(facts, area) {
        warning!("the information page is incomplete: {error:?}");
    }
}

fn try_write(facts: &Facts<'_>, area: &mut [u8]) -> Result<(), HipError> {
    use abi::hip::Features;
    // An IOMMU is not served yet, whatever the processor has.
    let extensions = Features::ITEM_FORMS
        | Features::COUNTERS
        | Features::OVERMAPPING
        | Features::EVIDENCE
        | Features::REPORT
        | Features::REVOKE_LATER
        | Features::LIMITS;
    let mut page = HipWriter::new(area, vcpu::features().union(extensions), clock::khz())?;
    let outcome = fill(facts, &mut page);
    page.finish();
    outcome
}

fn fill(facts: &Facts<'_>, page: &mut HipWriter<'_>) -> Result<(), HipError> {
    let (family, model, stepping) = facts.features.signature;
    for (number, core) in cores::running().iter().enumerate().take(CPU_SLOTS) {
        let descriptor = CpuDescriptor {
            flags: CpuFlags::ENABLED,
            core: number as u8,
            acpi_id: core.acpi_id() as u8,
            family,
            model,
            stepping_platform: stepping,
            ..CpuDescriptor::default()
        };
        page.set_cpu(number, descriptor)?;
    }
    // What the kernel keeps must find room after a long map.
    let room = MAX_MEMORY_DESCRIPTORS - OWN - facts.boot.modules().count().min(MAX_MEMORY_DESCRIPTORS - OWN);
    for area in facts.boot.memory().take(room) {
        page.push_memory(MemoryDescriptor::new(area.base, area.length, MemoryKind(area.kind as i32)))?;
    }
    for module in facts.boot.modules() {
        page.push_memory(MemoryDescriptor::new(module.start, module.end - module.start, MemoryKind::MODULE))?;
    }
    let trampoline = Region::from_length(facts.plan.trampoline, abi::address::PAGE_SIZE);
    for kept in [arch::boot::image(), facts.plan.pool, trampoline] {
        page.push_memory(MemoryDescriptor::new(kept.start, kept.length(), MemoryKind::HYPERVISOR))?;
    }
    let tables = [
        (facts.machine.rsdt.map(u64::from), MemoryKind::RSDT),
        (facts.machine.xsdt, MemoryKind::XSDT),
        (facts.boot.efi_system_table(), MemoryKind::EFI_SYSTEM_TABLE),
    ];
    let mut present = tables.into_iter().filter_map(|(address, kind)| Some((address?, kind)));
    present.try_for_each(|(address, kind)| page.push_memory(MemoryDescriptor::new(address, 0, kind)))
}
