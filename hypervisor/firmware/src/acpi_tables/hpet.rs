//! The description of the high precision event timer (HPET specification
//! 1.0a, table 3). The crate's own reading asserts that the registers are in
//! memory, hence the offsets here.

use super::{AcpiError, Signature, Table};
use crate::bytes::{u16_at, u32_at, u64_at};
use crate::physical::{PHYSICAL_END, PhysicalMemory};

pub const SIGNATURE: Signature = Signature(*b"HPET");

/// Length of the table in bytes.
const LENGTH: u32 = 56;

/// Where the timer is, and what it says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hpet {
    /// Physical address of the registers (1 KiB).
    pub base: u64,
    /// Smallest number of counter ticks in periodic mode.
    pub minimum_tick: u16,
    /// Copy of the low half of the capabilities register: revision, number of
    /// comparators, counter size, vendor.
    pub block_id: u32,
    /// Position among several.
    pub number: u8,
}

impl Hpet {
    pub(super) fn new<M: PhysicalMemory + ?Sized>(table: Table<'_, M>) -> Result<Self, AcpiError> {
        let table = table.at_least(LENGTH)?;
        let bytes = table.bytes();
        let read = || {
            let (space, base) = (*bytes.get(40)?, u64_at(bytes, 44)?);
            // Address space 0 is memory.
            let valid = space == 0 && base != 0 && base <= PHYSICAL_END - 0x400;
            valid.then_some(Self {
                base,
                minimum_tick: u16_at(bytes, 53)?,
                block_id: u32_at(bytes, 36)?,
                number: *bytes.get(52)?,
            })
        };
        read().ok_or(AcpiError::Register { table: SIGNATURE, name: "timer's registers" })
    }
}
