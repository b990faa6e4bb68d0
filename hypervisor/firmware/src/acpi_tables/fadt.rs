//! The fixed ACPI description table.
//!
//! Purpose: registers at fixed places: timer, reset, power states.
//! Invariants: tables of old revisions are shorter; fields beyond their end read as zero, which the specification
//! defines as absent. The 64-bit form of a field is preferred to the 32-bit one if it is not zero.
//! Concurrency: none; see the crate.
//! Source: ACPI specification 6.5, §5.2.9, table 5.9.

use crate::Problem;
use crate::layout::read_padded;
use acpi::address::{AddressSpace, GenericAddress};

/// Bytes of a table that has a reset register.
const WITH_RESET: usize = 129;

/// Where a register is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// At an I/O port.
    Port(u16),
    /// At a physical address.
    Memory(u64),
}

/// The power management timer, 3.579545 MHz.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PmTimer {
    /// A 32-bit register.
    pub register: Register,
    /// All 32 bits count; else 24.
    pub wide: bool,
}

/// How to reset the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// An 8-bit register.
    pub register: Register,
    /// What to write to it.
    pub value: u8,
}

/// What the table says about fixed hardware. Registers that are neither ports nor in memory count as absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fadt {
    /// Interrupt number of the system control interrupt (GSI on APIC systems).
    pub sci_interrupt: u16,
    /// The power management timer.
    pub pm_timer: Option<PmTimer>,
    /// The reset register.
    pub reset: Option<Reset>,
    /// PM1a control register (16 bits).
    pub pm1a_control: Option<Register>,
    /// PM1b control register (16 bits).
    pub pm1b_control: Option<Register>,
}

impl Fadt {
    pub(super) fn new(bytes: &[u8]) -> Result<Self, Problem> {
        let fadt: acpi::fadt::Fadt = read_padded(&sanitized(bytes));
        let flags = fadt.flags;
        let resets = flags.supports_system_reset_via_fadt() && bytes.len() >= WITH_RESET;
        let reset = if resets { fadt.reset_register().map(Some) } else { Ok(None) };
        let pm_timer = register("PM timer", fadt.pm_timer_block())?;
        Ok(Self {
            sci_interrupt: fadt.sci_interrupt,
            pm_timer: pm_timer.map(|register| PmTimer { register, wide: flags.pm_timer_is_32_bit() }),
            reset: register("reset register", reset)?.map(|register| Reset { register, value: fadt.reset_value }),
            pm1a_control: register("PM1a control register", fadt.pm1a_control_block().map(Some))?,
            pm1b_control: register("PM1b control register", fadt.pm1b_control_block())?,
        })
    }
}

/// The table with what makes the crate's getters overflow taken out: they multiply the length of a register block by
/// 8 in eight bits.
fn sanitized(bytes: &[u8]) -> [u8; size_of::<acpi::fadt::Fadt>()] {
    let mut copy = [0; size_of::<acpi::fadt::Fadt>()];
    copy.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    // The PM1 event and control blocks.
    for length in [88, 89] {
        copy[length] = copy[length].min(31);
    }
    copy
}

/// Where an address leads; address 0 means that there is no register.
fn register<E>(name: &str, address: Result<Option<GenericAddress>, E>) -> Result<Option<Register>, Problem> {
    let address = address.map_err(|_| problem!("FACP describes the {name} in a way that means nothing"))?;
    let address = address.filter(|register| register.address != 0);
    Ok(address.and_then(|GenericAddress { address_space, address, .. }| match address_space {
        AddressSpace::SystemIo => u16::try_from(address).ok().map(Register::Port),
        AddressSpace::SystemMemory => Some(Register::Memory(address)),
        _ => None,
    }))
}
