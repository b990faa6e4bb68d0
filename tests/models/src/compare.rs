//! Runs a design and counts.
//!
//! Purpose: entries touched by insertions, removals and ticks, on average and at worst, and who was woken when.
//! Invariants: counts are exact and repeatable.
//! Concurrency: none.
//! Source: lecture E:836-851 counts the entries that are inspected.
use crate::Wakeups;
use crate::workload::Step;
use std::fmt;

/// Cost of one kind of operation, in entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Operations.
    pub operations: u64,
    /// Entries that they touched together.
    pub entries: u64,
    /// Most entries that one of them touched.
    pub worst: u64,
}

impl Cost {
    /// Entries per operation.
    #[must_use]
    pub fn average(self) -> f64 {
        self.entries as f64 / self.operations.max(1) as f64
    }

    fn add(&mut self, entries: u64) {
        self.operations += 1;
        self.entries += entries;
        self.worst = self.worst.max(entries);
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:8.2} {:6}", self.average(), self.worst)
    }
}

/// What a run cost, and what it did.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Name of the design.
    pub name: &'static str,
    /// Insertions.
    pub insert: Cost,
    /// Removals.
    pub remove: Cost,
    /// Timer interrupts.
    pub tick: Cost,
    /// The time of each tick that woke somebody, and whom.
    pub woken: Vec<(u64, Vec<usize>)>,
}

impl Outcome {
    /// Entries of all operations together.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.insert.entries + self.remove.entries + self.tick.entries
    }
}

/// Runs `design` through `steps`.
pub fn run(design: &mut dyn Wakeups, steps: &[Step]) -> Outcome {
    let mut outcome = Outcome { name: design.name(), ..Outcome::default() };
    for step in steps {
        let before = design.touched();
        let cost = match *step {
            Step::Insert(thread, wakeup) => {
                design.insert(thread, wakeup);
                &mut outcome.insert
            }
            Step::Remove(thread) => {
                design.remove(thread);
                &mut outcome.remove
            }
            Step::Tick(now) => {
                let woken = design.tick(now);
                if !woken.is_empty() {
                    outcome.woken.push((now, woken));
                }
                &mut outcome.tick
            }
        };
        cost.add(design.touched() - before);
    }
    outcome
}
