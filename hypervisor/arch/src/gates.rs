//! Gates of the interrupt descriptor table.
//!
//! Purpose: the 16 bytes that tell the processor where a vector goes.
//! Invariants: #DF, NMI, #DB and #MC run on interrupt stacks 1 to 4, all others on the current context's frame or the
//! kernel stack; only vectors 3 and 4 can be raised from ring 3 by instruction.
//! Concurrency: pure functions.
//! Source: AMD64 manual volume 2, §4.8.4 and §8.9.4; interface §6.

/// Interrupt stack of a vector, 0 for none.
const fn interrupt_stack(vector: u8) -> u64 {
    match vector {
        8 => 1,
        2 => 2,
        1 => 3,
        18 => 4,
        _ => 0,
    }
}

/// A 64-bit interrupt gate to `entry` for ring 0, or for ring 3 as well where `INT3` and `INTO` use it.
pub const fn gate(vector: u8, entry: u64) -> [u64; 2] {
    let privilege = if vector == 3 || vector == 4 { 3 } else { 0 };
    let low = entry & 0xFFFF
        | 0x08 << 16
        | interrupt_stack(vector) << 32
        | (0x8E | privilege << 5) << 40
        | (entry >> 16 & 0xFFFF) << 48;
    [low, entry >> 32]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_spells_entry_stack_and_privilege() {
        let entry = 0xFFFF_FFFF_8123_4567;
        assert_eq!(gate(8, entry), [0x8123_8E01_0008_4567, 0xFFFF_FFFF]);
        assert_eq!(gate(3, entry), [0x8123_EE00_0008_4567, 0xFFFF_FFFF]);
        assert_eq!(gate(14, entry)[0] >> 32 & 7, 0);
    }
}
