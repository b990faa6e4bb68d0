//! Semaphores: up and down alone, and two threads that wake each other.
//!
//! Concurrency: ping-pong has two threads on one core, equally urgent; each blocks before the other goes on.
//! Source: interface §5 ("sm_ctrl").

use super::enter::{self, DOWN, Entry, PING, PONG, UP};
use super::ipc::repeated;
use super::operation::{Arguments, Operation, operation};
use super::resources::{Resources, run, semaphore_at};
use bench::line::Refusal;

/// More than all batches take.
const ENOUGH: u64 = 1 << 32;

/// The operations.
pub const OPERATIONS: &[Operation] = &[
    operation(
        "sm_up",
        |resources| semaphore(resources, 0, UP),
        |arguments, count| repeated(enter::repeat(arguments.request, 0, count), "sm_ctrl up"),
    ),
    operation(
        "sm_down",
        |resources| semaphore(resources, ENOUGH, DOWN),
        |arguments, count| repeated(enter::repeat_down(arguments.request, count), "sm_ctrl down"),
    ),
    operation("sm_pingpong", partner, |_, count| repeated(enter::ping_pong(count), "sm_ctrl")),
];

fn semaphore(resources: &mut Resources, count: u64, flags: u8) -> Result<Arguments, Refusal> {
    let at = resources.selectors(1);
    semaphore_at(at, count)?;
    Ok(Arguments { request: enter::control(at, flags), ..Arguments::default() })
}

fn partner(resources: &mut Resources) -> Result<Arguments, Refusal> {
    semaphore_at(PING, 0)?;
    semaphore_at(PONG, 0)?;
    let thread = resources.threads(Entry::Partner, 1)?;
    run(resources, thread)?;
    Ok(Arguments::default())
}
