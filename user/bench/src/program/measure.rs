//! Runs one operation: in batches for a figure, or once between two signals for a tracer.
//!
//! Invariants: a batch runs before the first that counts, so that caches, tables and slabs are warm (not of a latency, whose
//! longest is sought, and whose preparation is long); what the kernel counts
//! is that of the batches, without their preparation.
//! Concurrency: one operation at a time.

use super::operation::{Arguments, Kind, Operation};
use super::resources::{Resources, Setting};
use super::{device, enter};
use bench::figures::{Batches, Figure};
use bench::line::{Counts, Line, Refusal, Sums, numbers};
use bench::request::Request;
use rt::ports::IoPorts;
use rt::println;

/// Measures an operation.
pub fn measure(group: &'static str, operation: &Operation, resources: &mut Resources, request: &Request<'_>) -> Line {
    // A revocation of fewer nodes can be over before the first point in time that the thread waits for.
    let least = if operation.kind == Kind::Latency { 200 } else { 1 };
    let repetitions = operation.repetitions.min(request.repetitions.unwrap_or(u64::MAX).max(least));
    let count = operation.batches.min(request.batches.unwrap_or(u64::MAX));
    let (mut batches, mut counts) = (Batches::new(), Counts::default());
    let result = run(operation, resources, repetitions, count, (&mut batches, &mut counts));
    Line { name: operation.name, group, batches: batches.count(), repetitions, result, counts }
}

fn run(
    operation: &Operation,
    resources: &mut Resources,
    repetitions: u64,
    count: u64,
    (batches, counts): (&mut Batches, &mut Counts),
) -> Result<Figure, Refusal> {
    let mut arguments = (operation.setup)(resources)?;
    if operation.kind != Kind::Latency {
        (operation.prepare)(&mut arguments, repetitions)?;
        (operation.run)(&mut arguments, repetitions)?;
    }
    let Setting { cores, counting, .. } = resources.setting();
    for _ in 0..count {
        (operation.prepare)(&mut arguments, repetitions)?;
        let before = counted(cores);
        let ticks = timed(operation, &mut arguments, repetitions)?;
        let after = counted(cores);
        batches.add(if operation.kind == Kind::Latency { arguments.latency } else { ticks });
        counts.add(repetitions * operation.share(), before.as_ref().zip(after.as_ref()));
    }
    (operation.prepare)(&mut arguments, 0)?;
    let figure = match operation.kind {
        Kind::Latency => batches.longest(),
        // Of what runs at the same time the instructions add up, the time does not.
        Kind::Cost | Kind::Parallel => {
            batches.figure(if counting { repetitions * operation.share() } else { repetitions })
        }
    };
    figure.ok_or(Refusal { step: "no batches", status: 0 })
}

fn timed(operation: &Operation, arguments: &mut Arguments, repetitions: u64) -> Result<u64, Refusal> {
    let start = enter::ticks();
    let done = (operation.run)(arguments, repetitions);
    let end = enter::ticks();
    done.map(|()| end.saturating_sub(start))
}

/// What the kernel counts, each the sum over all cores.
fn counted(cores: u64) -> Option<Sums> {
    let mut sums = [0; _];
    for (number, sum) in numbers().zip(&mut sums) {
        for core in 0..cores {
            *sum = u64::checked_add(*sum, enter::count(core, number))?;
        }
    }
    Some(sums)
}

/// Runs an operation `repetitions` times, warm, between two signals of the tracer.
pub fn trace(ports: IoPorts, group: &'static str, operation: &Operation, resources: &mut Resources, repetitions: u64) {
    if operation.kind != Kind::Cost {
        // There is no loop on one core that a tracer could find.
        return;
    }
    let refused = |refusal| {
        let (result, counts) = (Err(refusal), Counts::default());
        println!("{}", Line { name: operation.name, group, batches: 0, repetitions, result, counts });
    };
    let mut arguments = match (operation.setup)(resources) {
        Ok(arguments) => arguments,
        Err(refusal) => return refused(refusal),
    };
    let mut warm = || {
        (operation.prepare)(&mut arguments, operation.repetitions)?;
        (operation.run)(&mut arguments, operation.repetitions)?;
        (operation.prepare)(&mut arguments, repetitions)
    };
    if let Err(refusal) = warm() {
        return refused(refusal);
    }
    device::announce(ports, "ready", operation.name);
    let done = (operation.run)(&mut arguments, repetitions);
    device::announce(ports, "traced", operation.name);
    if let Err(refusal) = done {
        refused(refusal);
    }
}
