//! Sleep states.
//!
//! Purpose: the root program puts the machine to sleep, through the registers that only firmware tables name.
//! Invariants: only the sleep type and the bit that enters it are changed. Sleep states out of which the machine comes back
//! with its memory are not resumed from.
//! Concurrency: set up by the boot core; the caller's core.
//! Source: interface §5 ("misc", operation 2); ACPI specification 6.5, §4.8.3.2.
use crate::{cores, root};
use abi::{Selector, Status};
use arch::port::Port;
use core::sync::atomic::{AtomicU32, Ordering};
use firmware::acpi_tables::Fadt;
use objects::Store;
use objects::frame::Frame;

/// Bits of a PM1 control register: the type, and what enters it.
const TYPE: u16 = 7 << 10;
const ENABLE: u16 = 1 << 13;
/// Microseconds that the machine gets to fall asleep.
const PATIENCE: u64 = 100_000;

/// Ports of the two PM1 control registers, 0 for none.
static PORTS: [AtomicU32; 2] = [AtomicU32::new(0), AtomicU32::new(0)];

/// Notes where the registers are.
pub fn start(fadt: Option<&Fadt>) {
    for (slot, port) in PORTS.iter().zip(fadt.map(|fadt| fadt.pm1_control).unwrap_or_default()) {
        slot.store(port.unwrap_or(0).into(), Ordering::Relaxed);
    }
}

/// Enters the sleep state with the types in RSI and RDX.
///
/// # Errors
/// [`Status::BadCapability`] unless the capability is the root program's for this; [`Status::BadParameter`] if the machine
/// does not fall asleep.
pub fn suspend(store: &Store<'_>, selector: Selector, frame: &Frame) -> Result<(), Status> {
    root::require(store, root::Key::Suspend, selector.number())?;
    for (port, kind) in PORTS.iter().zip([&frame.rsi, &frame.rdx]) {
        let number = port.load(Ordering::Relaxed) as u16;
        if number != 0 {
            // SAFETY: the firmware names it as a register of power management.
            let port = unsafe { Port::new(number) };
            port.write16(port.read16() & !TYPE | (kind.get() as u16) << 10 & TYPE | ENABLE);
        }
    }
    cores::wait_for(PATIENCE, || false);
    Err(Status::BadParameter)
}
