//! Panics in words: who, what, where; then the program is over, and with the root program the machine.
//!
//! Invariants: a panic while panicking faults at once, which the kernel reports.
//! Concurrency: the first panic wins.

use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::message::Text;
use crate::ports::IoPorts;
use crate::serial::COM1;
use crate::{ExitStatus, arch, console, parent, power, println};

/// Return addresses that are reported.
const FRAMES: usize = 16;

static PANICKING: AtomicBool = AtomicBool::new(false);

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    if PANICKING.swap(true, Ordering::Relaxed) {
        arch::cpu::undefined();
    }
    if parent::startup().is_some() {
        report(info);
        parent::exit(ExitStatus::FAILURE);
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

/// Tells the root partition, which knows the program's name and does not depend on the log service.
fn report(info: &PanicInfo<'_>) {
    let mut line = Text::<256>::default();
    // Text takes what fits and never fails.
    let _ = match info.location() {
        Some(location) => write!(line, "panicked: {} at {}:{}", info.message(), location.file(), location.line()),
        None => write!(line, "panicked: {}", info.message()),
    };
    parent::report(&line);
    line.clear();
    let mut found = [0; FRAMES];
    let _ = write!(line, "backtrace of {}:", arch::start::program().name);
    for address in arch::backtrace::return_addresses(&mut found) {
        let _ = write!(line, " {address:#x}");
    }
    parent::report(&line);
}
