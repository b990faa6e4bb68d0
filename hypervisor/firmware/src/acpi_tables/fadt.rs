//! The fixed ACPI description table.
//!
//! Purpose: registers at fixed ports: timer, power states.
//! Invariants: tables of old revisions are shorter; fields beyond their end are absent. The 64-bit form of a field is
//! preferred to the 32-bit one if it is not zero. Registers in memory count as absent. The crate's own getters overflow
//! on hostile lengths, hence the offsets here.
//! Concurrency: none; see the crate.
//! Source: ACPI specification 6.5, §5.2.9, table 5.9; §5.2.3.2 (generic address).

use crate::bytes::{u32_at, u64_at};

/// The power management timer, 3.579545 MHz.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PmTimer {
    /// A 32-bit register.
    pub port: u16,
    /// All 32 bits count; else 24.
    pub wide: bool,
}

/// What the table says about fixed hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fadt {
    /// The power management timer.
    pub pm_timer: Option<PmTimer>,
    /// PM1a and PM1b control registers (16 bits).
    pub pm1_control: [Option<u16>; 2],
}

impl Fadt {
    pub(super) fn new(table: &[u8]) -> Self {
        let wide = u32_at(table, 112).unwrap_or(0) >> 8 & 1 == 1;
        Self {
            // A block of length 0 is none.
            pm_timer: port(table, 76, 208).filter(|_| table.get(91) != Some(&0)).map(|port| PmTimer { port, wide }),
            pm1_control: [port(table, 64, 172), port(table, 68, 184)],
        }
    }
}

/// The port whose number is at `narrow`, or in the generic address at `wide` if that names anything.
fn port(table: &[u8], narrow: usize, wide: usize) -> Option<u16> {
    let generic = table.get(wide).zip(u64_at(table, wide + 4)).filter(|&(_, address)| address != 0);
    let number = match generic {
        // Address space 1 has the ports.
        Some((1, address)) => address,
        Some(_) => return None,
        None => u32_at(table, narrow)?.into(),
    };
    u16::try_from(number).ok().filter(|&port| port != 0)
}
