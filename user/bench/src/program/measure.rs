//! Runs one operation: in batches for a figure, or once between two signals for a tracer.
//!
//! Invariants: a batch runs before the first that counts, so that caches, tables and slabs are warm.
//! Concurrency: one operation at a time.

use super::operation::{Arguments, Operation};
use super::resources::Resources;
use super::{device, enter};
use bench::figures::{Batches, Figure};
use bench::line::{Line, Refusal};
use bench::request::Request;
use rt::ports::IoPorts;
use rt::println;

/// Measures an operation.
pub fn measure(group: &'static str, operation: &Operation, resources: &mut Resources, request: &Request<'_>) -> Line {
    let repetitions = operation.repetitions.min(request.repetitions.unwrap_or(u64::MAX));
    let count = operation.batches.min(request.batches.unwrap_or(u64::MAX));
    let mut batches = Batches::new();
    let result = run(operation, resources, repetitions, count, &mut batches);
    Line { name: operation.name, group, batches: batches.count(), repetitions, result }
}

fn run(
    operation: &Operation,
    resources: &mut Resources,
    repetitions: u64,
    count: u64,
    batches: &mut Batches,
) -> Result<Figure, Refusal> {
    let mut arguments = (operation.setup)(resources)?;
    (operation.prepare)(&mut arguments, repetitions)?;
    (operation.run)(&mut arguments, repetitions)?;
    for _ in 0..count {
        batches.add(timed(operation, &mut arguments, repetitions)?);
    }
    (operation.prepare)(&mut arguments, 0)?;
    batches.figure(repetitions).ok_or(Refusal { step: "no batches", status: 0 })
}

fn timed(operation: &Operation, arguments: &mut Arguments, repetitions: u64) -> Result<u64, Refusal> {
    (operation.prepare)(arguments, repetitions)?;
    let start = enter::ticks();
    let done = (operation.run)(arguments, repetitions);
    let end = enter::ticks();
    done.map(|()| end.saturating_sub(start))
}

/// Runs an operation `repetitions` times, warm, between two signals of the tracer.
pub fn trace(ports: IoPorts, group: &'static str, operation: &Operation, resources: &mut Resources, repetitions: u64) {
    let refused = |refusal| {
        println!("{}", Line { name: operation.name, group, batches: 0, repetitions, result: Err(refusal) });
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
