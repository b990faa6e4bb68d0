//! The end of the machine.
//!
//! Purpose: say why, tell an emulator, halt.
//! Invariants: never returns; works from any state in which the log works.
//! Concurrency: the core that calls it halts; the others have nothing to run, or are halted by the emulator.
//! Source: design plan §5; QEMU isa-debug-exit; Bochs port 0x8900.
use crate::log::error;
use arch::port::Port;
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

/// Status of a machine that cannot start or go on.
pub const BROKEN: u8 = 1;
/// Status after a fault or panic of the kernel itself.
pub const FAULT: u8 = 2;

const NO_PORT: u32 = u32::MAX;
static EXIT_PORT: AtomicU32 = AtomicU32::new(NO_PORT);

/// Reports the end of the machine at this port from now on, and to Bochs.
pub fn use_exit_port(port: u16) {
    EXIT_PORT.store(u32::from(port), Ordering::Relaxed);
}

/// Ends the machine with `status`, which is not 0, because of `why`.
pub fn machine(status: u8, why: fmt::Arguments<'_>) -> ! {
    error!("machine stops: status {status} ({why})");
    arch::serial::drain();
    if let Ok(port) = u16::try_from(EXIT_PORT.load(Ordering::Relaxed)) {
        // SAFETY: an emulator's exit device, named on the command line for this purpose.
        let (exit, bochs) = unsafe { (Port::new(port), Port::new(0x8900)) };
        exit.write8(status);
        b"Shutdown".iter().for_each(|&byte| bochs.write8(byte));
    }
    arch::cpu::halt()
}
