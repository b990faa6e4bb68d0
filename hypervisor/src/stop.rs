//! The end of the machine.
//!
//! Purpose: say why, tell an emulator, halt.
//! Invariants: never returns; works from any state in which the log works.
//! Concurrency: the first core that calls it halts after it has told the others to with an NMI; each other that calls it halts
//! at once, or both would be halted by the other's NMI with nothing said.
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

const NOBODY: u32 = u32::MAX;
/// The core that stops the machine.
static STOPPER: AtomicU32 = AtomicU32::new(NOBODY);

/// Whether the machine is being stopped: then an NMI is the request to halt.
pub fn stopping() -> bool {
    STOPPER.load(Ordering::Acquire) != NOBODY
}

/// Ends a machine that cannot start, for a reason in words.
macro_rules! give_up {
    ($($why:tt)*) => { $crate::stop::machine($crate::stop::BROKEN, format_args!($($why)*)) };
}
pub(crate) use give_up;

/// Ends the machine with `status`, which is not 0, because of `why`.
pub fn machine(status: u8, why: fmt::Arguments<'_>) -> ! {
    let core = percpu::this().local.id.get();
    match STOPPER.compare_exchange(NOBODY, core, Ordering::AcqRel, Ordering::Acquire) {
        Err(other) if other != core => arch::cpu::halt(),
        _ => {}
    }
    if crate::cores::running().len() > 1 {
        arch::apic::send_nmi_to_others();
    }
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
