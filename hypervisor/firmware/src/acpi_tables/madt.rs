//! The multiple APIC description table: processors and interrupt controllers.
//!
//! Purpose: [`Madt::new`] walks all entries once, so that the iterators need no error.
//! Invariants: each entry has at least the size of its type and lies inside the table; entries of unknown type are
//! skipped. A processor may be listed as a local APIC and as an x2APIC, and more than once; it is reported once, at
//! its first place, enabled if any entry says so.
//! Concurrency: none; see the crate.
//! Source: ACPI specification 6.5, §5.2.12.

use crate::Problem;
use crate::layout::{Plain, read};
use crate::physical::PhysicalMemory;
use acpi::madt::{InterruptSourceOverrideEntry, IoApicEntry, LocalApicEntry, LocalX2ApicEntry};

/// Most entries that are accepted: [`Madt::cores`] compares them in pairs.
pub const MAX_ENTRIES: usize = 8192;

/// Bytes before the entries.
const ENTRIES: usize = 44;

/// Smallest length of an entry in bytes by type; 2 for those whose size is not known here.
const MINIMUM: [u8; 11] = [8, 12, 10, 8, 6, 12, 2, 2, 2, 16, 12];

/// An entry inside the table, at least as long as its type demands.
#[derive(Clone, Copy)]
struct Entry<'a> {
    kind: u8,
    bytes: &'a [u8],
}

impl<'a> Entry<'a> {
    /// The entry at `offset`, which is below the length of `table`.
    fn at(table: &'a [u8], offset: usize) -> Result<Self, Problem> {
        let rest = table.get(offset..).unwrap_or(&[]);
        let (kind, length) = (rest.first().copied().unwrap_or(0), rest.get(1).copied().unwrap_or(u8::MAX));
        let minimum = MINIMUM.get(usize::from(kind)).copied().unwrap_or(2);
        let name = format_args!("APIC entry at offset {offset:#x} (type {kind})");
        ensure!(length != 0, "{name} has length zero");
        ensure!(length >= minimum, "{name} has {length} bytes, needs at least {minimum}");
        let bytes = rest.get(..length.into()).ok_or_else(|| {
            problem!("{name} has {length} bytes and reaches beyond the table's length {:#x}", table.len())
        })?;
        Ok(Self { kind, bytes })
    }

    /// The entry as the structure of type `kind`.
    fn when<T: Plain>(self, kind: u8) -> Option<T> {
        if self.kind == kind { read(self.bytes) } else { None }
    }

    /// The processor that the entry describes. The broadcast ids name none.
    fn core(self) -> Option<Core> {
        let (apic_id, acpi_id, flags, broadcast) = if let Some(entry) = self.when::<LocalApicEntry>(0) {
            (entry.apic_id.into(), entry.processor_id.into(), entry.flags, 0xff)
        } else {
            let entry = self.when::<LocalX2ApicEntry>(9)?;
            (entry.x2apic_id, entry.processor_uid, entry.flags, u32::MAX)
        };
        (apic_id != broadcast).then_some(Core { apic_id, acpi_id, enabled: flags & 1 != 0 })
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
}

/// An ISA interrupt that does not arrive at the pin of its number, or in another mode than usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Override {
    /// Interrupt number on the ISA bus.
    pub source: u8,
    /// Global system interrupt where it arrives.
    pub gsi: u32,
    /// Active when low; else, as usual on the bus, when high.
    pub active_low: bool,
    /// Triggered by being active; else, as usual on the bus, by becoming active.
    pub level: bool,
}

/// The entries up to the first malformed one. An entry has at least two bytes, so they end.
fn entries(table: &[u8]) -> impl Iterator<Item = Result<Entry<'_>, Problem>> + Clone {
    let mut offset = ENTRIES;
    core::iter::from_fn(move || {
        let entry = (offset < table.len()).then(|| Entry::at(table, offset))?;
        offset = entry.map_or(usize::MAX, |entry| offset + entry.bytes.len());
        Some(entry)
    })
}

/// A checked MADT, shown as long as this value lives.
pub struct Madt<M: PhysicalMemory>(M::Bytes);

impl<M: PhysicalMemory> Madt<M> {
    pub(super) fn new(table: M::Bytes) -> Result<Self, Problem> {
        ensure!(table.len() >= ENTRIES, "APIC has length {:#x}, must be at least {ENTRIES:#x}", table.len());
        let count = entries(&table).try_fold(0, |count, entry| entry.map(|_| count + 1))?;
        ensure!(count <= MAX_ENTRIES, "APIC has {count} entries, at most {MAX_ENTRIES} are looked at");
        Ok(Self(table))
    }

    fn entries(&self) -> impl Iterator<Item = Entry<'_>> + Clone {
        entries(&self.0).flatten()
    }

    /// The processors, each APIC id once, in the order given. The broadcast ids (0xFF in a local APIC entry,
    /// 0xFFFF_FFFF in an x2APIC entry), which firmware uses for empty sockets, are left out.
    pub fn cores(&self) -> impl Iterator<Item = Core> + '_ {
        let listed = self.entries().filter_map(Entry::core);
        let all = listed.clone();
        listed.enumerate().filter_map(move |(index, core)| {
            let mut same = all.clone().enumerate().filter(|(_, other)| other.apic_id == core.apic_id);
            let first = same.clone().next().is_some_and(|(first, _)| first == index);
            let enabled = same.find(|(_, other)| other.enabled).map_or(core, |(_, other)| other);
            first.then_some(enabled)
        })
    }

    /// The I/O APICs in the order given.
    pub fn io_apics(&self) -> impl Iterator<Item = IoApicEntry> + '_ {
        self.entries().filter_map(|entry| entry.when(1))
    }

    /// ISA interrupts that arrive at other pins or in other modes than usual. Reserved modes count as usual.
    pub fn overrides(&self) -> impl Iterator<Item = Override> + '_ {
        self.entries().filter_map(|entry| entry.when::<InterruptSourceOverrideEntry>(2)).map(|entry| Override {
            source: entry.irq,
            gsi: entry.global_system_interrupt,
            active_low: entry.flags & 3 == 3,
            level: entry.flags >> 2 & 3 == 3,
        })
    }
}
