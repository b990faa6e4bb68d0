//! INVD and WBINVD do nothing, and memory keeps what was written.
//!
//! Concurrency: one processor.
#![no_std]
#![no_main]

use micro_guests::cpu::Instruction;
use micro_guests::{Checks, cpu, guest, memory};

guest!(main);

fn main(checks: &mut Checks) {
    memory::write64(0x28_0000, 0x1234);
    for instruction in [Instruction::Invd, Instruction::Wbinvd] {
        checks.that("it is allowed", cpu::raises(instruction).is_none());
        checks.equal("memory", memory::read64(0x28_0000), 0x1234);
    }
}
