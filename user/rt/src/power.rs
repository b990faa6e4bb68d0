//! The end of the machine, as a root program brings it about.
//!
//! Invariants: a failure is printed before the machine ends, and everything printed has left the serial port.
//! Concurrency: whoever comes first ends the machine for all.
//! Source: QEMU's isa-debug-exit device; Bochs' port 0x8900.

use crate::console;
use crate::ports::IoPorts;
use crate::serial::COM1;
use crate::{ExitStatus, arch, println};

const QEMU_EXIT: u16 = 0xF4;
const BOCHS_POWER: u16 = 0x8900;

/// Ends the machine with `status`: prints nothing for success, `exit status N` for a failure. On a machine without
/// either device it waits for ever.
pub fn end(status: ExitStatus) -> ! {
    let Ok(ports) = IoPorts::acquire() else {
        // Without ports there is nobody left to tell but the kernel, which reports the fault.
        arch::cpu::undefined();
    };
    let console = console::current().unwrap_or_else(|| console::open(ports, COM1));
    if !status.is_success() {
        println!("exit status {}", status.number());
    }
    console.drain();
    ports.port8(QEMU_EXIT).write(status.number());
    for byte in *b"Shutdown" {
        ports.port8(BOCHS_POWER).write(byte);
    }
    loop {
        core::hint::spin_loop();
    }
}
