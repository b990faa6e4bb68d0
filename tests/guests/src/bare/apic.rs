//! The local APIC, in both modes, and the I/O APIC.
//!
//! Concurrency: each processor's own.

use super::{cpu, memory};

const BASE: u32 = 0x1B;
const PAGE: u64 = 0xFEE0_0000;
const IO: u64 = 0xFEC0_0000;

/// Registers, as x2APIC mode numbers them.
pub mod register {
    /// Number of the processor.
    pub const ID: u32 = 0x02;
    /// Version.
    pub const VERSION: u32 = 0x03;
    /// Task priority.
    pub const TPR: u32 = 0x08;
    /// Processor priority.
    pub const PPR: u32 = 0x0A;
    /// End of interrupt.
    pub const EOI: u32 = 0x0B;
    /// Spurious vector, and whether it is on.
    pub const SVR: u32 = 0x0F;
    /// In service, eight words.
    pub const ISR: u32 = 0x10;
    /// Requested, eight words.
    pub const IRR: u32 = 0x20;
    /// Command.
    pub const ICR: u32 = 0x30;
    /// Its upper half in xAPIC mode.
    pub const ICR_HIGH: u32 = 0x31;
    /// Timer.
    pub const TIMER: u32 = 0x32;
    /// Local interrupt 0.
    pub const LINT0: u32 = 0x35;
    /// Where the timer starts, where it is, and its divisor.
    pub const INITIAL: u32 = 0x38;
    /// See [`INITIAL`].
    pub const CURRENT: u32 = 0x39;
    /// See [`INITIAL`].
    pub const DIVIDE: u32 = 0x3E;
    /// Interrupt to oneself, in x2APIC mode.
    pub const SELF: u32 = 0x3F;
}

/// Whether it is in x2APIC mode.
pub fn is_x2() -> bool {
    cpu::read_msr(BASE).is_some_and(|base| base & 1 << 10 != 0)
}

/// Switches it on, in x2APIC mode if `x2`.
pub fn enable(x2: bool) {
    let base = cpu::read_msr(BASE).unwrap_or(0) | 1 << 11;
    cpu::write_msr(BASE, if x2 { base | 1 << 10 } else { base });
    write(register::SVR, 0x1FF);
}

/// Reads a register.
pub fn read(number: u32) -> u32 {
    if is_x2() {
        cpu::read_msr(0x800 + number).unwrap_or(u64::MAX) as u32
    } else {
        memory::read32(PAGE + 16 * u64::from(number))
    }
}

/// Writes one.
pub fn write(number: u32, value: u32) {
    if is_x2() {
        cpu::write_msr(0x800 + number, value.into());
    } else {
        memory::write32(PAGE + 16 * u64::from(number), value);
    }
}

/// Ends the interrupt that is served.
pub fn end_of_interrupt() {
    write(register::EOI, 0);
}

/// Sends `command` to processor `to`.
pub fn send(to: u32, command: u32) {
    if is_x2() {
        cpu::write_msr(0x800 + register::ICR, u64::from(to) << 32 | u64::from(command));
    } else {
        write(register::ICR_HIGH, to << 24);
        write(register::ICR, command);
    }
}

/// Reads a register of the I/O APIC.
pub fn io_read(number: u32) -> u32 {
    memory::write32(IO, number);
    memory::read32(IO + 0x10)
}

/// Writes one.
pub fn io_write(number: u32, value: u32) {
    memory::write32(IO, number);
    memory::write32(IO + 0x10, value);
}

/// Routes pin `pin` to processor 0, with these lower bits.
pub fn route(pin: u32, low: u32) {
    io_write(0x11 + 2 * pin, 0);
    io_write(0x10 + 2 * pin, low);
}
