//! Who is interrupted by a revocation, and whether anybody reads what was taken.
//!
//! Purpose: three domains that see the whole program at the same addresses: the root domain, a *child* to which it lends
//! memory, a *grandchild* to which the child does. On each core child and grandchild have a server, the root domain a
//! thread, the *driver*, that calls them and revokes there. A server touches a page and stays in its domain until it is
//! let go.
//! Invariants: a slot, 2 MiB of addresses, is used by one row only, for tables keep the set of cores that have used them.
//! Concurrency: all share atomics; a core does one thing at a time, and who gave it the command waits for its end.
//! Source: `docs/src/shootdown.md`, the acceptance matrix.
pub mod case;
mod crossing;
pub mod hunt;
mod later;
mod matrix;
mod nested;
mod rows;
mod stores;

pub use matrix::run;

use core::arch::global_asm;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use abi::counter::Counter;
use abi::hip::ROOT_UTCB_ADDRESS;
use abi::item::{ItemFlags, ItemKind};
use abi::operation::{Misc, RevokeFlags};
use abi::rights::MemoryRights;
use abi::{Crd, Hypercall, Mtd, Rights, Selector, TypedItem};

use crate::probe::{FIXED, NOTHING, count_up, fix_entry, poke, probe};
use crate::raw::{Checks, PATIENCE, answer, call, down, hypercall, registers, time_stamp, up, word};
use crate::servers::{SELF, portal, server, thread};
use case::Case;

/// Cores that take part.
pub const CORES: usize = 4;
/// Selectors: semaphores on which drivers wait, the other domains, their servers and the portals to them, fault portals.
const GO: u64 = 0x50;
const DOMAINS: u64 = 0x60;
const SERVERS: u64 = 0x100;
const FAULTS: u64 = 0x200;
/// In the other domains: event portals, 32 for each core, and message pages.
const EVENTS: u64 = 0x100;
const MESSAGES: u64 = 0x4800_0000;
/// Physical memory, where this domain has it, and where it and others get it, slot by slot.
const PHYSICAL: u64 = 0x800_0000;
const OWN: u64 = 0x1_0000_0000;
const SLOTS: u64 = 0x2_0000_0000;
/// Bytes of a slot, and of a chunk of physical memory; how many of these there are.
const LARGE: u64 = 2 << 20;
const CHUNKS: u64 = 6;
/// What pages hold that are lent, and what nobody may find.
const GOOD: u64 = 7;
const POISON: u64 = 0xDEAD_0000;

type Words = [AtomicU64; CORES];
/// For each core: what its driver does next, with what; where the server probes, whether it stays, what it found.
static COMMAND: Words = [const { AtomicU64::new(0) }; CORES];
static ARGUMENT: Words = [const { AtomicU64::new(0) }; CORES];
static PLACE: Words = [const { AtomicU64::new(0) }; CORES];
static STAY: Words = [const { AtomicU64::new(0) }; CORES];
static FOUND: Words = [const { AtomicU64::new(0) }; CORES];
/// How often what was taken was read, and how often anything was.
static STALE: AtomicU64 = AtomicU64::new(0);
static READS: AtomicU64 = AtomicU64::new(0);
/// Drivers so far: they are made one after the other, and take the numbers of their cores; and their message pages.
static READY: AtomicU64 = AtomicU64::new(0);
static DRIVER_PAGES: Words = [const { AtomicU64::new(0) }; CORES];
static NEXT_SLOT: AtomicU64 = AtomicU64::new(0);

/// Commands: call the server of a domain, once, or again and again until it is enough; the part of a core in rows S1, S12,
/// S8 and S13; interrupts of the clock until it is enough.
const CALL: u64 = 1;
const CALLS: u64 = 2;
const PRIVATE: u64 = 3;
const CROSS: u64 = 4;
const HUNT: u64 = 5;
const NOISE: u64 = 6;
const ENOUGH: u64 = 7;
const NESTED: u64 = 8;
/// How a server stays: probing once, or all the time; or it does not, and revokes 2^argument pages there from others.
const ONCE: u64 = 1;
const LOOP: u64 = 2;
const REVOKE: u64 = 3;
/// Or it stores, once what is there, or more and more until it is let go.
const POKE: u64 = 4;
const STORE: u64 = 5;

#[repr(align(4096))]
struct Stacks([[AtomicU64; 1024]; 2 * CORES]);
static STACKS: Stacks = Stacks([const { [const { AtomicU64::new(0) }; 1024] }; 2 * CORES]);

global_asm!(
    "shootdown_serve:", "call {serve}", "mov edi, 1", "syscall",
    serve = sym serve,
);

// SAFETY: defined above; only its address is used.
unsafe extern "C" {
    fn shootdown_serve();
}

fn entry(function: unsafe extern "C" fn()) -> u64 {
    (function as *const ()).addr() as u64
}

