//! One operation of the registry.
//!
//! Invariants: set-up happens once and before the first run, preparation before each run; a run does as many operations as
//! it is told, or says which step the kernel refused. Only runs are measured.
//! Concurrency: constants.

use super::resources::Resources;
use bench::line::Refusal;

/// What is measured, and how.
pub struct Operation {
    /// The name in the plan's table.
    pub name: &'static str,
    /// Operations in a batch.
    pub repetitions: u64,
    /// Batches.
    pub batches: u64,
    /// Makes what the operation needs.
    pub setup: fn(&mut Resources) -> Result<Arguments, Refusal>,
    /// Before a run of so many, and of none at the end: gives back what the last one made, or makes what the next one
    /// destroys.
    pub prepare: fn(&mut Arguments, u64) -> Result<(), Refusal>,
    /// Does the operation so often; what it uses up is noted in the arguments.
    pub run: fn(&mut Arguments, u64) -> Result<(), Refusal>,
}

/// What set-up leaves to the loop.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arguments {
    /// First register of the (first) hypercall.
    pub request: u64,
    /// Its arguments.
    pub registers: [u64; 4],
    /// How many objects the last run, or the preparation for it, has made.
    pub made: u64,
    /// Pages of kernel memory in use when what was made first was gone again.
    pub usage: Option<u64>,
}
