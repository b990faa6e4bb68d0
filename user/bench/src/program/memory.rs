//! Delegation and revocation of memory on one core, and the ranges that other modules use for more.
//!
//! Each shape is measured twice: what is delegated in a run is revoked in the preparation for the next, or the other way
//! round. Ranges leave a gap between each other, so that the kernel cannot join them.
//! Invariants: each run starts with nothing delegated, or with everything.
//! Concurrency: one user.
//! Source: design plan §6.

use super::enter;
use super::operation::{Arguments, Operation, operation};
use super::resources::{DOMAIN, Resources, WITH_ITEM, memory, window};
use abi::address::PAGE_SIZE;
use abi::item::{ItemFlags, ItemKind};
use abi::{Crd, Hypercall, Request, Selector, TypedItem};
use bench::line::Refusal;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Physical memory for this, 64 MiB of it, and where the program has it.
const PHYSICAL: u64 = 0x800_0000;
pub const ALL: u64 = 0x20_0000_0000;
/// 1024 pages, in a row but one page off, and in an order in which no two are neighbours.
const EXTENT: u64 = 0x21_0000_0000;
pub const SCATTERED: u64 = 0x22_0000_0000;
/// 4096 pages in a row, one page off, of other frames.
pub const SHIFTED: u64 = 0x23_0000_0000;
/// Where the other domain gets it, or this one a second time.
pub const THERE: u64 = 0x30_0000_0000;
pub const REVOKE: u64 = Request::new(Hypercall::Revoke, 0, Selector::new(0)).word();

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

/// Ranges of 2^`ORDER` pages, every `STRIDE` pages.
const fn delegation<const ORDER: u32, const STRIDE: u64>(name: &'static str, repetitions: u64, from: u64) -> Operation {
    Operation {
        repetitions,
        batches: 7,
        prepare: |arguments, _| {
            let made = core::mem::take(&mut arguments.made);
            revoke::<ORDER, STRIDE>(arguments, made)
        },
        ..operation(name, place(from), delegate::<ORDER, STRIDE>)
    }
}

const fn revocation<const ORDER: u32, const STRIDE: u64>(name: &'static str, repetitions: u64, from: u64) -> Operation {
    let (prepare, run) = (delegate::<ORDER, STRIDE>, revoke::<ORDER, STRIDE>);
    Operation { repetitions, batches: 7, prepare, ..operation(name, place(from), run) }
}

type Setup = fn(&mut Resources) -> Result<Arguments, Refusal>;

const fn place(from: u64) -> Setup {
    match from {
        EXTENT => |resources| at(resources, EXTENT),
        SCATTERED => |resources| at(resources, SCATTERED),
        _ => |resources| at(resources, ALL),
    }
}

/// Takes the memory that is to be delegated from `from` on, if it is not there yet.
pub fn at(resources: &mut Resources, from: u64) -> Result<Arguments, Refusal> {
    static TAKEN: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
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
        SHIFTED => {
            let first = PHYSICAL + (16 << 20) + PAGE_SIZE;
            (3, (0..4096).try_for_each(|index| take(first + page(index), 0, SHIFTED + page(index))))
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
pub fn delegate<const ORDER: u32, const STRIDE: u64>(arguments: &mut Arguments, count: u64) -> Result<(), Refusal> {
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
pub fn revoke<const ORDER: u32, const STRIDE: u64>(arguments: &mut Arguments, count: u64) -> Result<(), Refusal> {
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