/// In another domain, on core `core`.
extern "C" fn serve(core: u64) {
    let core = core as usize % CORES;
    let stay = STAY[core].load(SeqCst);
    if stay == REVOKE {
        let (place, order) = (PLACE[core].load(SeqCst), ARGUMENT[core].load(SeqCst) as u32);
        return FOUND[core].store(take(place, order), SeqCst);
    }
    if stay == POKE {
        return FOUND[core].store(poke(PLACE[core].load(SeqCst)), SeqCst);
    }
    if stay == STORE {
        FOUND[core].store(count_up(PLACE[core].load(SeqCst)), SeqCst);
        while STAY[core].load(SeqCst) == STORE {
            count_up(PLACE[core].load(SeqCst));
        }
        return;
    }
    FOUND[core].store(hunt::look(core), SeqCst);
    while stay != 0 && STAY[core].load(SeqCst) != 0 {
        if stay == LOOP {
            hunt::look(core);
        }
        spin_loop();
    }
}

/// The thread of a core.
extern "C" fn drive() -> ! {
    let core = READY.fetch_add(1, SeqCst) as usize % CORES;
    loop {
        down(GO + core as u64, 0);
        let argument = ARGUMENT[core].load(SeqCst);
        let page = DRIVER_PAGES[core].load(SeqCst);
        match COMMAND[core].load(SeqCst) {
            CALL => drop(call(portal_of(argument, core))),
            CALLS => hunt::come_and_go(core, argument),
            PRIVATE => rows::private_part(core, page, Case::numbered(argument)),
            CROSS => crossing::part(core, page, Case::numbered(argument)),
            HUNT => hunt::part(page),
            NOISE => hunt::noise(core),
            NESTED => nested::part(core, Case::numbered(argument)),
            _ => {}
        }
        COMMAND[core].store(0, SeqCst);
    }
}

/// Makes the driver of `core` do something; [`wait`] waits for its end.
fn command(core: usize, command: u64, argument: u64) {
    ARGUMENT[core].store(argument, SeqCst);
    COMMAND[core].store(command, SeqCst);
    up(GO + core as u64);
}

/// Waits until `word` is, or is not, `value`.
fn until(word: &AtomicU64, value: u64, equal: bool) {
    let end = time_stamp() + PATIENCE;
    while (word.load(SeqCst) == value) != equal && time_stamp() < end {
        spin_loop();
    }
}

/// Waits until the driver of `core` has done what it was told. True if it has.
fn wait(core: usize) -> bool {
    let end = time_stamp() + 100 * PATIENCE;
    while COMMAND[core].load(SeqCst) != 0 && time_stamp() < end {
        // The driver of this thread's own core needs it.
        if core == 0 {
            down(GO + CORES as u64, time_stamp() + 1_000_000)
        } else {
            0
        };
        spin_loop();
    }
    COMMAND[core].load(SeqCst) == 0
}

fn portal_of(domain: u64, core: usize) -> u64 {
    SERVERS + 16 * domain + 2 * core as u64 + 1
}

fn memory(address: u64, order: u32, rights: MemoryRights) -> Crd {
    Crd::memory(address >> 12, order, rights).unwrap_or(Crd::NULL)
}

/// Delegates 2^`order` pages at `from` of domain `source` to `to` of `target`, with the message page at `page`.
fn give(page: u64, (source, from): (u64, u64), order: u32, (target, to): (u64, u64), flags: ItemFlags) -> u64 {
    let range = memory(from, order, MemoryRights::all());
    let [range, control] = TypedItem::new(range, ItemKind::Delegate, flags, to >> 12).words();
    word(page, 510).store(range, SeqCst);
    word(page, 511).store(control, SeqCst);
    word(page, 0).store(1 << 16, SeqCst);
    let window = memory(0, 31, MemoryRights::all());
    let status = hypercall(Hypercall::Misc, 1, source, [window.word(), target, 0, 0]);
    word(page, 0).store(0, SeqCst);
    status
}

/// As [`take`], without waiting: `semaphore` is upped when nobody uses them any more.
fn take_later(from: u64, order: u32, semaphore: u64) -> u64 {
    let range = memory(from, order, MemoryRights::all());
    hypercall(Hypercall::Misc, Misc::RevokeLater.flags(), semaphore, [range.word(), 0, 0, 0])
}

/// As [`take`]; above the status, what was noted of them.
fn take_telling(from: u64, order: u32) -> u64 {
    let range = memory(from, order, MemoryRights::all());
    let [status, _, _, noted] = registers(Hypercall::Revoke, RevokeFlags::REPORT.bits(), 0, [range.word(), 0, !0, 0]);
    noted << 8 | status
}

/// Takes 2^`order` pages from all to whom this domain has given them.
fn take(from: u64, order: u32) -> u64 {
    hypercall(Hypercall::Revoke, 0, 0, [memory(from, order, MemoryRights::all()).word(), 0, 0, 0])
}

/// Counters of each core that takes part: interrupts sent, full flushes, single pages, late flushes.
type Counts = [[u64; 4]; CORES];

fn counts(cores: usize) -> Counts {
    let kinds = [Counter::InterruptsSent, Counter::FullFlushes, Counter::PageFlushes, Counter::LazyFlushes];
    let of = |core: usize, counter| if core < cores { count(core, counter) } else { 0 };
    core::array::from_fn(|core| kinds.map(|kind| of(core, kind)))
}

