//! The fixed ACPI description table: registers at fixed places.
//!
//! Tables of old revisions are shorter; fields beyond their end read as zero,
//! which the specification defines as absent. The 64-bit form of a field is
//! preferred to the 32-bit one if it is not zero.
//!
//! Source: ACPI specification 6.5, §5.2.9, table 5.9.

use super::{AcpiError, Signature, Table};
use crate::bytes::{u16_at, u32_at, u64_at};
use crate::layout::read_padded;
use crate::physical::PhysicalMemory;
use acpi::address::{AddressSpace, GenericAddress};

pub const SIGNATURE: Signature = Signature(*b"FACP");

/// Length of the table of ACPI 1.0.
const LENGTH: u32 = 116;
/// Offsets of the lengths of the PM1 event and control blocks and the PM timer.
const PM1_EVENT_LENGTH: usize = 88;
const PM1_CONTROL_LENGTH: usize = 89;
const BOOT_ARCHITECTURE: usize = 109;
const FLAGS: usize = 112;
const X_DSDT: usize = 140;
/// Flag: the reset register is there.
const RESET_SUPPORTED: u32 = 1 << 10;

/// Where a register is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// At an I/O port.
    Port(u16),
    /// At a physical address.
    Memory(u64),
    /// In another address space (ACPI numbers them) or at an impossible port.
    Other,
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

/// What the table says about fixed hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fadt {
    /// Interrupt number of the system control interrupt (GSI on APIC systems).
    pub sci_interrupt: u16,
    /// Port of the command that changes to ACPI mode; 0 if there is none.
    pub smi_command_port: u32,
    /// What to write to that port to enable ACPI mode.
    pub acpi_enable: u8,
    /// What to write to that port to leave ACPI mode.
    pub acpi_disable: u8,
    /// The power management timer.
    pub pm_timer: Option<PmTimer>,
    /// The reset register.
    pub reset: Option<Reset>,
    /// PM1a control register (16 bits).
    pub pm1a_control: Option<Register>,
    /// PM1b control register (16 bits).
    pub pm1b_control: Option<Register>,
    /// None of the fixed registers exist.
    pub hardware_reduced: bool,
    /// IA-PC boot architecture flags: bit 0 legacy devices, 1 keyboard
    /// controller, 2 no VGA, 3 no MSI, 4 no ASPM, 5 no CMOS clock.
    pub boot_architecture: u16,
    /// Fixed feature flags.
    pub flags: u32,
    /// Physical address of the DSDT; 0 if there is none.
    pub dsdt: u64,
}

impl Fadt {
    pub(super) fn new<M: PhysicalMemory + ?Sized>(table: &Table<'_, M>) -> Result<Self, AcpiError> {
        let bytes = table.bytes();
        let length = bytes.len() as u32;
        if length < LENGTH {
            let address = table.address();
            return Err(AcpiError::TableLength { table: SIGNATURE, address, length, minimum: LENGTH });
        }
        let fadt: acpi::fadt::Fadt = read_padded(&sanitized(bytes));
        let number = |offset| u32_at(bytes, offset).unwrap_or(0);
        let flags = number(FLAGS);
        let timer = fadt.pm_timer_block().map_err(|_| invalid("PM timer"))?;
        let reset = if flags & RESET_SUPPORTED != 0 && bytes.len() >= 129 {
            register(Some(fadt.reset_register().map_err(|_| invalid("reset register"))?))
        } else {
            None
        };
        Ok(Self {
            sci_interrupt: fadt.sci_interrupt,
            smi_command_port: fadt.smi_cmd_port,
            acpi_enable: fadt.acpi_enable,
            acpi_disable: fadt.acpi_disable,
            pm_timer: register(timer).map(|register| PmTimer { register, wide: { fadt.flags }.pm_timer_is_32_bit() }),
            reset: reset.map(|register| Reset { register, value: fadt.reset_value }),
            pm1a_control: register(Some(fadt.pm1a_control_block().map_err(|_| invalid("PM1a control register"))?)),
            pm1b_control: register(fadt.pm1b_control_block().map_err(|_| invalid("PM1b control register"))?),
            hardware_reduced: { fadt.flags }.system_is_hw_reduced_acpi(),
            boot_architecture: u16_at(bytes, BOOT_ARCHITECTURE).unwrap_or(0),
            flags,
            dsdt: u64_at(bytes, X_DSDT).filter(|&address| address != 0).unwrap_or(number(40).into()),
        })
    }
}

/// The table with what makes the crate's getters overflow taken out: they
/// multiply the length of a register block by 8 in eight bits.
fn sanitized(bytes: &[u8]) -> [u8; size_of::<acpi::fadt::Fadt>()] {
    let mut copy = [0; size_of::<acpi::fadt::Fadt>()];
    for (to, from) in copy.iter_mut().zip(bytes) {
        *to = *from;
    }
    copy[PM1_EVENT_LENGTH] = copy[PM1_EVENT_LENGTH].min(31);
    copy[PM1_CONTROL_LENGTH] = copy[PM1_CONTROL_LENGTH].min(31);
    copy
}

fn invalid(name: &'static str) -> AcpiError {
    AcpiError::Register { table: SIGNATURE, name }
}

/// Where an address leads; address 0 means that there is no register.
fn register(address: Option<GenericAddress>) -> Option<Register> {
    let GenericAddress { address_space, address, .. } = address.filter(|register| register.address != 0)?;
    Some(match address_space {
        AddressSpace::SystemIo => u16::try_from(address).map_or(Register::Other, Register::Port),
        AddressSpace::SystemMemory => Register::Memory(address),
        _ => Register::Other,
    })
}
