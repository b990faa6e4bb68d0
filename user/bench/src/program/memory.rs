//! Delegation and revocation of memory, and revocation while other cores run the domain.
//!
//! Each shape is measured twice: what is delegated in a run is revoked in the preparation for the next, or the other way
//! round. Ranges leave a gap between each other, so that the kernel cannot join them.
//! Invariants: each run starts with nothing delegated, or with everything; after a run with other cores the interrupts that
//! the kernel has sent are exactly those that the operation is defined to need, or the operation is refused.
//! Concurrency: the boot core measures; threads on three others read pages when they are told, and wait otherwise.
//! Source: design plan §6.

use super::enter;
use super::operation::{Arguments, Operation};
use super::resources::{DOMAIN, Resources, WITH_ITEM, window};
use abi::address::PAGE_SIZE;
use abi::counter::Counter;
use abi::item::{ItemFlags, ItemKind};
use abi::qpd::Qpd;
use abi::rights::MemoryRights;
use abi::{Crd, Hypercall, Request, Selector, TypedItem};
use bench::line::Refusal;
use core::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// Physical memory for this, 64 MiB of it, and where the program has it.
const PHYSICAL: u64 = 0x800_0000;
const ALL: u64 = 0x20_0000_0000;
/// Physical memory for stacks of threads, 1 MiB.
const HEAP: u64 = 0xC00_0000;
/// 1024 pages, in a row but one page off, and in an order in which no two are neighbours.
const EXTENT: u64 = 0x21_0000_0000;
const SCATTERED: u64 = 0x22_0000_0000;
/// Where the other domain gets it, or this one a second time.
const THERE: u64 = 0x30_0000_0000;
const REVOKE: u64 = Request::new(Hypercall::Revoke, 0, Selector::new(0)).word();
/// Cores beside the one that measures.
const OTHERS: usize = 3;

/// The operations on one core.
pub const OPERATIONS: &[Operation] = &[
    delegation::<0, 2>("delegate_1x4k", 256, SCATTERED),
    delegation::<4, 32>("delegate_16x4k", 8, ALL),
    delegation::<10, 2048>("delegate_2x2m", 8, ALL),
    delegation::<10, 2048>("delegate_1024x4k_extent", 1, EXTENT),
    delegation::<10, 2048>("delegate_1024x4k_scattered", 1, SCATTERED),
    revocation::<0, 2>("revoke_1x4k", 256, SCATTERED),
    revocation::<4, 32>("revoke_16x4k", 8, ALL),
    revocation::<10, 2048>("revoke_2x2m", 8, ALL),
    revocation::<10, 2048>("revoke_1024x4k_extent", 1, EXTENT),
    revocation::<10, 2048>("revoke_1024x4k_scattered", 1, SCATTERED),
];

/// The operations with three more cores.
pub const REMOTE: &[Operation] =
    &[remote::<1>("revoke_1x4k_remote3_shared"), remote::<0>("revoke_1x4k_remote3_untouched")];

/// Ranges of 2^`ORDER` pages, every `STRIDE` pages.
const fn delegation<const ORDER: u32, const STRIDE: u64>(name: &'static str, repetitions: u64, from: u64) -> Operation {
    Operation {
        name,
        repetitions,
        batches: 7,
        setup: place(from),
        prepare: |arguments, _| {
            let made = core::mem::take(&mut arguments.made);
            revoke::<ORDER, STRIDE>(arguments, made)
        },
        run: delegate::<ORDER, STRIDE>,
    }
}

const fn revocation<const ORDER: u32, const STRIDE: u64>(name: &'static str, repetitions: u64, from: u64) -> Operation {
    let (prepare, run) = (delegate::<ORDER, STRIDE>, revoke::<ORDER, STRIDE>);
    Operation { name, repetitions, batches: 7, setup: place(from), prepare, run }
}

const fn remote<const TOUCHED: u64>(name: &'static str) -> Operation {
    Operation {
        name,
        repetitions: 64,
        batches: 7,
        setup: |resources| {
            start_others(resources)?;
            let mut arguments = at(resources, SCATTERED)?;
            arguments.registers[2] = DOMAIN;
            Ok(arguments)
        },
        prepare: |arguments, count| {
            let (sent, before) = (interrupts(), arguments.usage.unwrap_or(0));
            if arguments.made != 0 && sent - before != arguments.made * TOUCHED * OTHERS as u64 {
                return Err(Refusal { step: "interrupts", status: 0 });
            }
            delegate::<0, 2>(arguments, count)?;
            let round = ROUND.load(Relaxed) + 1;
            COUNT.store(count * TOUCHED, Relaxed);
            ROUND.store(round, Release);
            while DONE.iter().any(|done| done.load(Acquire) != round) {
                core::hint::spin_loop();
            }
            (arguments.made, arguments.usage) = (count, Some(interrupts()));
            Ok(())
        },
        run: revoke::<0, 2>,
    }
}

type Setup = fn(&mut Resources) -> Result<Arguments, Refusal>;

const fn place(from: u64) -> Setup {
    match from {
        EXTENT => |resources| at(resources, EXTENT),
        SCATTERED => |resources| at(resources, SCATTERED),
        _ => |resources| at(resources, ALL),
    }
}

