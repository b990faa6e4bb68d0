//! A processor that runs without exits is recalled when another one interrupts it.
//!
//! Concurrency: two processors.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use micro_guests::interrupts::{self, Controller};
use micro_guests::processors;
use micro_guests::{Checks, apic, cpu, guest};

guest!(main);

static LOOPS: AtomicU64 = AtomicU64::new(0);

fn other() {
    apic::enable(true);
    cpu::open();
    loop {
        LOOPS.fetch_add(1, SeqCst);
    }
}

fn main(checks: &mut Checks) {
    apic::enable(true);
    interrupts::acknowledge(Controller::Apic);
    processors::run(1, other);
    for round in 1..=20 {
        let before = LOOPS.load(SeqCst);
        while LOOPS.load(SeqCst) == before {
            core::hint::spin_loop();
        }
        apic::send(1, 0x4077);
        while interrupts::count(0x77) < round {
            core::hint::spin_loop();
        }
    }
    checks.equal("each once", interrupts::count(0x77), 20);
}
