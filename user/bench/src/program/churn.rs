//! Private churn: each core maps a page of its own, reads it and takes it back, again and again.
//!
//! The cores' pages lie 2 MiB apart, so that no leaf table is shared, and nobody has to be interrupted.
//! Invariants: if the kernel has interrupted anybody, the operation is refused, unless the program is asked to accept that.
//! Concurrency: so many cores at the same time, in one domain. After each operation a core pauses, by which an emulator that
//! runs one core at a time goes on with the next.
//! Source: design plan §6; the test `tlb_flush2` of the suite will-it-scale, for the idea.

use super::crew::{self, Due, Job};
use super::enter;
use super::memory::{ALL, REVOKE, at};
use super::operation::{Arguments, Kind, Operation, operation};
use super::resources::{DOMAIN, WITH_ITEM, memory, window};
use abi::address::PAGE_SIZE;
use abi::item::ItemFlags;
use abi::{Hypercall, Request, Selector, TypedItem};
use bench::line::Refusal;
use rt::arch::utcb::Utcb;

/// The operations. Threads for more cores are started when they are needed first, so the order counts.
pub const OPERATIONS: &[Operation] = &[
    churn::<1>("private_churn_1"),
    churn::<2>("private_churn_2"),
    churn::<4>("private_churn_4"),
    churn::<8>("private_churn_8"),
];

/// Where the pages go.
const THERE: u64 = 0x48_0000_0000;
/// From one core's pages to the next one's.
const APART: u64 = 2 << 20;
/// Pages that a core uses in turn.
const PAGES: u64 = 16;

const fn churn<const CORES: u64>(name: &'static str) -> Operation {
    let setup: fn(&mut _) -> _ = |resources| {
        crew::start(resources, CORES - 1)?;
        Ok(Arguments { due: Due::new(resources.setting(), 0), ..at(resources, ALL)? })
    };
    let prepare: fn(&mut Arguments, u64) -> _ = |arguments, count| {
        arguments.due.judge()?;
        arguments.due.expect(count);
        Ok(())
    };
    let run: fn(&mut Arguments, u64) -> _ = |_, count| {
        crew::tell(Job::Churn, count, CORES - 1);
        work(0, count)?;
        crew::wait()
    };
    Operation { kind: Kind::Parallel, cores: CORES, repetitions: 500, prepare, ..operation(name, setup, run) }
}

/// The part of `core`, so many times.
pub fn work(core: u64, count: u64) -> Result<(), Refusal> {
    let request = Request::new(Hypercall::Misc, 1, Selector::ROOT_DOMAIN).word();
    let offset = core * APART;
    let mut messages = Utcb::current();
    messages.set_header(WITH_ITEM);
    for index in 0..count {
        let page = offset + index % PAGES * PAGE_SIZE;
        let from = memory(ALL + page, 0);
        messages.set_item(0, TypedItem::delegate(from, ItemFlags::empty(), (THERE + page) / PAGE_SIZE));
        match enter::hypercall(request, [window(), DOMAIN, 0, 0]) {
            0 => enter::touch(THERE + page),
            status => return Err(Refusal { step: "delegate", status }),
        }
        match enter::hypercall(REVOKE, [from.word(), 0, 0, 0]) {
            0 => core::hint::spin_loop(),
            status => return Err(Refusal { step: "revoke", status }),
        }
    }
    Ok(())
}
