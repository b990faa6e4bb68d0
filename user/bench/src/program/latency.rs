//! How long a more urgent thread waits for the core while a long revocation, or delegation, is under way.
//!
//! A thread waits for points in time while the program revokes or delegates, and compares each with the time at which it
//! runs. A page is delegated to as many addresses as there are to be nodes, and each of these mappings once more. First
//! what was made of the mappings is revoked, a range of so many nodes with one child each; then the mappings, so many
//! children of one node. Or mappings that have no children are delegated, by one item. Or the page is no longer to be
//! written by anybody: all mappings but the last that is found lack that right already. Or semaphores are destroyed.
//! Invariants: what counts are points in time while an operation runs; the figure is the longest of all.
//! Concurrency: the thread runs on the program's core and preempts it.
//! Source: design plan §6.

use super::crew;
use super::enter::{self, DOWN, UP};
use super::memory::{ALL, REVOKE, at};
use super::operation::{Arguments, Kind, Operation, operation};
use super::resources::{DOMAIN, Resources, WITH_ITEM, memory, semaphore_at, window};
use abi::address::PAGE_SIZE;
use abi::item::ItemFlags;
use abi::operation::RevokeFlags;
use abi::qpd::Qpd;
use abi::rights::MemoryRights;
use abi::{Crd, Rights, Selector, TypedItem};
use bench::line::Refusal;
use core::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// The operations: repetitions are nodes.
pub const OPERATIONS: &[Operation] = &[
    latency("revoke_preemption_latency_1000", (1000, 16), build, run),
    latency("revoke_preemption_latency_100000", (100_000, 1), build, run),
    latency("restrict_preemption_latency_1000", (1000, 16), lend, restrict),
    latency("restrict_preemption_latency_100000", (100_000, 1), lend, restrict),
    latency("delegate_preemption_latency_1000", (1000, 16), map, give),
    latency("delegate_preemption_latency_100000", (100_000, 1), map, give),
    latency("destroy_preemption_latency_1000", (1000, 16), create, destroy),
];

/// Where the mappings are, and what is made of them.
const MAPPINGS: u64 = 0x40_0000_0000;
const CHILDREN: u64 = 0x50_0000_0000;
/// Where they are delegated to once more.
const GIVEN: u64 = 0x60_0000_0000;
/// Where semaphores are.
const SEMAPHORES: u64 = 0x8_0000;
/// More urgent than the program.
const URGENT: u8 = 2;
/// Ticks from a wake-up to the next point in time: at least, and at most so many more. Odd, to come at all kinds of moments.
const PERIOD: u64 = 20_011;
const VARIATION: u64 = 7_919;
/// The same for the first, so that there is one in a short operation too.
const FIRST: u64 = 1_000;

/// Whether something is under way, and the longest wait since this was last asked.
static UNDER_WAY: AtomicU64 = AtomicU64::new(0);
static LONGEST: AtomicU64 = AtomicU64::new(0);

/// Makes so many things, or takes them.
type Part = fn(&mut Arguments, u64) -> Result<(), Refusal>;

const fn latency(name: &'static str, (nodes, batches): (u64, u64), make: Part, take: Part) -> Operation {
    Operation { kind: Kind::Latency, repetitions: nodes, batches, prepare: make, ..operation(name, setup, take) }
}

/// Starts the thread, once.
fn setup(resources: &mut Resources) -> Result<Arguments, Refusal> {
    static PAIR: AtomicU64 = AtomicU64::new(0);
    let arguments = at(resources, ALL)?;
    if PAIR.load(Relaxed) == 0 {
        let begin = resources.selectors(2);
        semaphore_at(begin, 0)?;
        semaphore_at(begin + 1, 0)?;
        resources.heap()?;
        let urgent = Qpd::new(URGENT, Qpd::ROOT.quantum()).unwrap_or(Qpd::ROOT);
        crew::spawn(resources.core() as u32, urgent, move || watch(begin, begin + 1))?;
        PAIR.store(begin, Relaxed);
    }
    let message = resources.message_page();
    Ok(Arguments { registers: [PAIR.load(Relaxed), 0, 0, message], ..arguments })
}

/// The thread: waits for the semaphore `begin`, then for points in time until nothing is under way.
fn watch(begin: u64, never: u64) {
    let down = |semaphore, deadline: u64| {
        enter::hypercall(enter::control(semaphore, DOWN), [deadline >> 32, deadline & 0xFFFF_FFFF, 0, 0])
    };
    let mut variation = 0;
    loop {
        down(begin, 0);
        let mut period = FIRST;
        while UNDER_WAY.load(Acquire) != 0 {
            variation = (variation + 1_237) % VARIATION;
            let due = enter::ticks() + period + variation;
            down(never, due);
            let late = enter::ticks().saturating_sub(due);
            if UNDER_WAY.load(Acquire) != 0 {
                LONGEST.fetch_max(late, Relaxed);
            }
            // On a slow machine the operation has to make progress too.
            period = PERIOD.max(8 * late);
        }
    }
}

