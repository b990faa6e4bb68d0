//! The firmware's ACPI tables.
//!
//! Purpose: [`Tables::open`] checks the root table (XSDT, else RSDT). A table is mapped, length-checked and
//! checksummed when it is asked for; of several with one signature the first counts, and if that one is broken, the
//! answer is its fault. [`Tables::problems`] names every broken table that the root table lists, needed or not.
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
use crate::layout::read;
use crate::physical::{Mapping, PhysicalMemory};
use acpi::sdt::SdtHeader;
pub use fadt::{Fadt, PmTimer, Register, Reset};
pub use madt::{Core, IoApic, Madt, Override};
pub use mcfg::{Mcfg, Segment};
pub use rsdp::Rsdp;

/// Largest table that is accepted, in bytes.
pub const MAX_TABLE: u32 = 1 << 20;
/// Largest number of tables that the root table may list.
pub const MAX_TABLES: usize = 256;
/// Bytes in the header of every table.
const HEADER: usize = size_of::<SdtHeader>();

/// The four characters that name a table.
type Signature = [u8; 4];
const RSDT: Signature = *b"RSDT";
const XSDT: Signature = *b"XSDT";

/// Smallest length of a table in bytes.
fn minimum(signature: Signature) -> u32 {
    match &signature {
        b"APIC" | b"MCFG" => 44,
        b"FACP" => 116,
        b"HPET" => 56,
        _ => HEADER as u32,
    }
}

/// A checked table, mapped as long as this value lives.
struct Table<'m, M: PhysicalMemory> {
    signature: Signature,
    mapping: Mapping<'m, M>,
}

impl<'m, M: PhysicalMemory> Table<'m, M> {
    /// Signature and length of the table at `address`, which should be a `name`.
    fn header(memory: &M, address: u64, name: &[u8]) -> Result<(Signature, u32), Problem> {
        let header = Mapping::new(memory, address, HEADER);
        let parts =
            header.and_then(|header| Some((*header.bytes().first_chunk()?, read::<SdtHeader>(header.bytes())?)));
        let (signature, header) = parts.ok_or_else(|| unreadable(name, address, HEADER))?;
        Ok((signature, header.length))
    }

    /// Maps and checks the table at `address`, which should be a `wanted` one if that is said.
    fn open(memory: &'m M, address: u64, wanted: Option<Signature>) -> Result<Self, Problem> {
        let (signature, length) = Self::header(memory, address, wanted.as_ref().map_or(b"table", |name| name))?;
        let (found, minimum) = (signature.escape_ascii(), minimum(signature));
        if let Some(wanted) = wanted.filter(|&wanted| wanted != signature) {
            return Err(problem!("expected {} at {address:#x}, found \"{found}\"", wanted.escape_ascii()));
        }
        ensure!(
            (minimum..=MAX_TABLE).contains(&length),
            "{found} at {address:#x} has length {length:#x}, must be between {minimum:#x} and {MAX_TABLE:#x}"
        );
        let mapping = Mapping::new(memory, address, length as usize);
        let mapping = mapping.ok_or_else(|| unreadable(&signature, address, length as usize))?;
        let sum = checksum(mapping.bytes());
        ensure!(sum == 0, "{found} at {address:#x} has a bad checksum: its bytes sum to {sum:#04x}, not 0");
        Ok(Self { signature, mapping })
    }

    /// The root table at `address`.
    fn root(memory: &'m M, address: u64, signature: Signature) -> Result<Self, Problem> {
        let root = Self::open(memory, address, Some(signature))?;
        let (name, count) = (signature.escape_ascii(), (root.bytes().len() - HEADER) / root.entry_size());
        ensure!(count <= MAX_TABLES, "{name} lists {count} tables, at most {MAX_TABLES} are looked at");
        Ok(root)
    }

    /// Bytes in an entry of this root table.
    fn entry_size(&self) -> usize {
        if self.signature == XSDT { 8 } else { 4 }
    }

