//! Counts of exits, which a guest may ask for: a port that says how many there were, or has a table of them printed.
//!
//! Invariants: a read is never all ones, which would mean that there is no such port.
//! Concurrency: counts of running processors are read as they are.

use core::fmt::{self, Write};

use alloc::vec::Vec;

use crate::cpu::Cpu;
use crate::exit::NAMES;

/// The port, of 4 bytes: read, the exits so far; written, the table is printed.
pub const PORT: u16 = 0xEA;

/// All exits so far; what is above 32 bits is lost, and all ones would mean that there is no such port.
pub fn total(cpus: &[Cpu]) -> u32 {
    let sum: u64 = cpus.iter().map(Cpu::exits).sum();
    (sum as u32).min(u32::MAX - 1)
}

/// Prints what kinds of exits there were on each processor.
pub fn report(cpus: &[Cpu], print: impl FnMut(u8)) {
    let mut out = Printer(print);
    for (kind, name) in NAMES.iter().enumerate() {
        let counts: Vec<u64> = cpus.iter().map(|cpu| cpu.exits_of(kind)).collect();
        if counts.iter().any(|count| *count > 0) {
            // Printing cannot fail.
            let _ = writeln!(out, "vmm: exits: {name}: {counts:?}");
        }
    }
}

struct Printer<F>(F);

impl<F: FnMut(u8)> Write for Printer<F> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(&mut self.0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_that_did_not_happen_are_not_printed() {
        let cpus = [Cpu::new(0), Cpu::new(1)];
        for (cpu, kind) in [(0, 2), (1, 2), (1, 2), (0, 3)] {
            cpus[cpu].count_exit(kind);
        }
        let mut text = Vec::new();
        report(&cpus, |byte| text.push(byte));
        assert_eq!(String::from_utf8_lossy(&text), "vmm: exits: CPUID: [1, 2]\nvmm: exits: HLT: [1, 0]\n");
        assert_eq!(total(&cpus), 4);
    }
}
