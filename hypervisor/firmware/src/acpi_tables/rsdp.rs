//! The root system description pointer: from the boot loader's copy, or found
//! in the memory areas of a BIOS.
//!
//! Source: ACPI specification 6.5, §5.2.5.

use super::AcpiError;
use crate::bytes::{checksum, u16_at};
use crate::layout::read_padded;
use crate::physical::{Mapping, PhysicalMemory};

const SIGNATURE: &[u8; 8] = b"RSD PTR ";
/// Length of the structure of ACPI 1.0, which the first checksum covers.
const OLD_LENGTH: usize = 20;
/// Smallest length since ACPI 2.0.
const NEW_LENGTH: usize = 36;

/// A checked root system description pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rsdp {
    /// 0 for ACPI 1.0, 2 since ACPI 2.0.
    pub revision: u8,
    /// Physical address of the RSDT; 0 if there is none.
    pub rsdt: u32,
    /// Physical address of the XSDT.
    pub xsdt: Option<u64>,
}

impl Rsdp {
    /// Checks the structure at the start of `bytes`.
    ///
    /// # Errors
    /// Wrong signature, too few bytes, or one of the checksums.
    pub fn parse(bytes: &[u8]) -> Result<Self, AcpiError> {
        let old = bytes.get(..OLD_LENGTH).ok_or(AcpiError::RsdpLength { length: bytes.len(), minimum: OLD_LENGTH })?;
        check_signature(old)?;
        check_sum(old)?;
        // The crate's own check reads as many bytes as the structure claims.
        let structure: acpi::rsdp::Rsdp = read_padded(bytes);
        let (revision, rsdt) = (structure.revision(), structure.rsdt_address());
        if revision < 2 {
            return Ok(Self { revision, rsdt, xsdt: None });
        }
        let length = if bytes.len() < NEW_LENGTH { bytes.len() } else { structure.length() as usize };
        let all = bytes
            .get(..length)
            .filter(|all| all.len() >= NEW_LENGTH)
            .ok_or(AcpiError::RsdpLength { length, minimum: NEW_LENGTH })?;
        check_sum(all)?;
        Ok(Self { revision, rsdt, xsdt: Some(structure.xsdt_address()).filter(|&xsdt| xsdt != 0) })
    }

    /// Looks for the structure where a BIOS puts it: in the first KiB of the
    /// extended BIOS data area, whose segment is the word at 0x40E, then between
    /// 0xE0000 and 0xFFFFF, at multiples of 16. Not for machines started by EFI.
    ///
    /// # Errors
    /// No valid one there: the fault of the first that begins like one, else
    /// [`AcpiError::RsdpNotFound`].
    pub fn search(memory: &(impl PhysicalMemory + ?Sized)) -> Result<Self, AcpiError> {
        let segment = Mapping::new(memory, 0x40e, 2).and_then(|word| u16_at(word.bytes(), 0)).unwrap_or(0);
        let extended = u64::from(segment) << 4;
        let mut fault = None;
        for (base, length) in [(extended, 0x400), (0xe_0000, 0x2_0000)] {
            if !(0x400..0x10_0000).contains(&base) {
                continue;
            }
            let Some(area) = Mapping::new(memory, base, length) else { continue };
            let bytes = area.bytes();
            for offset in (0..bytes.len()).step_by(16) {
                let candidate = bytes.get(offset..).unwrap_or(&[]);
                if candidate.starts_with(SIGNATURE) {
                    match Self::parse(candidate) {
                        Ok(rsdp) => return Ok(rsdp),
                        Err(error) => fault = fault.or(Some(error)),
                    }
                }
            }
        }
        Err(fault.unwrap_or(AcpiError::RsdpNotFound))
    }
}

fn check_signature(bytes: &[u8]) -> Result<(), AcpiError> {
    match bytes.first_chunk() {
        Some(SIGNATURE) => Ok(()),
        found => Err(AcpiError::RsdpSignature(found.copied().unwrap_or_default())),
    }
}

fn check_sum(bytes: &[u8]) -> Result<(), AcpiError> {
    match checksum(bytes) {
        0 => Ok(()),
        sum => Err(AcpiError::RsdpChecksum { length: bytes.len(), sum }),
    }
}
