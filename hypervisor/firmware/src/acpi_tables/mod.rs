//! The firmware's ACPI tables.
//!
//! [`Tables::open`] checks the root table (XSDT, else RSDT). A table is mapped,
//! length-checked (36 bytes to 1 MiB) and checksummed when it is asked for; of
//! several with one signature the first counts, and if that one is broken, the
//! answer is its fault. [`Tables::problems`] names every broken table that the
//! root table lists, needed or not.
//!
//! Bounds: at most [`MAX_TABLES`] tables and [`MAX_TABLE`] bytes in each, so
//! that a hostile root table costs seconds at worst.
//!
//! Source: ACPI specification 6.5, chapter 5.2; HPET specification 1.0a §3.2.4;
//! PCI firmware specification 3.3 §4.1.2 (MCFG).

mod error;
mod fadt;
mod hpet;
mod madt;
mod mcfg;
mod rsdp;
#[cfg(test)]
mod tests;

use crate::bytes::{checksum, u32_at, u64_at};
use crate::layout::read;
use crate::physical::{Mapping, PhysicalMemory};
use acpi::sdt::SdtHeader;
pub use error::{AcpiError, Signature};
pub use fadt::{Fadt, PmTimer, Register, Reset};
pub use hpet::Hpet;
pub use madt::{Core, IoApic, Madt, Nmi, Override, Polarity, Trigger};
pub use mcfg::{Mcfg, Segment};
pub use rsdp::Rsdp;

/// Largest table that is accepted, in bytes.
pub const MAX_TABLE: u32 = 1 << 20;
/// Largest number of tables that the root table may list.
pub const MAX_TABLES: usize = 256;
/// Bytes in the header of every table.
const HEADER: usize = size_of::<SdtHeader>();

const RSDT: Signature = Signature(*b"RSDT");
const XSDT: Signature = Signature(*b"XSDT");
/// What an entry of the root table is called before its signature is known.
const ANY: Signature = Signature(*b"????");

/// A checked table, mapped as long as this value lives.
pub struct Table<'m, M: PhysicalMemory + ?Sized> {
    signature: Signature,
    mapping: Mapping<'m, M>,
}

impl<'m, M: PhysicalMemory + ?Sized> Table<'m, M> {
    /// Reads the header of the table at `address`: signature and length.
    fn header(memory: &'m M, address: u64, expected: Signature) -> Result<(Signature, u32), AcpiError> {
        let unreadable = AcpiError::Unreadable { table: expected, address, length: HEADER as u64 };
        let mapping = Mapping::new(memory, address, HEADER).ok_or(unreadable)?;
        let signature = mapping.bytes().first_chunk().copied().map(Signature).ok_or(unreadable)?;
        let header: SdtHeader = read(mapping.bytes()).ok_or(unreadable)?;
        Ok((signature, header.length))
    }

    /// Maps and checks the table at `address`; `expected` is `ANY` if any
    /// signature will do.
    fn open(memory: &'m M, address: u64, expected: Signature) -> Result<Self, AcpiError> {
        let (table, length) = Self::header(memory, address, expected)?;
        if expected != ANY && table != expected {
            return Err(AcpiError::WrongSignature { expected, found: table, address });
        }
        let minimum = HEADER as u32;
        if !(minimum..=MAX_TABLE).contains(&length) {
            return Err(AcpiError::TableLength { table, address, length, minimum });
        }
        let unreadable = AcpiError::Unreadable { table, address, length: length.into() };
        let mapping = Mapping::new(memory, address, length as usize).ok_or(unreadable)?;
        match checksum(mapping.bytes()) {
            0 => Ok(Self { signature: table, mapping }),
            sum => Err(AcpiError::Checksum { table, address, sum }),
        }
    }

    /// The table's name.
    pub fn signature(&self) -> Signature {
        self.signature
    }

    /// Physical address of the table.
    pub fn address(&self) -> u64 {
        self.mapping.base()
    }

    /// The whole table with its header.
    pub fn bytes(&self) -> &[u8] {
        self.mapping.bytes()
    }

    /// The table's revision.
    pub fn revision(&self) -> u8 {
        self.bytes().get(8).copied().unwrap_or(0)
    }

    /// Fails if the table has fewer than `minimum` bytes.
    fn at_least(self, minimum: u32) -> Result<Self, AcpiError> {
        let length = self.bytes().len() as u32;
        if length >= minimum {
            return Ok(self);
        }
        Err(AcpiError::TableLength { table: self.signature, address: self.address(), length, minimum })
    }
}

/// The firmware's tables, found through a checked root table.
pub struct Tables<'m, M: PhysicalMemory + ?Sized> {
    memory: &'m M,
    rsdp: Rsdp,
    root: Table<'m, M>,
    /// Why the root table is not the preferred one.
    fallback: Option<AcpiError>,
}

