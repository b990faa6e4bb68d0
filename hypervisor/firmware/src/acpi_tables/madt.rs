//! The multiple APIC description table: processors and interrupt controllers.
//!
//! [`Madt::new`] walks all entries once: each has at least the size of its type
//! and lies inside the table. Entries of unknown type are skipped. A processor
//! may be listed as a local APIC and as an x2APIC, and more than once; it is
//! reported once, at its first place, enabled if any entry says so.
//!
//! Source: ACPI specification 6.5, §5.2.12.

use super::{AcpiError, Signature, Table};
use crate::bytes::u32_at;
use crate::layout::{Plain, read};
use crate::physical::PhysicalMemory;
use acpi::madt::{
    InterruptSourceOverrideEntry, IoApicEntry, LocalApicAddressOverrideEntry, LocalApicEntry, LocalApicNmiEntry,
    LocalX2ApicEntry, NmiSourceEntry, X2ApicNmiEntry,
};

pub const SIGNATURE: Signature = Signature(*b"APIC");

/// Most entries that are accepted: [`Madt::cores`] compares them in pairs.
pub const MAX_ENTRIES: usize = 8192;

/// Bytes before the entries.
const ENTRIES: usize = 44;

/// An entry inside the table, at least as long as its type demands.
#[derive(Clone, Copy)]
struct Entry<'a> {
    kind: u8,
    bytes: &'a [u8],
}

impl<'a> Entry<'a> {
    /// The entry at `offset`, which is below the length of `table`.
    fn at(table: &'a [u8], offset: usize) -> Result<Self, AcpiError> {
        let rest = table.get(offset..).unwrap_or(&[]);
        let &[kind, length, ..] = rest else {
            return Err(AcpiError::EntryTruncated { table: SIGNATURE, offset });
        };
        let minimum = minimum(kind);
        if length < minimum {
            return Err(AcpiError::EntryTooShort { table: SIGNATURE, offset, kind, length, minimum });
        }
        let bytes = rest.get(..length.into()).ok_or(AcpiError::EntryTooLong {
            table: SIGNATURE,
            offset,
            kind,
            length,
            table_length: table.len(),
        })?;
        Ok(Self { kind, bytes })
    }

    /// The entry as the structure of type `kind`.
    fn when<T: Plain>(self, kind: u8) -> Option<T> {
        if self.kind == kind { read(self.bytes) } else { None }
    }

    /// The processor that the entry describes. The broadcast ids name none.
    fn core(self) -> Option<Core> {
        let (apic_id, acpi_id, flags) = if let Some(entry) = self.when::<LocalApicEntry>(0) {
            if entry.apic_id == 0xff {
                return None;
            }
            (entry.apic_id.into(), entry.processor_id.into(), entry.flags)
        } else {
            let entry = self.when::<LocalX2ApicEntry>(9)?;
            if entry.x2apic_id == u32::MAX {
                return None;
            }
            (entry.x2apic_id, entry.processor_uid, entry.flags)
        };
        Some(Core { apic_id, acpi_id, enabled: flags & 1 != 0, online_capable: flags & 2 != 0 })
    }
}

/// Smallest length of an entry of this type; 2 for those that are not read.
fn minimum(kind: u8) -> u8 {
    match kind {
        0 | 3 => 8,
        1 | 5 | 10 => 12,
        2 => 10,
        4 => 6,
        9 => 16,
        _ => 2,
    }
}

/// A processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Core {
    /// Local APIC id; above 254 only reachable in x2APIC mode.
    pub apic_id: u32,
    /// The firmware's number for it.
    pub acpi_id: u32,
    /// It can be started.
    pub enabled: bool,
    /// It can be enabled while the system runs.
    pub online_capable: bool,
}

/// An I/O APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoApic {
    /// Its id.
    pub id: u8,
    /// Physical address of its registers.
    pub address: u32,
    /// Global system interrupt of its first pin.
    pub gsi_base: u32,
}

/// When an interrupt line counts as active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polarity {
    /// As usual on the bus (ISA: high).
    Bus,
    /// When high.
    High,
    /// When low.
    Low,
}

/// What an interrupt is triggered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// As usual on the bus (ISA: edge).
    Bus,
    /// Becoming active.
    Edge,
    /// Being active.
    Level,
}

/// Decodes the flags of an interrupt; reserved values count as usual.
fn mode(flags: u16) -> (Polarity, Trigger) {
    let polarity = match flags & 3 {
        1 => Polarity::High,
        3 => Polarity::Low,
        _ => Polarity::Bus,
    };
    let trigger = match flags >> 2 & 3 {
        1 => Trigger::Edge,
        3 => Trigger::Level,
        _ => Trigger::Bus,
    };
    (polarity, trigger)
}

/// An ISA interrupt that does not arrive at the pin of its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Override {
    /// Bus; always 0 (ISA) in a table that follows the specification.
    pub bus: u8,
    /// Interrupt number on the bus.
    pub source: u8,
    /// Global system interrupt where it arrives.
    pub gsi: u32,
    /// Active level.
    pub polarity: Polarity,
    /// Edge or level.
    pub trigger: Trigger,
}

