//! The bare machine: entry, checks, the end.
//!
//! Invariants: the program ends by port 0xF4 and never returns.
//! Concurrency: see the programs.

pub mod apic;
pub mod clock;
pub mod cpu;
pub mod interrupts;
pub mod memory;
pub mod pci;
pub mod port;
pub mod processors;
pub mod table;
pub mod virtio;

use core::arch::global_asm;
use core::fmt::{self, Write};
use core::panic::PanicInfo;

const PRINT: u16 = 0xE9;
const EXIT: u16 = 0xF4;

global_asm!(
    ".pushsection .entry, \"ax\"",
    ".global guest_entry",
    "guest_entry:",
    "cld",
    "lea rsp, [rip + {stack} + {size}]",
    "call {start}",
    "ud2",
    ".popsection",
    stack = sym STACK,
    size = const STACK_SIZE,
    start = sym start,
);

const STACK_SIZE: usize = 0x8000;
#[repr(align(16))]
struct Stack {
    _bytes: core::cell::UnsafeCell<[u8; STACK_SIZE]>,
}
// SAFETY: nothing but the processor's pushes and pops uses it, from the entry on.
unsafe impl Sync for Stack {}
static STACK: Stack = Stack { _bytes: core::cell::UnsafeCell::new([0; STACK_SIZE]) };

/// A program.
pub struct Guest {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub main: fn(&mut Checks),
}

// SAFETY: `guest!` defines the symbol, with this type.
unsafe extern "Rust" {
    safe static MICRO_GUEST: Guest;
}

extern "C" fn start() -> ! {
    interrupts::load();
    let mut checks = Checks { failed: 0 };
    (MICRO_GUEST.main)(&mut checks);
    end(checks.failed.min(100))
}

/// Ends the machine with this value.
pub fn end(value: u32) -> ! {
    port::out32(EXIT, value);
    loop {
        cpu::halt();
    }
}

/// Where lines go.
struct Printer;

impl Write for Printer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| port::out8(PRINT, byte));
        Ok(())
    }
}

/// Prints a line with the program's name before it.
pub fn say(what: fmt::Arguments<'_>) {
    // The printer never fails.
    let _ = writeln!(Printer, "{}: {what}", MICRO_GUEST.name);
}

/// Counts what is not as it should be.
pub struct Checks {
    failed: u32,
}

impl Checks {
    /// Whether anything was not as it should be.
    pub const fn failed(&self) -> bool {
        self.failed > 0
    }

    /// Whether `found` is `expected`; says so if not.
    pub fn equal<T: Into<u64>>(&mut self, what: &str, found: T, expected: T) {
        let (found, expected) = (found.into(), expected.into());
        if found != expected {
            self.failed += 1;
            say(format_args!("{what}: {found:#x}, not {expected:#x}"));
        }
    }

    /// Whether it holds; says so if not.
    pub fn that(&mut self, what: &str, holds: bool) {
        if !holds {
            self.failed += 1;
            say(format_args!("not so: {what}"));
        }
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    say(format_args!("{info}"));
    end(101)
}
