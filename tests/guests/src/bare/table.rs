//! ACPI tables, as far as they are needed: the fixed description of power management.
//!
//! Concurrency: one processor.
//! Source: ACPI 6.4, §5.2.5 to §5.2.9.

use super::memory;

/// Where the machine has its tables.
const TABLES: core::ops::Range<u64> = 0xE_0000..0x10_0000;

/// Port and value of the reset register.
pub fn reset_register() -> Option<(u16, u8)> {
    let signature = u32::from_le_bytes(*b"FACP");
    let table = TABLES.step_by(4).find(|at| memory::read32(*at) == signature)?;
    let in_ports = memory::read8(table + 116) == 1;
    let address = memory::read32(table + 120) as u16;
    in_ports.then(|| (address, memory::read8(table + 128)))
}
