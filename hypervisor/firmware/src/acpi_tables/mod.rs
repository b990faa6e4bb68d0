//! The firmware's ACPI tables.
//!
//! Purpose: [`Tables::open`] checks the root table (XSDT, else RSDT). A table is shown, length-checked and
//! checksummed when it is asked for; of several with one signature the first counts, and if that one is broken, the
//! answer is its fault. Nobody looks at tables that nobody asks for.
//! Invariants: at most [`MAX_TABLES`] tables and [`MAX_TABLE`] bytes in each are looked at, so that a hostile root
//! table costs seconds at worst.
//! Concurrency: none; see the crate.
//! Source: ACPI specification 6.5, §5.2.6-5.2.8.

mod fadt;
mod hpet;
mod madt;
mod mcfg;
mod rsdp;
#[cfg(test)]
mod tests;

use crate::Problem;
use crate::bytes::{checksum, u32_at, u64_at};
use crate::physical::PhysicalMemory;
use acpi::sdt::SdtHeader;
pub use fadt::{Fadt, PmTimer};
pub use madt::{Core, Madt, Override};
pub use mcfg::{Segment, Segments};
pub use rsdp::Rsdp;

/// Largest table that is accepted, in bytes.
pub const MAX_TABLE: u32 = 1 << 20;
/// Tables of the root table that are looked at.
pub const MAX_TABLES: usize = 256;
/// Bytes in the header of every table.
const HEADER: usize = size_of::<SdtHeader>();

/// The four characters that name a table.
type Signature = [u8; 4];
const RSDT: Signature = *b"RSDT";
const XSDT: Signature = *b"XSDT";

/// Shows and checks the table at `address`, which must be a `wanted` one.
fn open<M: PhysicalMemory>(memory: &M, address: u64, wanted: Signature) -> Result<M::Bytes, Problem> {
    let name = wanted.escape_ascii();
    let show = |length| {
        let bytes = memory.bytes(address, length);
        bytes.ok_or_else(|| problem!("{name} at {address:#x}, length {length:#x}, cannot be read"))
    };
    let header = show(HEADER)?;
    let (found, length) = (header.get(..4).unwrap_or(&[]), u32_at(&header, 4).unwrap_or(0));
    ensure!(found == wanted, "expected {name} at {address:#x}, found \"{}\"", found.escape_ascii());
    ensure!(
        (HEADER as u32..=MAX_TABLE).contains(&length),
        "{name} at {address:#x} has length {length:#x}, must be between {HEADER:#x} and {MAX_TABLE:#x}"
    );
    drop(header);
    let table = show(length as usize)?;
    let sum = checksum(&table);
    ensure!(sum == 0, "{name} at {address:#x} has a bad checksum: its bytes sum to {sum:#04x}, not 0");
    Ok(table)
}

/// The firmware's tables, found through a checked root table.
pub struct Tables<'m, M: PhysicalMemory> {
    memory: &'m M,
    /// Where the root tables are, as the firmware says; not checked.
    pub rsdp: Rsdp,
    root: M::Bytes,
}

impl<'m, M: PhysicalMemory> Tables<'m, M> {
    /// Opens the XSDT or, if there is none or it is broken, the RSDT.
    ///
    /// # Errors
    /// Neither is named, or none of those named is valid.
    pub fn open(memory: &'m M, rsdp: Rsdp) -> Result<Self, Problem> {
        let rsdt = || rsdp.rsdt.map(|address| open(memory, address.into(), RSDT));
        let root = match rsdp.xsdt.map(|address| open(memory, address, XSDT)) {
            Some(Ok(root)) => root,
            // If both are broken, the XSDT's fault is the one to repair.
            Some(Err(fault)) => rsdt().and_then(Result::ok).ok_or(fault)?,
            None => rsdt().ok_or_else(|| problem!("the RSDP names neither RSDT nor XSDT"))??,
        };
        Ok(Self { memory, rsdp, root })
    }

    /// Physical addresses that the root table lists, without null ones.
    fn addresses(&self) -> impl Iterator<Item = u64> + '_ {
        let size = if self.root.starts_with(&XSDT) { 8 } else { 4 };
        let entries = self.root.get(HEADER..).unwrap_or(&[]).chunks_exact(size);
        let address = |entry| u64_at(entry, 0).or_else(|| u32_at(entry, 0).map(u64::from));
        entries.take(MAX_TABLES).filter_map(address).filter(|&address| address != 0)
    }

    /// The first table with this signature, or `None` if none is listed.
    fn table(&self, signature: Signature) -> Result<Option<M::Bytes>, Problem> {
        let named = |address| self.memory.bytes(address, HEADER).is_some_and(|header| header.starts_with(&signature));
        let first = self.addresses().find(|&address| named(address));
        first.map(|address| open(self.memory, address, signature)).transpose()
    }

    /// The table of processors and interrupt controllers.
    ///
    /// # Errors
    /// It is missing, or anything in it is malformed.
    pub fn madt(&self) -> Result<Madt<M>, Problem> {
        Madt::new(self.table(*b"APIC")?.ok_or_else(|| problem!("there is no APIC table"))?)
    }

    /// The fixed hardware description, or `None` if there is none.
    ///
    /// # Errors
    /// It is malformed.
    pub fn fadt(&self) -> Result<Option<Fadt>, Problem> {
        Ok(self.table(*b"FACP")?.map(|table| Fadt::new(&table)))
    }

    /// Physical address of the registers (1 KiB) of the high precision event timer, or `None` if there is none.
    ///
    /// # Errors
    /// Its description is malformed.
    pub fn hpet(&self) -> Result<Option<u64>, Problem> {
        self.table(*b"HPET")?.map(|table| hpet::base(&table)).transpose()
    }

    /// PCI configuration space in memory.
    ///
    /// # Errors
    /// Its description is malformed.
    pub fn mcfg(&self) -> Result<Segments, Problem> {
        self.table(*b"MCFG")?.map_or(Ok(Segments::new()), |table| mcfg::segments(&table))
    }
}
