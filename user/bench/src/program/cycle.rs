//! The life of a domain as one operation.
//!
//! Invariants: if memory of the kernel is lost from run to run, that is refused.
//! Concurrency: the boot core alone; the domain serves one call.
//! Source: interface §5.

use super::enter::{self, DOWN, Entry, NOTE, Step};
use super::objects::balance;
use super::operation::{Arguments, Operation, operation};
use super::resources::{DOMAIN, Resources, WITH_ITEM, window};
use abi::utcb::Header;
use abi::{Hypercall, Request, Selector};
use bench::line::Refusal;

/// Where the three objects are, one behind the other.
const OBJECTS: u64 = 0x910;
const CONTEXT: u64 = OBJECTS + 1;
const PORTAL: u64 = OBJECTS + 2;
/// Quota that the domain gets, in pages.
const QUOTA: u64 = 32;
/// Its hypercalls, by name.
const NAMES: [&str; 9] =
    ["create_pd", "delegate", "create_ec", "create_pt", "call", "revoke pt", "revoke ec", "revoke pd", "sm_ctrl down"];

/// The operations.
pub const OPERATIONS: &[Operation] =
    &[Operation { repetitions: 500, batches: 20, prepare, ..operation("domain_cycle", setup, run) }];

/// Notes the loader's part: message page, page of the new context's messages, and the request that maps the code.
fn setup(resources: &mut Resources) -> Result<Arguments, Refusal> {
    resources.note()?;
    let delegate = resources.offer_code();
    let registers = [resources.message_page(), resources.pages(1) | resources.core(), 0, 0];
    Ok(Arguments { request: delegate, registers, ..Arguments::default() })
}

fn prepare(arguments: &mut Arguments, _: u64) -> Result<(), Refusal> {
    // Nothing was made before the first run.
    if arguments.made == 0 { Ok(()) } else { balance(arguments) }
}

/// Creates a domain, gives it the page of code, creates a context in it and a portal to that, calls, destroys all three
/// and waits until all their memory is given back.
fn run(arguments: &mut Arguments, count: u64) -> Result<(), Refusal> {
    let [message, page, ..] = arguments.registers;
    arguments.made = count;
    let step = |words, call, flags, selector, registers| {
        let request = Request::new(call, flags, Selector::new(selector)).word();
        Step { header: Header::new(words, 0).word(), request, registers }
    };
    let destroy = |selector, notified| step(0, Hypercall::Revoke, 1, notified, [enter::range(selector), 0, 0, 0]);
    let steps = [
        step(0, Hypercall::CreateDomain, 0, OBJECTS, [DOMAIN, 0, QUOTA << 32, 0]),
        Step { header: WITH_ITEM.word(), request: arguments.request, registers: [window(), OBJECTS, 0, 0] },
        step(0, Hypercall::CreateContext, 0, CONTEXT, [OBJECTS, page, 0, 0]),
        step(0, Hypercall::CreatePortal, 0, PORTAL, [DOMAIN, CONTEXT, 0, Entry::Echo.address()]),
        step(1, Hypercall::Call, 0, PORTAL, [0; 4]),
        destroy(PORTAL, 0),
        destroy(CONTEXT, 0),
        destroy(OBJECTS, NOTE),
        step(0, Hypercall::ControlSemaphore, DOWN, NOTE, [0; 4]),
    ];
    enter::script(message, &steps, count)
        .map_err(|(step, status)| Refusal { step: NAMES.get(step).copied().unwrap_or("?"), status })
}