impl<'m, M: PhysicalMemory + ?Sized> Tables<'m, M> {
    /// Opens the XSDT or, if there is none or it is broken, the RSDT.
    ///
    /// # Errors
    /// Neither is named, or none of those named is valid.
    pub fn open(memory: &'m M, rsdp: &Rsdp) -> Result<Self, AcpiError> {
        let open = |address, signature, size| {
            let root = Table::open(memory, address, signature)?;
            let count = (root.bytes().len() - HEADER) / size;
            if count > MAX_TABLES {
                return Err(AcpiError::TooManyTables { table: signature, count });
            }
            Ok(root)
        };
        let xsdt = rsdp.xsdt.map(|address| open(address, XSDT, 8));
        let rsdt = (rsdp.rsdt != 0).then_some(u64::from(rsdp.rsdt));
        let (root, fallback) = match (xsdt, rsdt) {
            (Some(Ok(root)), _) => (root, None),
            (Some(Err(error)), None) => return Err(error),
            // If both are broken, the XSDT's fault is the one to repair.
            (Some(Err(error)), Some(rsdt)) => (open(rsdt, RSDT, 4).map_err(|_| error)?, Some(error)),
            (None, Some(rsdt)) => (open(rsdt, RSDT, 4)?, None),
            (None, None) => return Err(AcpiError::NoRootTable),
        };
        Ok(Self { memory, rsdp: *rsdp, root, fallback })
    }

    /// Physical address of the RSDT as the RSDP gives it, not checked.
    pub fn rsdt_address(&self) -> Option<u32> {
        Some(self.rsdp.rsdt).filter(|&address| address != 0)
    }

    /// Physical address of the XSDT as the RSDP gives it, not checked.
    pub fn xsdt_address(&self) -> Option<u64> {
        self.rsdp.xsdt
    }

    /// Physical addresses that the root table lists, without null ones.
    fn addresses(&self) -> impl Iterator<Item = u64> + '_ {
        let entries = self.root.bytes().get(HEADER..).unwrap_or(&[]);
        let wide = self.root.signature == XSDT;
        entries
            .chunks_exact(if wide { 8 } else { 4 })
            .filter_map(move |entry| if wide { u64_at(entry, 0) } else { u32_at(entry, 0).map(u64::from) })
            .filter(|&address| address != 0)
    }

    /// Every table that the root table lists, or why it cannot be used. Each is
    /// mapped only while its item lives.
    pub fn tables(&self) -> impl Iterator<Item = Result<Table<'m, M>, AcpiError>> + '_ {
        self.addresses().map(|address| Table::open(self.memory, address, ANY))
    }

    /// What is wrong with tables, whether they are needed or not.
    pub fn problems(&self) -> impl Iterator<Item = AcpiError> + '_ {
        self.fallback.into_iter().chain(self.tables().filter_map(Result::err))
    }

    /// The first table with this signature, or `None` if none is listed.
    ///
    /// # Errors
    /// The table is there and broken.
    pub fn table(&self, signature: Signature) -> Result<Option<Table<'m, M>>, AcpiError> {
        let mut named = self
            .addresses()
            .filter(|&address| Table::header(self.memory, address, ANY).is_ok_and(|(found, _)| found == signature));
        named.next().map(|address| Table::open(self.memory, address, signature)).transpose()
    }

    /// The table of processors and interrupt controllers.
    ///
    /// # Errors
    /// It is missing, or anything in it is malformed.
    pub fn madt(&self) -> Result<Madt<'m, M>, AcpiError> {
        let table = self.table(madt::SIGNATURE)?.ok_or(AcpiError::Missing(madt::SIGNATURE))?;
        Madt::new(table)
    }

    /// The fixed hardware description, or `None` if there is none.
    ///
    /// # Errors
    /// It is malformed.
    pub fn fadt(&self) -> Result<Option<Fadt>, AcpiError> {
        self.table(fadt::SIGNATURE)?.map(|table| Fadt::new(&table)).transpose()
    }

    /// The high precision event timer, or `None` if there is none.
    ///
    /// # Errors
    /// Its description is malformed.
    pub fn hpet(&self) -> Result<Option<Hpet>, AcpiError> {
        self.table(hpet::SIGNATURE)?.map(Hpet::new).transpose()
    }

    /// PCI configuration space in memory, or `None` if there is none.
    ///
    /// # Errors
    /// Its description is malformed.
    pub fn mcfg(&self) -> Result<Option<Mcfg<'m, M>>, AcpiError> {
        self.table(mcfg::SIGNATURE)?.map(Mcfg::new).transpose()
    }
}
