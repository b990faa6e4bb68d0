//! How a machine ends, in words.
//!
//! Invariants: none; the values are what the processor had.
//! Concurrency: plain values.

use core::fmt;

use rt::message::Words;

use crate::state::State;

/// Where a processor stood.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// Its number.
    pub cpu: usize,
    /// Instruction pointer, stack pointer, and control registers 0, 2, 3 and 4.
    pub registers: [u64; 6],
    /// What the processor said about the exit.
    pub details: [u64; 2],
}

impl Place {
    /// From the whole state of processor `cpu`.
    #[must_use]
    pub fn new<W: Words>(cpu: usize, state: &State<'_, W>) -> Self {
        let registers = [state.rip(), state.rsp(), state.cr0(), state.cr2(), state.cr3(), state.cr4()];
        Self { cpu, registers, details: state.qualification() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [rip, rsp, cr0, cr2, cr3, cr4] = self.registers;
        write!(f, "virtual CPU {} at rip={rip:#x} rsp={rsp:#x} ", self.cpu)?;
        write!(f, "cr0={cr0:#x} cr2={cr2:#x} cr3={cr3:#x} cr4={cr4:#x} details={:#x?}", self.details)
    }
}

/// Why a machine ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It switched itself off.
    Off,
    /// It asked for a reset.
    Reset,
    /// It ended itself with this value.
    Exit(u32),
    /// Its processor faulted three times over.
    TripleFault(Place),
    /// The processor refused its state.
    Invalid(Place),
    /// It left the guest for a reason that this machine does not know.
    Unknown(u8, Place),
    /// This processor has not left the guest for so many milliseconds.
    Hang(usize, u32),
    /// The monitor was told to end it.
    Stopped,
}

impl End {
    /// Whether the machine starts again: after a reset that the guest asked for, after a fault if `faults`.
    #[must_use]
    pub const fn is_restart(&self, faults: bool) -> bool {
        match self {
            Self::Reset => true,
            Self::TripleFault(_) | Self::Invalid(_) | Self::Unknown(..) | Self::Hang(..) => faults,
            Self::Off | Self::Exit(_) | Self::Stopped => false,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("the guest has switched itself off"),
            Self::Reset => f.write_str("the guest asks for a reset"),
            Self::Exit(value) => write!(f, "the guest ends with value {value}"),
            Self::TripleFault(place) => write!(f, "the guest faulted while it handled a double fault: {place}"),
            Self::Invalid(place) => write!(f, "the processor refuses the guest's state: {place}"),
            Self::Unknown(index, place) => write!(f, "an exit of unknown kind {index:#x}: {place}"),
            Self::Hang(cpu, milliseconds) => {
                write!(f, "the guest hangs: virtual CPU {cpu} has not left it for {milliseconds} ms")
            }
            Self::Stopped => f.write_str("the machine was ended from outside"),
        }
    }
}
