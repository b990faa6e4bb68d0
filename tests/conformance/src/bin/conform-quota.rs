//! `pd_ctrl`: pages move between domains, their sum stays, nobody gives what it has not.
#![no_std]
#![no_main]

use abi::Hypercall::ControlDomain;
use abi::Status::{BadCapability, BadParameter, Success};
use conformance::Report;
use conformance::sys::{EMPTY, ROOT, ROOT_EC, Registers, domain_usage, hypercall};
use conformance::world::World;
use rt::{Environment, ExitStatus};

rt::entry!(main);

fn main(environment: &Environment) -> ExitStatus {
    let mut report = Report::new("quota", environment);
    report.group("statuses", statuses);
    report.group("limits", limits);
    report.group("hostile", hostile);
    report.finish()
}

fn transfer(from: u64, to: u64, pages: u64) -> Registers {
    hypercall(ControlDomain, 0, from, [to, pages, 0, 0])
}

fn limit(domain: u64) -> u64 {
    domain_usage(domain).map_or(0, |(limit, _)| limit)
}

fn statuses(t: &mut Report, world: &mut World) {
    let other = world.domain(128);
    let debug = |at| hypercall(ControlDomain, 2, at, [0; 4]);
    for (at, what) in [(EMPTY, "nothing"), (ROOT_EC, "a context"), (world.semaphore(0), "a semaphore")] {
        t.status(ControlDomain, "debug", BadCapability, what, debug(at));
        t.status(ControlDomain, "transfer", BadCapability, what, transfer(at, other, 1));
        t.status(ControlDomain, "transfer", BadCapability, what, transfer(ROOT, at, 1));
    }
    t.status(ControlDomain, "debug", Success, "plain", debug(other));
    t.status(ControlDomain, "transfer", Success, "plain", transfer(ROOT, other, 2));
    t.status(ControlDomain, "transfer", Success, "back", transfer(other, ROOT, 2));
    t.status(ControlDomain, "transfer", Success, "nothing", transfer(other, ROOT, 0));
    t.status(ControlDomain, "transfer", Success, "to itself", transfer(other, other, 1));
    for (pages, what) in [(129, "more than the limit"), (u64::MAX, "all"), (1 << 63, "half of all")] {
        t.status(ControlDomain, "transfer", BadParameter, what, transfer(other, ROOT, pages));
        t.status(ControlDomain, "transfer", BadParameter, what, transfer(other, other, pages));
    }
    // Bit 1 alone says what is meant.
    for flags in [1, 4, 8, 13] {
        let found = hypercall(ControlDomain, flags, ROOT, [other, 0, 0, 0]);
        t.status(ControlDomain, "transfer", Success, "with flags that mean nothing", found);
        let found = hypercall(ControlDomain, flags | 2, other, [0; 4]);
        t.status(ControlDomain, "debug", Success, "with flags that mean nothing", found);
    }
}

fn limits(t: &mut Report, world: &mut World) {
    let (a, b) = (world.bounded_domain(8, 128), world.bounded_domain(0, 128));
    let sum = limit(ROOT) + limit(a) + limit(b);
    t.status(ControlDomain, "transfer", Success, "between two", transfer(a, b, 16));
    t.equal("one has less", limit(a), 112);
    t.equal("the other has more", limit(b), 144);
    t.equal("the sum stays", limit(ROOT) + limit(a) + limit(b), sum);
    let spare = domain_usage(a).map_or(0, |(limit, usage)| limit - usage);
    t.status(ControlDomain, "transfer", BadParameter, "of the lower limit", transfer(a, b, spare - 7));
    t.status(ControlDomain, "transfer", Success, "all above it", transfer(a, b, spare - 8));
    t.status(ControlDomain, "transfer", BadParameter, "one more", transfer(a, b, 1));
    t.equal("the sum stays", limit(ROOT) + limit(a) + limit(b), sum);
}

/// A domain without capabilities to others moves nothing; with one to itself it still exceeds nothing.
fn hostile(t: &mut Report, world: &mut World) {
    let other = world.domain(256);
    let thread = world.thread(other, 0, 2);
    world.hand(other, 0x1F, other, 0x4000);
    let before = (limit(ROOT), limit(other));
    for (from, to) in [(ROOT, 0x4000), (0x4000, ROOT), (0, 0x4000)] {
        let found = thread.does(Registers::new(ControlDomain, 0, from, [to, 1, 0, 0]));
        t.status(ControlDomain, "transfer", BadCapability, "by a domain without capability", found);
    }
    for pages in [257, u64::MAX, 1 << 52] {
        let found = thread.does(Registers::new(ControlDomain, 0, 0x4000, [0x4000, pages, 0, 0]));
        t.status(ControlDomain, "transfer", BadParameter, "to itself, more than there is", found);
    }
    t.holds("nothing moved", before == (limit(ROOT), limit(other)));
}
