//! Instructions of virtualisation and MONITOR are undefined in this machine.
//!
//! Concurrency: one processor.
#![no_std]
#![no_main]

use micro_guests::cpu::Instruction;
use micro_guests::{Checks, UNDEFINED, cpu, guest};

guest!(main);

fn main(checks: &mut Checks) {
    for instruction in [
        Instruction::Undefined,
        Instruction::Vmcall,
        Instruction::Vmmcall,
        Instruction::Vmrun,
        Instruction::Clgi,
        Instruction::Monitor,
        Instruction::Mwait,
    ] {
        for _ in 0..3 {
            let raised = cpu::raises(instruction);
            if raised != Some(UNDEFINED) {
                micro_guests::say(format_args!("{instruction:?} raises {raised:?}"));
            }
            checks.that("it is undefined", raised == Some(UNDEFINED));
        }
    }
}
