//! Creation of objects.
//!
//! Invariants: every creation takes a fresh selector, and a context a fresh page; nothing can be destroyed yet, so the
//! kernel's memory bounds the repetitions.
//! Concurrency: the boot core alone. Threads that come to life here are as urgent as the program and wait for ever as soon
//! as they run.
//! Source: interface §5.

use super::enter::{self, Entry, NEVER};
use super::ipc::repeated;
use super::operation::{Arguments, Operation};
use super::resources::{DOMAIN, GLOBAL, Resources, semaphore_at};
use abi::qpd::Qpd;
use abi::{Hypercall, Request, Selector};
use bench::line::Refusal;

/// Batches of each.
const BATCHES: u64 = 7;
/// Repetitions of what takes a few words of the kernel's memory, and of what takes pages.
const SMALL: u64 = 1000;
const LARGE: u64 = 60;

/// The operations.
pub const OPERATIONS: &[Operation] = &[
    creation("create_sm", SMALL, semaphores, |arguments, count| {
        repeated(enter::create_semaphores(&mut arguments.request, &mut arguments.registers, count), "create_sm")
    }),
    creation("create_pt", SMALL, portals, |arguments, count| {
        repeated(enter::create_portals(&mut arguments.request, &mut arguments.registers, count), "create_pt")
    }),
    creation("create_ec_local", LARGE, |resources| contexts(resources, 0), create_contexts),
    creation("create_ec_global", LARGE, |resources| contexts(resources, GLOBAL), create_contexts),
    creation("create_sc", LARGE, scheduling, |arguments, count| {
        repeated(enter::create_scheduling(&mut arguments.request, &mut arguments.registers, count), "create_sc")
    }),
];

const fn creation(
    name: &'static str,
    repetitions: u64,
    setup: fn(&mut Resources) -> Result<Arguments, Refusal>,
    run: fn(&mut Arguments, u64) -> Result<(), Refusal>,
) -> Operation {
    Operation { name, repetitions, batches: BATCHES, setup, run }
}

/// How many objects there will be: the batches, and one to warm up.
const fn uses(repetitions: u64) -> u64 {
    repetitions * (BATCHES + 1)
}

/// The hypercall that creates the first of so many objects.
fn request(resources: &mut Resources, call: Hypercall, flags: u8, repetitions: u64) -> u64 {
    Request::new(call, flags, Selector::new(resources.selectors(uses(repetitions)))).word()
}

fn semaphores(resources: &mut Resources) -> Result<Arguments, Refusal> {
    let request = request(resources, Hypercall::CreateSemaphore, 0, SMALL);
    Ok(Arguments { request, registers: [DOMAIN, 0, 0, 0] })
}

fn portals(resources: &mut Resources) -> Result<Arguments, Refusal> {
    let server = resources.server()?;
    let request = request(resources, Hypercall::CreatePortal, 0, SMALL);
    Ok(Arguments { request, registers: [DOMAIN, server, 0, Entry::Echo.address()] })
}

fn contexts(resources: &mut Resources, flags: u8) -> Result<Arguments, Refusal> {
    let request = request(resources, Hypercall::CreateContext, flags, LARGE);
    let page = resources.pages(uses(LARGE)) | resources.core();
    Ok(Arguments { request, registers: [DOMAIN, page, 0, 0] })
}

fn create_contexts(arguments: &mut Arguments, count: u64) -> Result<(), Refusal> {
    repeated(enter::create_contexts(&mut arguments.request, &mut arguments.registers, count), "create_ec")
}

fn scheduling(resources: &mut Resources) -> Result<Arguments, Refusal> {
    semaphore_at(NEVER, 0)?;
    let threads = resources.threads(Entry::Sleeper, uses(LARGE))?;
    let request = request(resources, Hypercall::CreateScheduling, 0, LARGE);
    Ok(Arguments { request, registers: [DOMAIN, threads, Qpd::ROOT.word(), 0] })
}