fn memory(address: u64, order: u32) -> Crd {
    Crd::memory(address / PAGE_SIZE, order, MemoryRights::all()).unwrap_or(Crd::NULL)
}

/// Takes the memory that is to be delegated from `from` on, if it is not there yet.
fn at(resources: &mut Resources, from: u64) -> Result<Arguments, Refusal> {
    static TAKEN: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
    let neighbour = resources.neighbour()?;
    let take = |physical, order, to: u64| {
        let item = TypedItem::new(memory(physical, order), ItemKind::Delegate, ItemFlags::HYPERVISOR, to / PAGE_SIZE);
        match enter::hypercall(resources.offer(item), [window(), DOMAIN, 0, 0]) {
            0 => Ok(()),
            status => Err(Refusal { step: "memory", status }),
        }
    };
    let page = |index: u64| index * PAGE_SIZE;
    let (number, taken) = match from {
        EXTENT => (1, (0..1024).try_for_each(|index| take(PHYSICAL + page(index + 1), 0, EXTENT + page(index)))),
        SCATTERED => {
            let reversed = |index: u64| index.reverse_bits() >> 54;
            (2, (0..1024).try_for_each(|index| take(PHYSICAL + page(reversed(index)), 0, SCATTERED + page(index))))
        }
        _ => (0, (0..4).try_for_each(|part| take(PHYSICAL + (part << 24), 12, ALL + (part << 24)))),
    };
    // A second time everything is there already, and what is there is skipped.
    if TAKEN[number].swap(1, Relaxed) == 0 {
        taken?;
    }
    let request = resources.offer(TypedItem::delegate(Crd::NULL, ItemFlags::empty(), 0));
    let registers = [from, THERE, neighbour, resources.message_page()];
    Ok(Arguments { request, registers, ..Arguments::default() })
}

/// Delegates `count` ranges.
fn delegate<const ORDER: u32, const STRIDE: u64>(arguments: &mut Arguments, count: u64) -> Result<(), Refusal> {
    let [from, there, domain, message] = arguments.registers;
    // Where small pages have been their tables stay.
    let there = there + (u64::from(ORDER) << 36) + (from - ALL);
    let all = window();
    let [mut range, mut control] =
        TypedItem::delegate(memory(from, ORDER), ItemFlags::empty(), there / PAGE_SIZE).words();
    enter::write_word(message, 0, WITH_ITEM.word());
    for _ in 0..count {
        enter::write_word(message, 510, range);
        enter::write_word(message, 511, control);
        let status = enter::hypercall(arguments.request, [all, domain, 0, 0]);
        if status != 0 {
            return Err(Refusal { step: "delegate", status });
        }
        (range, control) = (range + STRIDE * PAGE_SIZE, control + STRIDE * PAGE_SIZE);
    }
    arguments.made = count;
    Ok(())
}

/// Revokes `count` ranges.
fn revoke<const ORDER: u32, const STRIDE: u64>(arguments: &mut Arguments, count: u64) -> Result<(), Refusal> {
    let mut range = memory(arguments.registers[0], ORDER).word();
    for _ in 0..count {
        let status = enter::hypercall(REVOKE, [range, 0, 0, 0]);
        if status != 0 {
            return Err(Refusal { step: "revoke", status });
        }
        range += STRIDE * PAGE_SIZE;
    }
    Ok(())
}

/// What the threads on other cores have to do: a round number, and how many pages to read in it.
static ROUND: AtomicU64 = AtomicU64::new(0);
static COUNT: AtomicU64 = AtomicU64::new(0);
/// The last round that each has done.
static DONE: [AtomicU64; OTHERS] = [const { AtomicU64::new(0) }; OTHERS];

/// Starts a thread on each of the other cores.
fn start_others(resources: &Resources) -> Result<(), Refusal> {
    static STARTED: AtomicU64 = AtomicU64::new(0);
    if STARTED.load(Relaxed) != 0 {
        return Ok(());
    }
    let item = TypedItem::new(memory(HEAP, 8), ItemKind::Delegate, ItemFlags::HYPERVISOR, (ALL - (1 << 30)) >> 12);
    match enter::hypercall(resources.offer(item), [window(), DOMAIN, 0, 0]) {
        0 => enter::heap(ALL - (1 << 30), 1 << 20),
        status => return Err(Refusal { step: "heap", status }),
    }
    for (core, done) in (1..).zip(&DONE) {
        let body = move || {
            let mut seen = 0;
            loop {
                let round = ROUND.load(Acquire);
                if round != seen {
                    (0..COUNT.load(Relaxed))
                        .for_each(|index| enter::touch(THERE + (SCATTERED - ALL) + index * 2 * PAGE_SIZE));
                    seen = round;
                    done.store(round, Release);
                }
                core::hint::spin_loop();
            }
        };
        let refused = |status: abi::Status| Refusal { step: "thread", status: status.number() };
        rt::thread::spawn_in_root(core, Qpd::ROOT, body).map_err(refused)?;
    }
    STARTED.store(1, Relaxed);
    Ok(())
}

/// Interrupts that this core has sent because of revocations.
fn interrupts() -> u64 {
    enter::count(0, Counter::InterruptsSent as u64)
}
