//! RDMSR and WRMSR exit: registers that are kept, that are the processor's, and that are not there.
//!
//! Concurrency: one processor.
#![no_std]
#![no_main]

use micro_guests::{Checks, cpu, guest};

guest!(main);

const PAT: u32 = 0x277;
const LSTAR: u32 = 0xC000_0082;
const EFER: u32 = 0xC000_0080;

fn main(checks: &mut Checks) {
    checks.that("the local APIC is at its place", cpu::read_msr(0x1B).is_some_and(|base| base >> 12 == 0xFEE00));
    checks.equal("memory types", cpu::read_msr(PAT).unwrap_or(0), 0x0007_0406_0007_0406);
    checks.that("others", cpu::write_msr(PAT, 0x0106_0406_0007_0406));
    checks.equal("are kept", cpu::read_msr(PAT).unwrap_or(0), 0x0106_0406_0007_0406);
    checks.that("a type that there is not", !cpu::write_msr(PAT, 2));
    checks.that("an entry point", cpu::write_msr(LSTAR, 0xFFFF_8000_1234_5678));
    checks.equal("is kept", cpu::read_msr(LSTAR).unwrap_or(0), 0xFFFF_8000_1234_5678);
    checks.that("one that is no address", !cpu::write_msr(LSTAR, 1 << 60));
    let efer = cpu::read_msr(EFER).unwrap_or(0);
    checks.equal("64-bit mode, no SVM", efer & 0x1500, 0x500);
    checks.that("system calls", cpu::write_msr(EFER, efer | 1));
    checks.that("SVM cannot be switched on", !cpu::write_msr(EFER, efer | 1 << 12));
    let before = cpu::read_msr(0x10).unwrap_or(u64::MAX);
    checks.that("time goes on", before <= cpu::time());
    for absent in [0xFE_u32, 0x1234, 0xC000_0F00, 0x4B56_4D02] {
        checks.that("a register that is not there", cpu::read_msr(absent).is_none() && !cpu::write_msr(absent, 0));
    }
}
