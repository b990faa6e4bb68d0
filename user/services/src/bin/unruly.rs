//! A program that does what its argument says, most of it something that it must not.
//!
//! For tests of the root partition. Concurrency: one thread.
// UNSAFETY: forbidden accesses cannot be expressed safely.
#![expect(unsafe_code, reason = "forbidden accesses")]
#![no_std]
#![no_main]

use core::arch::asm;

use rt::abi::utcb::Header;
use rt::abi::{Crd, Selector, TypedItem};
use rt::arch::utcb::Utcb;
use rt::capability::{Portal, Slot};
use rt::message::Words;
use rt::startup::PARENT;
use rt::{ExitStatus, Startup, log};

rt::program!(main);

/// An address where nothing is.
const NOWHERE: u64 = 0x5000_0000;

static DATA: [u8; 16] = [0xC3; 16];

/// Sends messages without sense to the root partition, with capabilities that do not exist.
fn nonsense() -> ExitStatus {
    let portal = Portal::from_slot(Slot::fixed(Selector::new(PARENT)));
    let mut utcb = Utcb::current();
    let mut seed = 1_u64;
    let mut random = || {
        seed = seed.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
        seed >> 33
    };
    for _ in 0..3_000 {
        // Not those requests that end the program, print, or make or end threads: 1, 3, 6 and 7.
        let requests = [0, 2, 4, 5, 8, 9, 10, u64::MAX];
        utcb.set(0, requests[random() as usize % requests.len()]);
        for index in 1..100 {
            utcb.set(index, random() % [2, 40, 1 << 31][index % 3]);
        }
        utcb.set_item(0, TypedItem::from_words(random() & 0xFFFF, random() & 0xFF03));
        utcb.set_header(Header::new(random() as usize % 508, random() as usize % 3));
        utcb.set_window(Crd::from_word(random() & 0xF000_FFFF));
        if portal.call().is_err() {
            return ExitStatus::FAILURE;
        }
    }
    ExitStatus::SUCCESS
}

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
        "nonsense" => return nonsense(),
        other => log!("does not know how to `{other}`"),
    }
    log!("was not stopped");
    ExitStatus::SUCCESS
}