/// What has been counted since `before`.
fn since(cores: usize, before: Counts) -> Counts {
    let now = counts(cores);
    core::array::from_fn(|core| core::array::from_fn(|kind| now[core][kind] - before[core][kind]))
}

/// A counter of a core.
fn count(core: usize, counter: Counter) -> u64 {
    answer(Hypercall::Misc, 3, core as u64, [counter as u64, 0, 0, 0])[1]
}

/// The server of `domain` on `core` probes `place`, and stays there if asked; what it found. The main thread calls on its
/// own core itself.
fn touch(domain: u64, core: usize, place: u64, stay: u64) -> u64 {
    PLACE[core].store(place, SeqCst);
    STAY[core].store(stay, SeqCst);
    FOUND[core].store(NOTHING - 1, SeqCst);
    if core == 0 {
        call(portal_of(domain, 0));
    } else {
        command(core, CALL, domain);
        until(&FOUND[core], NOTHING - 1, false);
        if stay == 0 {
            wait(core);
        }
    }
    FOUND[core].load(SeqCst)
}

/// Lets the server on `core` go.
fn release(core: usize) {
    STAY[core].store(0, SeqCst);
    wait(core);
}

/// A slot that nobody has used, the first of `count`.
fn slots(count: u64) -> u64 {
    SLOTS + NEXT_SLOT.fetch_add(count, SeqCst) * LARGE
}

/// Address of a chunk of this domain's memory.
const fn chunk(number: u64) -> u64 {
    OWN + number % CHUNKS * LARGE
}

/// Makes memory, drivers, domains and servers.
pub fn prepare(checks: &mut Checks, cores: usize) {
    for number in 0..CHUNKS {
        let from = (SELF, PHYSICAL + number * LARGE);
        let got = give(ROOT_UTCB_ADDRESS, from, 9, (SELF, chunk(number)), ItemFlags::HYPERVISOR);
        checks.check("memory", got, 0);
    }
    for page in 0..512 * CHUNKS {
        word(OWN + (page << 12), 0).store(GOOD, SeqCst);
    }
    let mut created = hypercall(Hypercall::CreateSemaphore, 0, GO + CORES as u64, [SELF, 0, 0, 0]);
    created |= hypercall(Hypercall::CreateSemaphore, 0, later::LATER, [SELF, 0, 0, 0]);
    for core in 0..cores as u64 {
        created |= hypercall(Hypercall::CreateSemaphore, 0, GO + core, [SELF, 0, 0, 0]);
        let (fixer, status) = server(core, fix_entry());
        created |= status | portal(FAULTS + core, fixer.context(), fix_entry(), Mtd::empty(), fixer.page());
        let (driver, status) = thread(core, (drive as *const ()).addr() as u64, 1);
        created |= status | driver.handled_by(fixer, 14, fix_entry(), Mtd::empty(), fixer.page());
        DRIVER_PAGES[core as usize].store(driver.page(), SeqCst);
        // One on this core runs when this thread waits.
        while READY.load(SeqCst) <= core {
            down(GO + CORES as u64, time_stamp() + 1_000_000);
        }
    }
    checks.check("drivers and fault handlers", created, 0);
    for domain in 0..2 {
        checks.check("a domain and its servers", other(domain, cores), 0);
    }
}

/// Creates domain `domain` with its servers; statuses together.
fn other(domain: u64, cores: usize) -> u64 {
    let other = DOMAINS + domain;
    let mut created = hypercall(Hypercall::CreateDomain, 0, other, [SELF, 0, 2048 << 32, 0]);
    created |= give(ROOT_UTCB_ADDRESS, (SELF, 0), 10, (other, 0), ItemFlags::empty());
    for core in 0..cores as u64 {
        let context = SERVERS + 16 * domain + 2 * core;
        let stack = &raw const STACKS.0[(2 * core + domain) as usize % (2 * CORES)];
        let (page, events) = (MESSAGES + (core << 12), EVENTS + 32 * core);
        let create = [other, page | core, stack.addr() as u64 + 8192, events];
        created |= hypercall(Hypercall::CreateContext, 0, context, create);
        created |= hypercall(Hypercall::CreatePortal, 0, context + 1, [other, context, 0, entry(shootdown_serve)]);
        created |= hypercall(Hypercall::ControlPortal, 0, context + 1, [core, 0, 0, 0]);
        let range = |at| Crd::objects(Selector::new(at), 0, Rights::ALL).unwrap_or(Crd::NULL);
        let [from, control] = TypedItem::delegate(range(FAULTS + core), ItemFlags::empty(), 0).words();
        word(ROOT_UTCB_ADDRESS, 510).store(from, SeqCst);
        word(ROOT_UTCB_ADDRESS, 511).store(control, SeqCst);
        word(ROOT_UTCB_ADDRESS, 0).store(1 << 16, SeqCst);
        created |= hypercall(Hypercall::Misc, 1, SELF, [range(events + 14).word(), other, 0, 0]);
        word(ROOT_UTCB_ADDRESS, 0).store(0, SeqCst);
    }
    created
}
