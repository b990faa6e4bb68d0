//! Calls, and faults as calls, within one domain and one core.
//!
//! Concurrency: caller and server take turns.
//! Source: interface §5 ("call", "reply") and §4 (host exceptions).

use super::enter::{self, Entry};
use super::operation::{Arguments, Operation};
use super::resources::{Resources, identify, portal_at};
use abi::{Hypercall, Mtd, Request, Selector, Status};
use bench::line::Refusal;

/// A sub-operation that means nothing.
const NULL: u8 = 15;
/// Portals of the events.
const UNDEFINED: u64 = 6;
const PAGE_FAULT: u64 = 14;

/// The operations.
pub const OPERATIONS: &[Operation] = &[
    operation("null_hypercall", null, |arguments, count| {
        repeated(enter::repeat(arguments.request, Status::BadParameter.number(), count), "misc")
    }),
    operation("ipc_same_pd_1w", |resources| echo(resources, 1), call),
    operation("ipc_same_pd_8w", |resources| echo(resources, 8), call),
    operation("ipc_same_pd_64w", |resources| echo(resources, 64), call),
    operation(
        "ud_portal_same_pd",
        |resources| fault(resources, UNDEFINED, enter::UD2_LENGTH),
        |_, count| {
            enter::undefined(count);
            Ok(())
        },
    ),
    operation(
        "pf_portal_same_pd",
        |resources| fault(resources, PAGE_FAULT, enter::LOAD_LENGTH),
        |arguments, count| {
            enter::page_fault(arguments.registers[0], count);
            Ok(())
        },
    ),
];

/// An operation that uses nothing up.
pub const fn operation(
    name: &'static str,
    setup: fn(&mut Resources) -> Result<Arguments, Refusal>,
    run: fn(&mut Arguments, u64) -> Result<(), Refusal>,
) -> Operation {
    Operation { name, repetitions: 1000, batches: 11, setup, run }
}

fn null(_: &mut Resources) -> Result<Arguments, Refusal> {
    let request = Request::new(Hypercall::Misc, NULL, Selector::new(0)).word();
    Ok(Arguments { request, ..Arguments::default() })
}

/// A portal whose server replies at once, so that the message goes both ways.
fn echo(resources: &mut Resources, words: usize) -> Result<Arguments, Refusal> {
    let server = resources.server()?;
    let portal = resources.portal(server, Entry::Echo)?;
    resources.message(words);
    let request = Request::new(Hypercall::Call, 0, Selector::new(portal)).word();
    Ok(Arguments { request, ..Arguments::default() })
}

fn call(arguments: &mut Arguments, count: u64) -> Result<(), Refusal> {
    repeated(enter::repeat(arguments.request, 0, count), "call")
}

/// A portal for an event, which lets the faulter go on `length` bytes further; the message is the instruction pointer.
fn fault(resources: &mut Resources, event: u64, length: u64) -> Result<Arguments, Refusal> {
    let handler = resources.handler()?;
    portal_at(event, handler, Entry::Skip, Mtd::RIP_LEN)?;
    identify(event, length)?;
    Ok(Arguments { request: 0, registers: [resources.pages(1), 0, 0, 0] })
}

/// Names the step of a loop that met an unexpected status.
pub fn repeated(result: Result<(), u8>, step: &'static str) -> Result<(), Refusal> {
    result.map_err(|status| Refusal { step, status })
}
