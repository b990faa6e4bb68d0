//! Creation and destruction of objects.
//!
//! Each kind is measured twice, with the same loops: what is created in a run goes in the preparation for the next, or the
//! other way round. Destruction ends when the kernel has given everything back, deferred work included.
//! Invariants: each run starts with the same objects in existence; if memory of the kernel is lost from run to run, that is
//! refused.
//! Concurrency: the boot core alone. Threads that come to life here are as urgent as the program and wait for ever as soon
//! as they run.
//! Source: interface §5.

use super::enter::{self, Entry, NEVER};
use super::ipc::repeated;
use super::operation::{Arguments, Operation, operation};
use super::resources::{DOMAIN, GLOBAL, Resources, semaphore_at};
use abi::qpd::Qpd;
use abi::{Hypercall, Request, Selector};
use bench::line::Refusal;

/// Batches of creations, and of what uses threads up.
const BATCHES: u64 = 7;
/// Batches of destructions.
const MANY: u64 = 10;
/// Repetitions of what takes a few words of the kernel's memory, of what takes pages, and of what takes threads.
const SMALL: u64 = 1000;
const LARGE: u64 = 250;
const THREADS: u64 = 60;
/// Quota that a domain gets, in pages.
const QUOTA: u64 = 16;

/// Preparation and run.
type Step = fn(&mut Arguments, u64) -> Result<(), Refusal>;

/// The operations.
pub const OPERATIONS: &[Operation] = &[
    creation("create_sm", SMALL, semaphores, make_semaphores),
    creation("create_pt", SMALL, portals, make_portals),
    creation("create_ec_local", LARGE, |resources| contexts(resources, 0), make_contexts),
    creation("create_ec_global", LARGE, |resources| contexts(resources, GLOBAL), make_contexts),
    Operation {
        repetitions: THREADS,
        batches: BATCHES,
        ..operation("create_sc", scheduling, |arguments, count| {
            repeated(enter::create_scheduling(&mut arguments.request, &mut arguments.registers, count), "create_sc")
        })
    },
    creation("create_pd", LARGE, domains, make_domains),
    destruction("destroy_sm", SMALL, semaphores, make_semaphores),
    destruction("destroy_pt", SMALL, portals, make_portals),
    destruction("destroy_ec", SMALL, |resources| contexts(resources, 0), make_contexts),
    destruction("destroy_pd", LARGE, domains, make_domains),
];

const fn creation(
    name: &'static str,
    repetitions: u64,
    setup: fn(&mut Resources) -> Result<Arguments, Refusal>,
    run: Step,
) -> Operation {
    Operation { repetitions, batches: BATCHES, prepare: destroy, ..operation(name, setup, run) }
}

const fn destruction(
    name: &'static str,
    repetitions: u64,
    setup: fn(&mut Resources) -> Result<Arguments, Refusal>,
    prepare: Step,
) -> Operation {
    Operation { repetitions, batches: MANY, prepare, ..operation(name, setup, destroy) }
}

/// Destroys what was made last, each object with a hypercall, and waits until the kernel has given everything back.
fn destroy(arguments: &mut Arguments, _: u64) -> Result<(), Refusal> {
    if arguments.made == 0 {
        return Ok(());
    }
    repeated(enter::destroy(arguments.request >> 8, arguments.made), "revoke")?;
    repeated(enter::settle(), "revoke")?;
    balance(arguments)
}

/// Whether as much of the kernel's memory is in use as the first time that everything was destroyed.
pub fn balance(arguments: &mut Arguments) -> Result<(), Refusal> {
    let usage = enter::usage(DOMAIN);
    match *arguments.usage.get_or_insert(usage) == usage {
        true => Ok(()),
        false => Err(Refusal { step: "memory is lost", status: 0 }),
    }
}

/// A loop that creates, and advances request and arguments.
type Create = fn(&mut u64, &mut [u64; 4], u64) -> Result<(), u8>;

/// Creates `count` objects, in each run at the same selectors and pages.
fn make(arguments: &mut Arguments, count: u64, create: Create, step: &'static str) -> Result<(), Refusal> {
    let (mut request, mut registers) = (arguments.request, arguments.registers);
    arguments.made = count;
    repeated(create(&mut request, &mut registers, count), step)
}

/// Arguments of the hypercall that creates the first of as many objects as a run has.
fn first(
    resources: &mut Resources,
    (call, flags): (Hypercall, u8),
    count: u64,
    registers: [u64; 4],
) -> Result<Arguments, Refusal> {
    resources.note()?;
    let request = Request::new(call, flags, Selector::new(resources.selectors(count))).word();
    Ok(Arguments { request, registers, ..Arguments::default() })
}

fn semaphores(resources: &mut Resources) -> Result<Arguments, Refusal> {
    first(resources, (Hypercall::CreateSemaphore, 0), SMALL, [DOMAIN, 0, 0, 0])
}

fn make_semaphores(arguments: &mut Arguments, count: u64) -> Result<(), Refusal> {
    make(arguments, count, enter::create_simple, "create_sm")
}

fn portals(resources: &mut Resources) -> Result<Arguments, Refusal> {
    let server = resources.server(DOMAIN)?;
    first(resources, (Hypercall::CreatePortal, 0), SMALL, [DOMAIN, server, 0, Entry::Echo.address()])
}

fn make_portals(arguments: &mut Arguments, count: u64) -> Result<(), Refusal> {
    make(arguments, count, enter::create_portals, "create_pt")
}

fn contexts(resources: &mut Resources, flags: u8) -> Result<Arguments, Refusal> {
    let page = resources.pages(SMALL) | resources.core();
    first(resources, (Hypercall::CreateContext, flags), SMALL, [DOMAIN, page, 0, 0])
}

fn make_contexts(arguments: &mut Arguments, count: u64) -> Result<(), Refusal> {
    make(arguments, count, enter::create_contexts, "create_ec")
}

fn domains(resources: &mut Resources) -> Result<Arguments, Refusal> {
    first(resources, (Hypercall::CreateDomain, 0), LARGE, [DOMAIN, 0, QUOTA << 32, 0])
}

fn make_domains(arguments: &mut Arguments, count: u64) -> Result<(), Refusal> {
    make(arguments, count, enter::create_simple, "create_pd")
}

fn scheduling(resources: &mut Resources) -> Result<Arguments, Refusal> {
    semaphore_at(NEVER, 0)?;
    let count = THREADS * (BATCHES + 1);
    let threads = resources.threads(Entry::Sleeper, count)?;
    first(resources, (Hypercall::CreateScheduling, 0), count, [DOMAIN, threads, Qpd::ROOT.word(), 0])
}