/// A line that delivers non-maskable interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nmi {
    /// At a pin of an I/O APIC.
    Global {
        /// Global system interrupt.
        gsi: u32,
        /// Active level.
        polarity: Polarity,
        /// Edge or level.
        trigger: Trigger,
    },
    /// At a pin of local APICs.
    Local {
        /// The processor by the firmware's number; `None` for all.
        acpi_id: Option<u32>,
        /// 0 or 1 for LINT0 or LINT1; not checked.
        line: u8,
        /// Active level.
        polarity: Polarity,
        /// Edge or level.
        trigger: Trigger,
    },
}

/// All that the entries say about `core`, if the one at `index` is its first.
fn merge(all: impl Iterator<Item = Core>, index: usize, core: Core) -> Option<Core> {
    let mut merged = core;
    for (other_index, other) in all.enumerate().filter(|(_, other)| other.apic_id == core.apic_id) {
        if other_index < index {
            return None;
        }
        if other.enabled && !merged.enabled {
            (merged.enabled, merged.acpi_id) = (true, other.acpi_id);
        }
        merged.online_capable |= other.online_capable;
    }
    Some(merged)
}

/// A checked MADT, mapped as long as this value lives.
pub struct Madt<'m, M: PhysicalMemory + ?Sized>(Table<'m, M>);

impl<'m, M: PhysicalMemory + ?Sized> Madt<'m, M> {
    pub(super) fn new(table: Table<'m, M>) -> Result<Self, AcpiError> {
        let table = table.at_least(ENTRIES as u32)?;
        let bytes = table.bytes();
        let (mut offset, mut count) = (ENTRIES, 0);
        while offset < bytes.len() {
            // At least two bytes, so this ends.
            offset += Entry::at(bytes, offset)?.bytes.len();
            count += 1;
            if count > MAX_ENTRIES {
                return Err(AcpiError::TooManyEntries(SIGNATURE));
            }
        }
        Ok(Self(table))
    }

    fn entries(&self) -> impl Iterator<Item = Entry<'_>> + Clone {
        let bytes = self.0.bytes();
        let mut offset = ENTRIES;
        core::iter::from_fn(move || {
            let entry = Entry::at(bytes, offset).ok()?;
            offset += entry.bytes.len();
            Some(entry)
        })
    }

    /// Physical address of the local APICs' registers, from the 64-bit entry if
    /// there is one.
    pub fn local_apic_address(&self) -> u64 {
        self.entries()
            .find_map(|entry| entry.when::<LocalApicAddressOverrideEntry>(5))
            .map_or(u32_at(self.0.bytes(), 36).unwrap_or(0).into(), |entry| entry.local_apic_address)
    }

    /// There are two 8259 interrupt controllers, to be masked.
    pub fn has_8259(&self) -> bool {
        u32_at(self.0.bytes(), 40).unwrap_or(0) & 1 != 0
    }

    /// The processors, each APIC id once, in the order given. The broadcast ids
    /// (0xFF in a local APIC entry, 0xFFFF_FFFF in an x2APIC entry), which
    /// firmware uses for empty sockets, are left out.
    pub fn cores(&self) -> impl Iterator<Item = Core> + '_ {
        let listed = self.entries().filter_map(Entry::core);
        let all = listed.clone();
        listed.enumerate().filter_map(move |(index, core)| merge(all.clone(), index, core))
    }

    /// The I/O APICs in the order given.
    pub fn io_apics(&self) -> impl Iterator<Item = IoApic> + '_ {
        self.entries().filter_map(|entry| entry.when::<IoApicEntry>(1)).map(|entry| IoApic {
            id: entry.io_apic_id,
            address: entry.io_apic_address,
            gsi_base: entry.global_system_interrupt_base,
        })
    }

    /// Interrupts that arrive at other pins or in other modes than usual.
    pub fn overrides(&self) -> impl Iterator<Item = Override> + '_ {
        self.entries().filter_map(|entry| entry.when::<InterruptSourceOverrideEntry>(2)).map(|entry| {
            let (polarity, trigger) = mode(entry.flags);
            Override { bus: entry.bus, source: entry.irq, gsi: entry.global_system_interrupt, polarity, trigger }
        })
    }

    /// Lines that deliver non-maskable interrupts.
    pub fn nmis(&self) -> impl Iterator<Item = Nmi> + '_ {
        self.entries().filter_map(|entry| {
            if let Some(entry) = entry.when::<NmiSourceEntry>(3) {
                let (polarity, trigger) = mode(entry.flags);
                return Some(Nmi::Global { gsi: entry.global_system_interrupt, polarity, trigger });
            }
            let (acpi_id, line, flags) = if let Some(entry) = entry.when::<LocalApicNmiEntry>(4) {
                (Some(entry.processor_id.into()).filter(|&id| id != 0xff), entry.nmi_line, entry.flags)
            } else {
                let entry = entry.when::<X2ApicNmiEntry>(10)?;
                (Some(entry.processor_uid).filter(|&id| id != u32::MAX), entry.nmi_line, entry.flags)
            };
            let (polarity, trigger) = mode(flags);
            Some(Nmi::Local { acpi_id, line, polarity, trigger })
        })
    }
}
