//! Calls, and faults as calls, within one core: to a context of the same domain, and of another.
//!
//! Concurrency: caller and server take turns.
//! Source: interface §5 ("call", "reply") and §4 (host exceptions).

use super::enter::{self, Entry};
use super::operation::{Arguments, Operation, operation};
use super::resources::{DOMAIN, Resources, identify, portal_at};
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
    operation("ipc_same_pd_1w", |resources| echo(resources, DOMAIN, 1), call),
    operation("ipc_same_pd_8w", |resources| echo(resources, DOMAIN, 8), call),
    operation("ipc_same_pd_64w", |resources| echo(resources, DOMAIN, 64), call),
    operation("ipc_cross_pd_1w", |resources| echo_elsewhere(resources, 1), call),
    operation("ipc_cross_pd_8w", |resources| echo_elsewhere(resources, 8), call),
    operation("ipc_cross_pd_64w", |resources| echo_elsewhere(resources, 64), call),
    operation(
        "ud_portal_same_pd",
        |resources| {
            let handler = resources.handler()?;
            fault(resources, handler, UNDEFINED, enter::UD2_LENGTH)
        },
        |_, count| {
            enter::undefined(count);
            Ok(())
        },
    ),
    operation(
        "pf_portal_same_pd",
        |resources| {
            let handler = resources.handler()?;
            fault(resources, handler, PAGE_FAULT, enter::LOAD_LENGTH)
        },
        load,
    ),
    operation(
        "pf_portal_cross_pd",
        |resources| {
            let domain = resources.neighbour()?;
            let handler = resources.context(domain, enter::HANDLER_PAGE)?;
            fault(resources, handler, PAGE_FAULT, enter::LOAD_LENGTH)
        },
        load,
    ),
];

fn null(_: &mut Resources) -> Result<Arguments, Refusal> {
    let request = Request::new(Hypercall::Misc, NULL, Selector::new(0)).word();
    Ok(Arguments { request, ..Arguments::default() })
}

/// A portal whose server replies at once, so that the message goes both ways.
fn echo(resources: &mut Resources, domain: u64, words: usize) -> Result<Arguments, Refusal> {
    let server = resources.server(domain)?;
    let portal = resources.portal(server, Entry::Echo)?;
    resources.message(words);
    let request = Request::new(Hypercall::Call, 0, Selector::new(portal)).word();
    Ok(Arguments { request, ..Arguments::default() })
}

/// As [`echo`], with the server in another domain.
fn echo_elsewhere(resources: &mut Resources, words: usize) -> Result<Arguments, Refusal> {
    let domain = resources.neighbour()?;
    echo(resources, domain, words)
}

fn call(arguments: &mut Arguments, count: u64) -> Result<(), Refusal> {
    repeated(enter::repeat(arguments.request, 0, count), "call")
}

fn load(arguments: &mut Arguments, count: u64) -> Result<(), Refusal> {
    enter::page_fault(arguments.registers[0], count);
    Ok(())
}

/// A portal for an event, which lets the faulter go on `length` bytes further; the message is the instruction pointer.
fn fault(resources: &mut Resources, handler: u64, event: u64, length: u64) -> Result<Arguments, Refusal> {
    // That of an earlier operation, if there was one.
    repeated(enter::destroy(event, 1), "revoke")?;
    portal_at(event, handler, Entry::Skip, Mtd::RIP_LEN)?;
    identify(event, length)?;
    Ok(Arguments { registers: [resources.pages(1), 0, 0, 0], ..Arguments::default() })
}

/// Names the step of a loop that met an unexpected status.
pub fn repeated(result: Result<(), u8>, step: &'static str) -> Result<(), Refusal> {
    result.map_err(|status| Refusal { step, status })
}
