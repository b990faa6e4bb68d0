//! Console: what a root program prints goes to the serial port and to the debug port 0xE9, the same bytes on both.
//!
//! Invariants: silent until [`open`]; a serial port that is stuck is left out from then on.
//! Concurrency: one writer per program; the state is one atomic word.
//! Source: conventions of QEMU and Bochs (port 0xE9).

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use spin::Once;

use crate::ports::{IoPorts, PortRegisters};
use crate::serial::Serial;
use crate::time;

const DEBUG_PORT: u16 = 0xE9;
/// [`STATE`]: the console is open.
const OPEN: u32 = 1 << 17;
/// [`STATE`]: the serial port, whose first port is in the low 16 bits, is in use.
const SERIAL: u32 = 1 << 16;

/// Milliseconds to wait for another program that prints.
const WAIT: u64 = 20;

static STATE: AtomicU32 = AtomicU32::new(0);
/// Taken while a program prints, if several do.
static SHARED: Once<&'static AtomicU64> = Once::new();

/// The program's console.
#[derive(Clone, Copy, Debug)]
pub struct Console(IoPorts);

/// Opens the console on the serial device whose first port is `serial` and on port 0xE9.
pub fn open(ports: IoPorts, serial: u16) -> Console {
    STATE.store(OPEN | SERIAL | u32::from(serial), Ordering::Relaxed);
    Console(ports)
}

/// The console, if it is open.
#[must_use]
pub fn current() -> Option<Console> {
    if STATE.load(Ordering::Relaxed) & OPEN == 0 { None } else { IoPorts::acquired().map(Console) }
}

/// Prints, if the console is open: what [`crate::print!`] and [`crate::println!`] do.
pub fn print(arguments: fmt::Arguments<'_>) {
    // Only a value that refuses to be formatted can fail here, and nothing is lost but its text.
    alone(|mut console| _ = console.write_fmt(arguments));
}

/// Prints a byte of somebody else's text, if the console is open: of a guest, whose lines other programs' lines may divide,
/// but not the other way round.
pub fn pass_on(byte: u8) {
    alone(|console| console.send(byte));
}

/// Has `print` done while no other program prints.
fn alone(print: impl FnOnce(Console)) {
    if let Some(console) = current() {
        let lock = SHARED.get();
        let taken = lock.is_some_and(|lock| take(lock));
        print(console);
        if let Some(lock) = lock.filter(|_| taken) {
            lock.store(0, Ordering::Release);
        }
    }
}

/// Shares the console with another program: `lock` lies in memory that both have.
pub fn share(lock: &'static AtomicU64) {
    SHARED.call_once(|| lock);
}

/// Waits for the lock, at most [`WAIT`] milliseconds: the other program may be dead, or bad. Whether it was taken.
fn take(lock: &AtomicU64) -> bool {
    let give_up = time::after(WAIT);
    loop {
        if lock.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            return true;
        }
        if time::now() > give_up {
            // From now on it is ours, whoever had it.
            return true;
        }
        core::hint::spin_loop();
    }
}

impl Console {
    /// Waits until everything has left the serial port, or gives up.
    pub fn drain(self) {
        if let Some(serial) = self.serial()
            && serial.drain().is_err()
        {
            STATE.store(OPEN, Ordering::Relaxed);
        }
    }

    fn send(self, byte: u8) {
        self.0.port8(DEBUG_PORT).write(byte);
        if let Some(serial) = self.serial()
            && serial.send(byte).is_err()
        {
            STATE.store(OPEN, Ordering::Relaxed);
        }
    }

    fn serial(self) -> Option<Serial<PortRegisters>> {
        let state = STATE.load(Ordering::Relaxed);
        (state & SERIAL != 0).then(|| Serial(PortRegisters::new(self.0, state as u16)))
    }
}

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.send(byte));
        Ok(())
    }
}

/// Prints formatted text, if the console is open.
#[macro_export]
macro_rules! print {
    ($($argument:tt)*) => { $crate::console::print(::core::format_args!($($argument)*)) };
}

/// Prints formatted text and a new line, if the console is open.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($format:literal $($argument:tt)*) => { $crate::print!("{}\n", ::core::format_args!($format $($argument)*)) };
}
