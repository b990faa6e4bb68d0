//! Revocation while other cores run the domain: one page that all have used, or none; and against the number of cores that
//! share it and the number of pages.
//!
//! Invariants: after a run the interrupts that the kernel has sent are exactly those that the operation is defined to
//! need, or the operation is refused; unless the program is asked to accept any, or time is measured, see [`Due::judge`].
//! Concurrency: the boot core measures; threads on the others read pages when they are told, and wait otherwise.
//! Source: design plan §6.

use super::crew::{self, Due, Job};
use super::enter;
use super::memory::{ALL, REVOKE, SCATTERED, SHIFTED, THERE, at, delegate, revoke};
use super::operation::{Arguments, Operation, operation};
use super::resources::{DOMAIN, Resources, WITH_ITEM, memory, window};
use abi::TypedItem;
use abi::address::PAGE_SIZE;
use abi::item::ItemFlags;
use bench::line::Refusal;

/// The operations with three more cores.
pub const OPERATIONS: &[Operation] =
    &[remote::<3>("revoke_1x4k_remote3_shared"), remote::<0>("revoke_1x4k_remote3_untouched")];

/// The sweeps: cores that share one page, and pages that all cores, half of them, or none but the revoking one have used.
pub const SWEEPS: &[Operation] = &[
    sharers::<1>("revoke_sharers_1"),
    sharers::<2>("revoke_sharers_2"),
    sharers::<3>("revoke_sharers_3"),
    sharers::<4>("revoke_sharers_4"),
    sharers::<5>("revoke_sharers_5"),
    sharers::<6>("revoke_sharers_6"),
    sharers::<7>("revoke_sharers_7"),
    sharers::<8>("revoke_sharers_8"),
    pages::<0, ALL_CORES>("revoke_pages_1_all"),
    pages::<2, ALL_CORES>("revoke_pages_4_all"),
    pages::<4, ALL_CORES>("revoke_pages_16_all"),
    pages::<6, ALL_CORES>("revoke_pages_64_all"),
    pages::<8, ALL_CORES>("revoke_pages_256_all"),
    pages::<10, ALL_CORES>("revoke_pages_1024_all"),
    pages::<12, ALL_CORES>("revoke_pages_4096_all"),
    pages::<0, HALF>("revoke_pages_1_half"),
    pages::<2, HALF>("revoke_pages_4_half"),
    pages::<4, HALF>("revoke_pages_16_half"),
    pages::<6, HALF>("revoke_pages_64_half"),
    pages::<8, HALF>("revoke_pages_256_half"),
    pages::<10, HALF>("revoke_pages_1024_half"),
    pages::<12, HALF>("revoke_pages_4096_half"),
    pages::<0, NONE>("revoke_pages_1_none"),
    pages::<2, NONE>("revoke_pages_4_none"),
    pages::<4, NONE>("revoke_pages_16_none"),
    pages::<6, NONE>("revoke_pages_64_none"),
    pages::<8, NONE>("revoke_pages_256_none"),
    pages::<10, NONE>("revoke_pages_1024_none"),
    pages::<12, NONE>("revoke_pages_4096_none"),
];

/// Shares of the cores, in halves.
const NONE: u64 = 0;
const HALF: u64 = 1;
const ALL_CORES: u64 = 2;
/// Pages that a run of a sweep revokes at most, and how often it does.
const PAGES: u64 = 4096;
const RANGES: u64 = 16;
/// Where ranges go: from one number of sharers to the next 64 GiB, from one length to the next 1 GiB.
const RANGES_THERE: u64 = 0x100_0000_0000;