    /// The whole table with its header.
    fn bytes(&self) -> &[u8] {
        self.mapping.bytes()
    }
}

fn unreadable(name: &[u8], address: u64, length: usize) -> Problem {
    problem!("{} at {address:#x}, length {length:#x}, cannot be read", name.escape_ascii())
}

/// The firmware's tables, found through a checked root table.
pub struct Tables<'m, M: PhysicalMemory> {
    memory: &'m M,
    /// Where the root tables are, as the firmware says; not checked.
    pub rsdp: Rsdp,
    root: Table<'m, M>,
    /// Why the root table is not the preferred one.
    fallback: Option<Problem>,
}

impl<'m, M: PhysicalMemory> Tables<'m, M> {
    /// Opens the XSDT or, if there is none or it is broken, the RSDT.
    ///
    /// # Errors
    /// Neither is named, or none of those named is valid.
    pub fn open(memory: &'m M, rsdp: Rsdp) -> Result<Self, Problem> {
        let rsdt = || rsdp.rsdt.map(|address| Table::root(memory, address.into(), RSDT));
        let (root, fallback) = match rsdp.xsdt.map(|address| Table::root(memory, address, XSDT)) {
            Some(Ok(root)) => (root, None),
            // If both are broken, the XSDT's fault is the one to repair.
            Some(Err(fault)) => (rsdt().and_then(Result::ok).ok_or(fault)?, Some(fault)),
            None => (rsdt().ok_or_else(|| problem!("the RSDP names neither RSDT nor XSDT"))??, None),
        };
        Ok(Self { memory, rsdp, root, fallback })
    }

    /// Physical addresses that the root table lists, without null ones.
    fn addresses(&self) -> impl Iterator<Item = u64> + '_ {
        let entries = self.root.bytes().get(HEADER..).unwrap_or(&[]).chunks_exact(self.root.entry_size());
        let address = |entry| u64_at(entry, 0).or_else(|| u32_at(entry, 0).map(u64::from));
        entries.filter_map(address).filter(|&address| address != 0)
    }

    /// What is wrong with tables, whether they are needed or not.
    pub fn problems(&self) -> impl Iterator<Item = Problem> + '_ {
        let broken = self.addresses().filter_map(|address| Table::open(self.memory, address, None).err());
        self.fallback.into_iter().chain(broken)
    }

    /// The first table with this signature, or `None` if none is listed.
    fn table(&self, signature: Signature) -> Result<Option<Table<'m, M>>, Problem> {
        let named = |address| Table::header(self.memory, address, &signature).is_ok_and(|(name, _)| name == signature);
        let first = self.addresses().find(|&address| named(address));
        first.map(|address| Table::open(self.memory, address, Some(signature))).transpose()
    }

    /// The table of processors and interrupt controllers.
    ///
    /// # Errors
    /// It is missing, or anything in it is malformed.
    pub fn madt(&self) -> Result<Madt<'m, M>, Problem> {
        Madt::new(self.table(*b"APIC")?.ok_or_else(|| problem!("there is no APIC table"))?)
    }

    /// The fixed hardware description, or `None` if there is none.
    ///
    /// # Errors
    /// It is malformed.
    pub fn fadt(&self) -> Result<Option<Fadt>, Problem> {
        self.table(*b"FACP")?.map(|table| Fadt::new(table.bytes())).transpose()
    }

    /// Physical address of the registers (1 KiB) of the high precision event timer, or `None` if there is none.
    ///
    /// # Errors
    /// Its description is malformed.
    pub fn hpet(&self) -> Result<Option<u64>, Problem> {
        self.table(*b"HPET")?.map(|table| hpet::base(table.bytes())).transpose()
    }

    /// PCI configuration space in memory, or `None` if there is none.
    ///
    /// # Errors
    /// Its description is malformed.
    pub fn mcfg(&self) -> Result<Option<Mcfg<'m, M>>, Problem> {
        self.table(*b"MCFG")?.map(Mcfg::new).transpose()
    }
}
