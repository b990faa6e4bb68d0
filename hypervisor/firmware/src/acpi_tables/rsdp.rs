//! The root system description pointer.
//!
//! Purpose: checks the boot loader's copy.
//! Invariants: all bytes that the structure claims were summed; what it points to is not checked here.
//! Concurrency: none; see the crate.
//! Source: ACPI specification 6.5, §5.2.5.

use crate::Problem;
use crate::bytes::{checksum, u32_at, u64_at};

const SIGNATURE: &[u8; 8] = b"RSD PTR ";
/// Length of the structure of ACPI 1.0, which the first checksum covers.
const OLD_LENGTH: usize = 20;
/// Smallest length since ACPI 2.0.
const NEW_LENGTH: usize = 36;

/// A checked root system description pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rsdp {
    /// Physical address of the RSDT.
    pub rsdt: Option<u32>,
    /// Physical address of the XSDT.
    pub xsdt: Option<u64>,
}

impl Rsdp {
    /// Checks the structure at the start of `bytes`.
    ///
    /// # Errors
    /// Wrong signature, too few bytes, or one of the checksums.
    pub fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        let old = checked(bytes, OLD_LENGTH, OLD_LENGTH)?;
        let rsdt = u32_at(old, 16).filter(|&rsdt| rsdt != 0);
        if old.get(15).is_none_or(|&revision| revision < 2) {
            return Ok(Self { rsdt, xsdt: None });
        }
        let new = checked(bytes, u32_at(bytes, 20).unwrap_or(0) as usize, NEW_LENGTH)?;
        Ok(Self { rsdt, xsdt: u64_at(new, 24).filter(|&xsdt| xsdt != 0) })
    }
}

/// The first `length` bytes of a structure of at least `minimum` bytes.
fn checked(bytes: &[u8], length: usize, minimum: usize) -> Result<&[u8], Problem> {
    let part = bytes.get(..length).filter(|_| length >= minimum).ok_or_else(|| {
        let have = bytes.len();
        problem!("RSDP has length {length:#x} and {have:#x} bytes, its revision needs {minimum:#x}")
    })?;
    let begin = part.get(..SIGNATURE.len()).unwrap_or(part);
    ensure!(begin == SIGNATURE, "RSDP begins with \"{}\", not with \"RSD PTR \"", begin.escape_ascii());
    let sum = checksum(part);
    ensure!(sum == 0, "RSDP has a bad checksum: its first {length} bytes sum to {sum:#04x}, not 0");
    Ok(part)
}
