//! RDPMC and XSETBV fault in this machine: there are no counters, and no state to switch on.
//!
//! Concurrency: one processor.
#![no_std]
#![no_main]

use micro_guests::cpu::Instruction;
use micro_guests::{Checks, PROTECTION, UNDEFINED, cpu, guest};

guest!(main);

fn main(checks: &mut Checks) {
    checks.equal("a counter", cpu::raises(Instruction::Rdpmc).unwrap_or(0), PROTECTION);
    let raised = cpu::raises(Instruction::Xsetbv);
    checks.that("state that there is not", matches!(raised, Some(UNDEFINED | PROTECTION)));
}
