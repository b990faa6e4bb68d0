//! What the firmware says the machine is.
//!
//! Purpose: from ACPI tables to the list of cores and the clocks that can calibrate ours.
//! Invariants: the list of cores is sized by the table, the boot core comes first, nobody is listed twice; a machine
//! without usable tables runs on its boot core, if the reason is absence; a broken table stops the machine in words.
//! Concurrency: boot core, before other cores start.
//! Source: ACPI specification 6.5, §5.2; design plan §3.
use crate::log::{debug, info, warning};
use crate::physical::FirmwareMemory;
use crate::{interrupt, pool};
use abi::address::PHYS_BITS;
use arch::io_apic;
use firmware::Problem;
use firmware::acpi_tables::{Core, Fadt, Madt, Segment, Tables};
use firmware::boot_info::{AVAILABLE, BootInfo, MemoryArea};
use firmware::physical::PhysicalMemory;
use memory::frames::Order;
use memory::region::Region;

/// Interrupts of the ISA bus: active high and triggered by edge, unless the firmware says otherwise.
const ISA: u32 = 16;

/// The machine.
#[derive(Debug)]
pub struct Machine {
    /// Usable cores, the boot core first.
    pub cores: &'static [Core],
    /// Power management, if described.
    pub fadt: Option<Fadt>,
    /// Where the root tables are, for the root program.
    pub rsdt: Option<u32>,
    /// As above, with 64-bit addresses.
    pub xsdt: Option<u64>,
}

/// Reads the tables. `boot_apic_id` is the boot core's id, `largest_id` the
/// largest that can be addressed, `limit` the number of cores to use at most.
///
/// # Errors
/// A table that is needed is broken.
pub fn read(boot: &BootInfo<'_>, boot_apic_id: u32, largest_id: u32, limit: u32) -> Result<Machine, Problem> {
    let memory = FirmwareMemory(boot);
    let Some(rsdp) = boot.rsdp()? else {
        warning!("ACPI: no RSDP from the boot loader; using the boot core only");
        let cores = list(1, |_| alone(boot_apic_id));
        return Ok(Machine { cores, fadt: None, rsdt: None, xsdt: None });
    };
    let tables = Tables::open(&memory, rsdp)?;
    let madt = tables.madt()?;
    let cores = cores(&madt, boot_apic_id, largest_id, limit);
    for controller in madt.io_apics() {
        let (base, first) = (u64::from(controller.io_apic_address), controller.global_system_interrupt_base);
        // SAFETY: `registers` found no memory there, and the firmware says what it is.
        if registers(boot, "I/O APIC", base, 0x20) && !unsafe { io_apic::add(base, first) } {
            warning!("I/O APIC {}: cannot be reached", controller.io_apic_id);
        }
        info!("I/O APIC {}: address {base:#x}, first interrupt {first}", controller.io_apic_id);
    }
    (0..ISA).for_each(|number| io_apic::set_default(number, 0));
    for entry in madt.overrides() {
        debug!("interrupt override: {entry:?}");
        let bit = |set, bit| if set { bit } else { 0 };
        io_apic::set_default(entry.gsi, bit(entry.level, io_apic::LEVEL) | bit(entry.active_low, io_apic::LOW));
    }
    let fadt = tables.fadt()?;
    if let Some(base) = tables.hpet()? {
        interrupt::add_devices(Region::from_length(base, 0x400));
    }
    for Segment { segment, start, end } in tables.mcfg()? {
        info!("PCI segment {segment} configuration at {start:#x}");
        interrupt::add_devices(Region { start, end });
    }
    Ok(Machine { cores, fadt, rsdt: tables.rsdp.rsdt, xsdt: tables.rsdp.xsdt })
}

/// The boot core and the other usable cores, at most `limit`.
fn cores<M: PhysicalMemory>(madt: &Madt<M>, boot_apic_id: u32, largest_id: u32, limit: u32) -> &'static [Core] {
    let usable = |core: &Core| core.enabled && core.apic_id != boot_apic_id && core.apic_id <= largest_id;
    for core in madt.cores().filter(|core| core.enabled && core.apic_id > largest_id) {
        warning!("core with APIC id {} cannot be reached without x2APIC; it is left out", core.apic_id);
    }
    let (listed, others) = (madt.cores().count(), madt.cores().filter(usable).count());
    let count = (others + 1).min(limit as usize);
    info!("cores: {listed} listed by the firmware, {} usable, using {count}", others + 1);
    let boot = madt.cores().find(|core| core.apic_id == boot_apic_id).unwrap_or(alone(boot_apic_id));
    let mut all = core::iter::once(boot).chain(madt.cores().filter(usable));
    list(count, |_| all.next().unwrap_or(boot))
}

/// A boot core of which the firmware says nothing.
fn alone(apic_id: u32) -> Core {
    Core { apic_id, acpi_id: 0, enabled: true }
}

/// A list in a frame of its own; empty if there is no such frame.
fn list(count: usize, make: impl FnMut(usize) -> Core) -> &'static [Core] {
    let order = Order::covering((count * size_of::<Core>()) as u64);
    let frame = order.and_then(|order| pool::zeroed(order).ok());
    frame.and_then(|frame| arch::pool::place(frame, count, make)).unwrap_or(&[])
}

/// Whether `size` bytes at `base` can be device registers: aligned, and not in usable memory.
fn registers(boot: &BootInfo<'_>, what: &str, base: u64, size: u64) -> bool {
    let usable = |area: MemoryArea| area.kind == AVAILABLE && base < area.base + area.length && base + size > area.base;
    let plausible = base.is_multiple_of(16) && base < 1 << PHYS_BITS && !boot.memory().any(usable);
    if !plausible {
        warning!("ACPI: the {what} cannot be at {base:#x}; it is not used");
    }
    plausible
}