/// Delegates a page.
fn delegate(arguments: &Arguments, from: u64, to: u64) -> Result<(), Refusal> {
    lend_out(arguments, memory(from, 0), to)
}

/// As [`delegate`], with the rights that the range names.
fn lend_out(arguments: &Arguments, page: Crd, to: u64) -> Result<(), Refusal> {
    name(arguments, page, to);
    match enter::hypercall(arguments.request, [window(), DOMAIN, 0, 0]) {
        0 => Ok(()),
        status => Err(Refusal { step: "delegate", status }),
    }
}

/// Makes the mappings.
fn map(arguments: &mut Arguments, count: u64) -> Result<(), Refusal> {
    (0..count).map(|index| index * PAGE_SIZE).try_for_each(|page| delegate(arguments, ALL, MAPPINGS + page))
}

/// The same, to be read only, but for the first.
fn lend(arguments: &mut Arguments, count: u64) -> Result<(), Refusal> {
    delegate(arguments, ALL, MAPPINGS)?;
    (1..count).try_for_each(|index| {
        let page = Crd::memory(ALL / PAGE_SIZE, 0, MemoryRights::READ).unwrap_or(Crd::NULL);
        lend_out(arguments, page, MAPPINGS + index * PAGE_SIZE)
    })
}

/// The same, with a child each.
fn build(arguments: &mut Arguments, count: u64) -> Result<(), Refusal> {
    (0..count).map(|index| index * PAGE_SIZE).try_for_each(|page| {
        delegate(arguments, ALL, MAPPINGS + page)?;
        delegate(arguments, MAPPINGS + page, CHILDREN + page)
    })
}

/// Writes an item into the message page: a range, and where it goes.
fn name(arguments: &Arguments, range: Crd, to: u64) {
    let words = TypedItem::delegate(range, ItemFlags::empty(), to / PAGE_SIZE).words();
    let content = [(0, WITH_ITEM.word()), (510, words[0]), (511, words[1])];
    content.into_iter().for_each(|(index, word)| enter::write_word(arguments.registers[3], index, word));
}

/// Makes semaphores.
fn create(_: &mut Arguments, count: u64) -> Result<(), Refusal> {
    (SEMAPHORES..SEMAPHORES + count).try_for_each(|at| semaphore_at(at, 0))
}

/// Revokes the mappings.
fn run(arguments: &mut Arguments, count: u64) -> Result<(), Refusal> {
    let order = count.next_power_of_two().trailing_zeros();
    watched(arguments, revocations(order))
}

/// Of what was made of the mappings, and of these.
fn revocations(order: u32) -> [(u64, [u64; 4]); 2] {
    [memory(MAPPINGS, order), memory(ALL, 0)].map(|range| (REVOKE, [range.word(), 0, 0, 0]))
}

/// Delegates the mappings once more; revokes them afterwards.
fn give(arguments: &mut Arguments, count: u64) -> Result<(), Refusal> {
    let order = count.next_power_of_two().trailing_zeros();
    name(arguments, memory(MAPPINGS, order), GIVEN);
    watched(arguments, [(arguments.request, [window(), DOMAIN, 0, 0])])?;
    match revocations(order).map(|(request, registers)| enter::hypercall(request, registers)) {
        [0, 0] => Ok(()),
        [first, second] => Err(Refusal { step: "revoke", status: first.max(second) }),
    }
}

/// Takes the right to write from all mappings; revokes them afterwards.
fn restrict(arguments: &mut Arguments, _: u64) -> Result<(), Refusal> {
    let page = Crd::memory(ALL / PAGE_SIZE, 0, MemoryRights::WRITE).unwrap_or(Crd::NULL);
    watched(arguments, [(REVOKE, [page.word(), 0, 0, 0])])?;
    match enter::hypercall(REVOKE, [memory(ALL, 0).word(), 0, 0, 0]) {
        0 => Ok(()),
        status => Err(Refusal { step: "revoke", status }),
    }
}

/// Revokes the semaphores.
fn destroy(arguments: &mut Arguments, count: u64) -> Result<(), Refusal> {
    let order = count.next_power_of_two().trailing_zeros();
    let range = Crd::objects(Selector::new(SEMAPHORES), order, Rights::ALL).unwrap_or(Crd::NULL);
    watched(arguments, [(REVOKE | u64::from(RevokeFlags::SELF.bits()) << 4, [range.word(), 0, 0, 0])])
}

/// Makes these hypercalls while the thread watches.
fn watched<const N: usize>(arguments: &mut Arguments, hypercalls: [(u64, [u64; 4]); N]) -> Result<(), Refusal> {
    UNDER_WAY.store(1, Release);
    enter::hypercall(enter::control(arguments.registers[0], UP), [0; 4]);
    let done = hypercalls.map(|(request, registers)| enter::hypercall(request, registers));
    UNDER_WAY.store(0, Release);
    arguments.latency = LONGEST.swap(0, Relaxed);
    match done.into_iter().find(|&status| status != 0) {
        None => Ok(()),
        Some(status) => Err(Refusal { step: "under way", status }),
    }
}
