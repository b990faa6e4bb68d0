//! The description of the high precision event timer.
//!
//! Purpose: where its registers are.
//! Invariants: they lie in physical memory. The crate's own reading asserts that, hence the offsets here.
//! Concurrency: none; see the crate.
//! Source: HPET specification 1.0a, §3.2.4 table 3.

use crate::Problem;
use crate::bytes::u64_at;
use crate::physical::PHYSICAL_END;

/// Physical address of the registers, 1 KiB.
pub fn base(table: &[u8]) -> Result<u64, Problem> {
    let (space, base) = (table.get(40), u64_at(table, 44).unwrap_or(0));
    // Address space 0 is memory.
    let valid = space == Some(&0) && (1..=PHYSICAL_END - 0x400).contains(&base);
    ensure!(valid, "HPET describes the timer's registers in a way that means nothing");
    Ok(base)
}
