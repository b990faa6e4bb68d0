//! One operation of the registry.
//!
//! Invariants: set-up happens once and before the first run, preparation before each run; a run does as many operations as
//! it is told, or says which step the kernel refused. Only runs are measured.
//! Concurrency: constants.

use super::crew::Due;
use super::resources::Resources;
use bench::line::Refusal;

/// What the figure of an operation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// What one costs, in the quickest batch.
    Cost,
    /// What one costs when all its cores do so many each at the same time.
    Parallel,
    /// The longest time that a run has noted in [`Arguments::latency`].
    Latency,
}

/// What is measured, and how.
pub struct Operation {
    /// The name in the plan's table.
    pub name: &'static str,
    /// What its figure is.
    pub kind: Kind,
    /// Cores that it needs.
    pub cores: u64,
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

impl Operation {
    /// How many cores do it at the same time.
    pub const fn share(&self) -> u64 {
        if matches!(self.kind, Kind::Parallel) { self.cores } else { 1 }
    }
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
    /// Ticks: what the last run has measured itself.
    pub latency: u64,
    /// Interrupts of other cores that are due.
    pub due: Due,
}

/// An operation on one core that uses nothing up.
pub const fn operation(
    name: &'static str,
    setup: fn(&mut Resources) -> Result<Arguments, Refusal>,
    run: fn(&mut Arguments, u64) -> Result<(), Refusal>,
) -> Operation {
    let prepare: fn(&mut Arguments, u64) -> _ = |_, _| Ok(());
    Operation { name, kind: Kind::Cost, cores: 1, repetitions: 1000, batches: 11, setup, prepare, run }
}
