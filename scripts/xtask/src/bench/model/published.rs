//! What others have measured, with where it stands, and what is assumed because nobody has published it.
//!
//! Invariants: a figure without a source is an assumption, and says so.
//! Concurrency: constants.
//! Source: each figure's own.

/// A figure.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// What it is.
    pub what: &'static str,
    /// How much, in `unit`.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
    /// Where it stands; `None`: an assumption.
    pub source: Option<&'static str>,
}

const fn published(what: &'static str, value: f64, unit: &'static str, source: &'static str) -> Figure {
    Figure { what, value, unit, source: Some(source) }
}

const fn assumed(what: &'static str, value: f64, unit: &'static str) -> Figure {
    Figure { what, value, unit, source: None }
}

const LATR: &str = "M. Kumar et al., LATR: Lazy Translation Coherence, ASPLOS 2018";

/// From sending an interrupt to its effect being seen, on a small and on a large machine, by the number of cores.
pub const INTERRUPT: [(u32, Figure); 2] = [
    (16, published("interrupt to another core, 16 cores in 2 sockets", 2700.0, "ns", LATR)),
    (120, published("interrupt to another core, 120 cores in 8 sockets", 6600.0, "ns", LATR)),
];
/// Into the kernel through an interrupt gate, and back.
pub const GATE: Figure = published(
    "interrupt gate and return",
    610.0,
    "cycles",
    "J. Stecklina, kernel entry benchmark (github.com/blitz/kernel_entry_benchmark)",
);
/// One translation forgotten.
pub const INVLPG: Figure = published("INVLPG", 100.0, "ns", "Linux, comment to tlb_single_page_flush_ceiling");
/// For comparison with the model: one page that 80 cores have used is taken back on RadixVM.
pub const RADIXVM: Figure = published(
    "revocation with 79 targets, 80 cores in 8 sockets",
    1_800_000.0,
    "cycles",
    "A. Clements, The scalable commutativity rule, 2014 (RadixVM, vmglobal)",
);
/// How fast the cores are.
pub const CLOCK: Figure = assumed("clock", 2.4, "cycles per ns");
/// How the kernel's instructions become cycles.
pub const CYCLES: Figure = assumed("cycles per instruction of the kernel", 1.0, "");
/// What the sender pays for each target beside its instructions: the target's request word moves to it.
pub const LINE: Figure = assumed("cache line from another core", 150.0, "ns");
/// How much of what an interrupt costs both cores is executed by the sender; the rest is by the target.
pub const SENDER: Figure = assumed("part of an interrupt's instructions that the sender executes", 0.5, "");

/// All of them, for the table.
pub const ALL: [Figure; 9] = [INTERRUPT[0].1, INTERRUPT[1].1, GATE, INVLPG, RADIXVM, CLOCK, CYCLES, LINE, SENDER];

/// Nanoseconds of an interrupt on a machine of `cores`: as published up to the smaller machine, and from then on growing
/// with the logarithm of the number of cores as between the two.
pub fn interrupt(cores: u32) -> f64 {
    let [(few, near), (many, far)] = INTERRUPT;
    let doublings = |from: u32, to: u32| (f64::from(to) / f64::from(from)).log2();
    let each = (far.value - near.value) / doublings(few, many);
    near.value + each * doublings(few, cores.max(few))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interrupts_take_what_was_published_and_never_less_on_a_larger_machine() {
        assert_eq!((interrupt(1), interrupt(16)), (2700.0, 2700.0));
        assert!((interrupt(120) - 6600.0).abs() < 0.1);
        assert!((1..1024).all(|cores| interrupt(cores) <= interrupt(cores + 1)));
        assert!((9_000.0..12_000.0).contains(&interrupt(1024)), "{}", interrupt(1024));
    }
}
