//! CPUID exits: the monitor answers by its list.
//!
//! Concurrency: one processor.
#![no_std]
#![no_main]

use micro_guests::{Checks, cpu, guest};

guest!(main);

fn main(checks: &mut Checks) {
    let [highest, ..] = cpu::cpuid(0, 0);
    checks.that("there is leaf 7", highest >= 7);
    let [_, number, features, more] = cpu::cpuid(1, 0);
    checks.equal("number of the processor", number >> 24, 0);
    checks.that("a hypervisor is there", features >> 31 & 1 == 1);
    checks.that("x2APIC mode", features >> 21 & 1 == 1);
    checks.equal("VMX, MONITOR", features & (1 << 5 | 1 << 3), 0);
    checks.that("FPU, APIC, SSE2", [0, 9, 26].iter().all(|bit| more >> bit & 1 == 1));
    let [last, b, c, d] = cpu::cpuid(0x4000_0000, 0);
    checks.that("leaves of the hypervisor", last >= 0x4000_0001);
    let name = [b, c, d].map(u32::to_le_bytes);
    checks.that("its name", name.as_flattened().starts_with(b"KVMKVMKVM"));
    let [_, _, extended, _] = cpu::cpuid(0x8000_0001, 0);
    checks.equal("SVM", extended & 1 << 2, 0);
    // A leaf that no processor has, again and again: an exit each.
    let first = cpu::cpuid(0x8FFF_FFFF, 0);
    checks.that("the same each time", (0..100).all(|_| cpu::cpuid(0x8FFF_FFFF, 0) == first));
}
