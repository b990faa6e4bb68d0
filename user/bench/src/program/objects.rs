//! Creation of objects.
//!
//! Invariants: every creation takes a fresh selector, and a context a fresh page; nothing can be destroyed yet, so the
//! kernel's memory bounds the repetitions.
//! Concurrency: the boot core alone.
//! Source: interface §5.

use super::enter::{self, Entry};
use super::ipc::repeated;
use super::operation::{Arguments, Operation};
use super::resources::{DOMAIN, Resources};
use abi::{Hypercall, Request, Selector};
use bench::line::Refusal;

const PORTALS: Operation = Operation {
    name: "create_pt",
    repetitions: 1000,
    batches: 7,
    setup: portals,
    run: |arguments, count| {
        repeated(enter::create_portals(&mut arguments.request, DOMAIN, arguments.registers, count), "create_pt")
    },
};
const CONTEXTS: Operation = Operation {
    name: "create_ec_local",
    repetitions: 60,
    batches: 7,
    setup: contexts,
    run: |arguments, count| {
        repeated(enter::create_contexts(&mut arguments.request, DOMAIN, &mut arguments.registers, count), "create_ec")
    },
};

/// The operations.
pub const OPERATIONS: &[Operation] = &[PORTALS, CONTEXTS];

/// Selectors or pages for as many runs as there can be: the batches and one to warm up.
const fn uses(operation: &Operation) -> u64 {
    operation.repetitions * (operation.batches + 1)
}

fn portals(resources: &mut Resources) -> Result<Arguments, Refusal> {
    let server = resources.server()?;
    let request = Request::new(Hypercall::CreatePortal, 0, Selector::new(resources.selectors(uses(&PORTALS))));
    Ok(Arguments { request: request.word(), registers: [server, 0, Entry::Echo.address()] })
}

fn contexts(resources: &mut Resources) -> Result<Arguments, Refusal> {
    let request = Request::new(Hypercall::CreateContext, 0, Selector::new(resources.selectors(uses(&CONTEXTS))));
    let page = resources.pages(uses(&CONTEXTS)) | resources.core();
    Ok(Arguments { request: request.word(), registers: [page, 0, 0] })
}
