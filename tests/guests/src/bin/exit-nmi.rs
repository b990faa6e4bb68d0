//! Non-maskable interrupts come whatever the flag says, one after the other; a processor that waits to be started forgets
//! them.
//!
//! Concurrency: two processors.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use micro_guests::interrupts::{self, Controller};
use micro_guests::processors;
use micro_guests::{Checks, apic, cpu, guest};

guest!(main);

const NMI: u8 = 2;
const SEND: u32 = 0x4400;
static LOOPS: AtomicU64 = AtomicU64::new(0);

/// Runs, and leaves the guest now and then, with interrupts off.
fn other() {
    apic::enable(true);
    loop {
        LOOPS.fetch_add(1, SeqCst);
        cpu::cpuid(1, 0);
    }
}

fn main(checks: &mut Checks) {
    apic::enable(true);
    interrupts::acknowledge(Controller::Apic);
    interrupts::expect_nmi();
    // Nobody is there yet; then to oneself, twice at once.
    apic::send(1, SEND);
    apic::send(0, SEND);
    apic::send(0, SEND);
    let own = interrupts::count(NMI);
    checks.equal("to oneself", own, 2);
    processors::run(1, other);
    while LOOPS.load(SeqCst) < 10 {
        core::hint::spin_loop();
    }
    checks.equal("of before its start", interrupts::count(NMI), own);
    for round in 1..=200 {
        let before = LOOPS.load(SeqCst);
        apic::send(1, SEND);
        // It goes on, and has had it.
        while interrupts::count(NMI) < own + round || LOOPS.load(SeqCst) == before {
            core::hint::spin_loop();
        }
    }
    checks.equal("each once", interrupts::count(NMI), own + 200);
    // Two at once are one or two.
    for round in 1..=200 {
        let before = LOOPS.load(SeqCst);
        apic::send(1, SEND);
        apic::send(1, SEND);
        while interrupts::count(NMI) < own + 200 + round || LOOPS.load(SeqCst) == before {
            core::hint::spin_loop();
        }
    }
}
