//! INIT and start-up messages start another processor in real mode, once.
//!
//! Concurrency: two processors.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use micro_guests::processors;
use micro_guests::{Checks, apic, cpu, guest};

guest!(main);

static STARTS: AtomicU64 = AtomicU64::new(0);
static NUMBER: AtomicU64 = AtomicU64::new(0);

fn other() {
    NUMBER.store(u64::from(cpu::cpuid(1, 0)[1] >> 24), SeqCst);
    STARTS.fetch_add(1, SeqCst);
}

fn main(checks: &mut Checks) {
    apic::enable(false);
    for round in 1..=3 {
        processors::run(1, other);
        while STARTS.load(SeqCst) < round {
            core::hint::spin_loop();
        }
        checks.equal("which one", NUMBER.load(SeqCst), 1);
    }
    // Nobody is there: nothing happens.
    apic::send(9, 0x4500);
    apic::send(9, 0x4608);
    checks.equal("starts", STARTS.load(SeqCst), 3);
}