/// The page is used by so many others.
const fn remote<const OTHERS: u64>(name: &'static str) -> Operation {
    let setup: fn(&mut Resources) -> _ = |resources| {
        crew::start(resources, 3)?;
        let mut arguments = at(resources, SCATTERED)?;
        arguments.registers[2] = DOMAIN;
        arguments.due = Due::new(resources.setting(), OTHERS);
        Ok(arguments)
    };
    let prepare: fn(&mut Arguments, u64) -> _ = |arguments, count| {
        arguments.due.judge()?;
        delegate::<0, 2>(arguments, count)?;
        crew::tell(Job::Read(0, THERE + (SCATTERED - ALL)), count, arguments.due.others());
        crew::wait()?;
        arguments.due.expect(count);
        Ok(())
    };
    Operation { cores: 4, repetitions: 64, batches: 7, prepare, ..operation(name, setup, revoke::<0, 2>) }
}

/// One page that `CORES` cores have used, the one that revokes among them.
const fn sharers<const CORES: u64>(name: &'static str) -> Operation {
    let setup: fn(&mut Resources) -> _ = |resources| ranges(resources, 0, CORES);
    Operation { cores: if CORES < 2 { 2 } else { CORES }, ..swept(name, setup) }
}

/// Ranges of 2^`ORDER` pages that so many halves of the cores have used, or the one that revokes alone.
const fn pages<const ORDER: u32, const HALVES: u64>(name: &'static str) -> Operation {
    let setup: fn(&mut Resources) -> _ = |resources| {
        let sharers = resources.setting().cores * HALVES / 2;
        ranges(resources, ORDER, sharers.max(1))
    };
    let repetitions = if PAGES >> (ORDER + 1) > RANGES {
        RANGES
    } else if ORDER == 12 {
        1
    } else {
        PAGES >> (ORDER + 1)
    };
    Operation { cores: 2, repetitions, ..swept(name, setup) }
}

const fn swept(name: &'static str, setup: fn(&mut Resources) -> Result<Arguments, Refusal>) -> Operation {
    Operation { repetitions: RANGES, batches: 7, prepare: share, ..operation(name, setup, revoke_ranges) }
}

/// All cores run the domain, `sharers` of them, the revoking one among them, use what is to be revoked. It has addresses of
/// its own: a core that has used a table of leaves once stays among its sharers.
fn ranges(resources: &mut Resources, order: u32, sharers: u64) -> Result<Arguments, Refusal> {
    crew::start(resources, resources.setting().cores - 1)?;
    let mut arguments = at(resources, SHIFTED)?;
    arguments.registers[1] = u64::from(order);
    arguments.registers[0] = RANGES_THERE + (sharers << 36) + (u64::from(order) << 30);
    arguments.due = Due::new(resources.setting(), sharers - 1);
    Ok(arguments)
}

/// Delegates ranges within the domain, and has them used.
fn share(arguments: &mut Arguments, count: u64) -> Result<(), Refusal> {
    arguments.due.judge()?;
    let [there, order, _, message] = arguments.registers;
    for index in 0..count {
        let offset = index * (PAGE_SIZE << (order + 1));
        let from = memory(SHIFTED + offset, order as u32);
        let words = TypedItem::delegate(from, ItemFlags::empty(), (there + offset) / PAGE_SIZE).words();
        let content = [(0, WITH_ITEM.word()), (510, words[0]), (511, words[1])];
        content.into_iter().for_each(|(index, word)| enter::write_word(message, index, word));
        match enter::hypercall(arguments.request, [window(), DOMAIN, 0, 0]) {
            0 => {}
            status => return Err(Refusal { step: "delegate", status }),
        }
    }
    crew::tell(Job::Read(order as u32, there), count, arguments.due.others());
    crew::read(order, there, count);
    crew::wait()?;
    arguments.due.expect(count);
    Ok(())
}

fn revoke_ranges(arguments: &mut Arguments, count: u64) -> Result<(), Refusal> {
    let order = arguments.registers[1];
    let mut range = memory(SHIFTED, order as u32).word();
    for _ in 0..count {
        let status = enter::hypercall(REVOKE, [range, 0, 0, 0]);
        if status != 0 {
            return Err(Refusal { step: "revoke", status });
        }
        range += PAGE_SIZE << (order + 1);
    }
    Ok(())
}
