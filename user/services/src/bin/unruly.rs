//! A program that does what its argument says, most of it something that it must not.
//!
//! For tests of the root partition. Concurrency: one thread.
// UNSAFETY: forbidden accesses cannot be expressed safely.
#![expect(unsafe_code, reason = "forbidden accesses")]
#![no_std]
#![no_main]

use core::arch::asm;

use rt::{ExitStatus, Startup, log};

rt::program!(main);

/// An address where nothing is.
const NOWHERE: u64 = 0x5000_0000;

static DATA: [u8; 16] = [0xC3; 16];

fn main(startup: &Startup) -> ExitStatus {
    log!("about to do this: {}", startup.arguments);
    let (code, data) = (main as fn(&Startup) -> ExitStatus as usize, &raw const DATA);
    match &*startup.arguments {
        // SAFETY: faults; the program is over.
        "read" => unsafe { asm!("mov {0}, [{0}]", inout(reg) NOWHERE => _, options(nostack)) },
        // SAFETY: as above: code may not be written.
        "write-code" => unsafe { asm!("mov byte ptr [{}], 0", in(reg) code, options(nostack)) },
        // SAFETY: as above: constants may not be executed.
        "execute-data" => unsafe { asm!("call {}", in(reg) data) },
        // SAFETY: as above.
        "undefined" => unsafe { asm!("ud2") },
        // SAFETY: as above.
        "divide" => unsafe { asm!("div {}", in(reg) 0_u64, inout("rax") 1_u64 => _, inout("rdx") 0_u64 => _) },
        "panic" => panic!("what panics say"),
        // SAFETY: pushes until the page that is not mapped.
        "overflow" => unsafe { asm!("2: push rax", "jmp 2b", options(noreturn)) },
        // SAFETY: the port is not this program's.
        "port" => unsafe { asm!("out 0x80, al", options(nostack)) },
        "status" => return ExitStatus::new(7),
        other => log!("does not know how to `{other}`"),
    }
    log!("was not stopped");
    ExitStatus::SUCCESS
}
