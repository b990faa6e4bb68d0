//! What can be wrong with ACPI tables, and how it is said.

use core::fmt;

/// The four characters that name a table. Others than printable ones are shown
/// as numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 4]);

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == super::ANY {
            return f.write_str("table");
        }
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why an RSDP or a table cannot be used. Addresses are physical, offsets are
/// bytes from the start of the table, lengths are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcpiError {
    /// No RSDP in the BIOS areas.
    RsdpNotFound,
    /// The RSDP does not begin with "RSD PTR ".
    RsdpSignature([u8; 8]),
    /// The RSDP has fewer bytes than its revision demands.
    RsdpLength {
        /// The length it has or gives.
        length: usize,
        /// The smallest valid length.
        minimum: usize,
    },
    /// The RSDP's bytes do not sum to zero.
    RsdpChecksum {
        /// How many bytes were summed: 20, or all.
        length: usize,
        /// Their sum modulo 256.
        sum: u8,
    },
    /// The RSDP names neither an RSDT nor an XSDT.
    NoRootTable,
    /// The address of a table leads to memory that cannot be read.
    Unreadable {
        /// What was expected there.
        table: Signature,
        /// Where.
        address: u64,
        /// How much.
        length: u64,
    },
    /// Another table than the expected one.
    WrongSignature {
        /// What was expected.
        expected: Signature,
        /// What is there.
        found: Signature,
        /// Where.
        address: u64,
    },
    /// The length in a table's header is too small or too large.
    TableLength {
        /// Which table.
        table: Signature,
        /// Where it starts.
        address: u64,
        /// The length it gives.
        length: u32,
        /// The smallest valid length.
        minimum: u32,
    },
    /// A table's bytes do not sum to zero.
    Checksum {
        /// Which table.
        table: Signature,
        /// Where it starts.
        address: u64,
        /// The sum modulo 256.
        sum: u8,
    },
    /// The root table lists more tables than are ever looked at.
    TooManyTables {
        /// RSDT or XSDT.
        table: Signature,
        /// How many it lists.
        count: usize,
    },
    /// No table with this signature.
    Missing(Signature),
    /// The table ends inside an entry's first two bytes.
    EntryTruncated {
        /// Which table.
        table: Signature,
        /// Where the entry starts.
        offset: usize,
    },
    /// An entry is shorter than its type demands; length 0 would never end.
    EntryTooShort {
        /// Which table.
        table: Signature,
        /// Where the entry starts.
        offset: usize,
        /// The entry's type.
        kind: u8,
        /// The length it gives.
        length: u8,
        /// The smallest valid length.
        minimum: u8,
    },
    /// An entry reaches beyond the end of the table.
    EntryTooLong {
        /// Which table.
        table: Signature,
        /// Where the entry starts.
        offset: usize,
        /// The entry's type.
        kind: u8,
        /// The length it gives.
        length: u8,
        /// The length of the table.
        table_length: usize,
    },
    /// More entries than are ever looked at.
    TooManyEntries(Signature),
    /// A register description that means nothing.
    Register {
        /// Which table.
        table: Signature,
        /// Which register.
        name: &'static str,
    },
    /// A PCI segment whose buses or addresses make no sense.
    Segment {
        /// Position in the MCFG, from 0.
        index: usize,
        /// Configuration space address.
        base: u64,
        /// First bus.
        first_bus: u8,
        /// Last bus.
        last_bus: u8,
    },
}

impl fmt::Display for AcpiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ACPI: ")?;
        match *self {
            Self::RsdpNotFound => f.write_str("no RSDP from the boot loader nor in the BIOS areas"),
            Self::RsdpSignature(found) => {
                write!(f, "RSDP begins with \"{}\", not with \"RSD PTR \"", found.escape_ascii())
            }
            Self::RsdpLength { length, minimum } => {
                write!(f, "RSDP has length {length:#x}, its revision needs {minimum:#x}, and all bytes present")
            }
            Self::RsdpChecksum { length, sum } => {
                write!(f, "RSDP has a bad checksum: its first {length} bytes sum to {sum:#04x}, not 0")
            }
            Self::NoRootTable => f.write_str("the RSDP names neither RSDT nor XSDT"),
            Self::Unreadable { table, address, length } => {
                write!(f, "{table} at {address:#x}, length {length:#x}, cannot be read")
            }
            Self::WrongSignature { expected, found, address } => {
                write!(f, "expected {expected} at {address:#x}, found \"{found}\"")
            }
            Self::TableLength { table, address, length, minimum } => write!(
                f,
                "{table} at {address:#x} has length {length:#x}, must be between {minimum:#x} and {:#x}",
                super::MAX_TABLE
            ),
            Self::Checksum { table, address, sum } => {
                write!(f, "{table} at {address:#x} has a bad checksum: its bytes sum to {sum:#04x}, not 0")
            }
            Self::TooManyTables { table, count } => {
                write!(f, "{table} lists {count} tables, at most {} are looked at", super::MAX_TABLES)
            }
            Self::Missing(table) => write!(f, "there is no {table} table"),
            Self::EntryTruncated { table, offset } => {
                write!(f, "{table} entry at offset {offset:#x} is truncated: the table ends inside its header")
            }
            Self::EntryTooShort { table, offset, kind, length: 0, .. } => {
                write!(f, "{table} entry at offset {offset:#x} (type {kind}) has length zero")
            }
            Self::EntryTooShort { table, offset, kind, length, minimum } => write!(
                f,
                "{table} entry at offset {offset:#x} (type {kind}) has {length} bytes, needs at least {minimum}"
            ),
            Self::EntryTooLong { table, offset, kind, length, table_length } => write!(
                f,
                "{table} entry at offset {offset:#x} (type {kind}) has {length} bytes and reaches beyond the table's \
                 length {table_length:#x}"
            ),
            Self::TooManyEntries(table) => {
                write!(f, "{table} has more than {} entries", super::madt::MAX_ENTRIES)
            }
            Self::Register { table, name } => write!(f, "{table} describes the {name} in a way that means nothing"),
            Self::Segment { index, base, first_bus, last_bus } => write!(
                f,
                "MCFG segment {index} at {base:#x} with buses {first_bus} to {last_bus} is not a possible range"
            ),
        }
    }
}

impl core::error::Error for AcpiError {}
