//! Panics in words: who, what, where; then the machine ends with a failure.
//!
//! Invariants: a panic while panicking faults at once, which the kernel reports.
//! Concurrency: the first panic wins.

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::ports::IoPorts;
use crate::serial::COM1;
use crate::{ExitStatus, arch, console, power, println};

static PANICKING: AtomicBool = AtomicBool::new(false);

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    if PANICKING.swap(true, Ordering::Relaxed) {
        arch::cpu::undefined();
    }
    if console::current().is_none()
        && let Ok(ports) = IoPorts::acquire()
    {
        console::open(ports, COM1);
    }
    let name = arch::start::program().name;
    match info.location() {
        Some(location) => println!("{name}: panicked: {} at {}:{}", info.message(), location.file(), location.line()),
        None => println!("{name}: panicked: {}", info.message()),
    }
    power::end(ExitStatus::FAILURE)
}
