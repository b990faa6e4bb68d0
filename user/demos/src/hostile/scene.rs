//! The maker's side: the two domains, what they get, who handles their events, and what is done so that the hostile one
//! goes on.
//!
//! Invariants: everything that is made has a selector of its own; [`end`] takes all of it back.
//! Concurrency: one thread makes and ends; handlers and servers run on their cores.
//! Source: interface §5 and §6.
use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use abi::event::STARTUP;
use abi::item::ItemFlags;
use abi::rights::{DomainRights, MemoryRights, PortalRights};
use abi::{Crd, Hypercall, Mtd, Rights, Selector, TypedItem};

use super::layout::*;
use super::memory::{self, SHARED};
use super::{attack, victim};
use crate::raw::{self, answer, hypercall, up, word};

/// Pages of kernel memory for the hostile domain.
pub const LIMIT: u64 = 512;
/// Message pages of handlers and servers.
const HANDLER_PAGES: u64 = 0x4800_0000;
const SERVER_PAGES: u64 = 0x4801_0000;
/// The program's code lies in these pages, and the rest of them is not for writing.
const IMAGE: u64 = 0x100;
const IMAGE_ORDER: u32 = 8;
const PAGE_FAULT: u64 = 14;
/// In the identity of an event portal: it is the victim's.
const VICTIMS: u64 = 1 << 16;

#[repr(align(4096))]
struct Stacks([[AtomicU64; 1024]; 2 * victim::CORES]);
static STACKS: Stacks = Stacks([const { [const { AtomicU64::new(0) }; 1024] }; 2 * victim::CORES]);
/// Page of the last fault on each core that was for the maker to resolve.
static LAST: [AtomicU64; victim::CORES] = [const { AtomicU64::new(0) }; victim::CORES];
/// Events of the hostile domain that were handled, and of the victim that should not have been.
pub static HANDLED: AtomicU64 = AtomicU64::new(0);
pub static UNEXPECTED: AtomicU64 = AtomicU64::new(0);
/// Which pair of domains it is; in the identities of the victim's event portals, from bit 32 on.
static LIFE: AtomicU64 = AtomicU64::new(0);
/// Calls that the maker has served.
pub static SERVED: AtomicU64 = AtomicU64::new(0);

global_asm!(
    "maker_handle:", "call {handle}", "mov edi, 1", "syscall",
    "maker_serve:", "call {serve}", "mov edi, 1", "syscall",
    handle = sym handle, serve = sym serve,
);

// SAFETY: defined above; only their addresses are used.
unsafe extern "C" {
    fn maker_handle();
    fn maker_serve();
}

fn code_range() -> Crd {
    Crd::memory(IMAGE, IMAGE_ORDER, MemoryRights::READ | MemoryRights::EXECUTE).unwrap_or(Crd::NULL)
}

fn shared_range() -> Crd {
    let rights = MemoryRights::READ | MemoryRights::WRITE;
    Crd::memory(memory::shared_page(), memory::ORDER, rights).unwrap_or(Crd::NULL)
}

fn victim_range() -> Crd {
    let rights = MemoryRights::READ | MemoryRights::WRITE;
    Crd::memory(victim::page(), victim::ORDER, rights).unwrap_or(Crd::NULL)
}

fn objects(base: u64, order: u32) -> Crd {
    Crd::objects(Selector::new(base), order, Rights::ALL).unwrap_or(Crd::NULL)
}

/// Writes the items into a message page, which delegate these ranges to the same addresses.
fn items(page: u64, ranges: &[Crd]) {
    for (index, range) in ranges.iter().enumerate() {
        let [first, second] = TypedItem::delegate(*range, ItemFlags::empty(), range.base()).words();
        word(page, 510 - 2 * index).store(first, SeqCst);
        word(page, 511 - 2 * index).store(second, SeqCst);
    }
    word(page, 0).store((ranges.len() as u64) << 16, SeqCst);
}

/// An event of either domain.
extern "C" fn handle(identity: u64) {
    let (core, event) = (identity & 0xFF, identity >> 8 & 0xFF);
    let page = HANDLER_PAGES + core * 0x1000;
    let own = memory::slot_of(word(page, 14).load(SeqCst));
    let to_start = |entry: u64, stack: u64| {
        word(page, 4).store((Mtd::RIP_LEN | Mtd::RSP | Mtd::RFLAGS | Mtd::BSD).bits(), SeqCst);
        word(page, 6).store(entry, SeqCst);
        word(page, 7).store(0, SeqCst);
        word(page, 14).store(stack, SeqCst);
        word(page, 17).store(core, SeqCst);
        word(page, 0).store(0, SeqCst);
    };
    if identity & VICTIMS != 0 {
        if event != u64::from(STARTUP) && identity >> 32 == LIFE.load(SeqCst) {
            UNEXPECTED.fetch_add(1, SeqCst);
            let at = [3usize, 14, 24, 25, 26, 27].map(|index| word(page, index).load(SeqCst));
            rt::println!("hostile: the victim's event {event} on core {core}: {at:x?}");
        }
        return to_start(victim::entries()[0], victim::stack_top(core, 0));
    }
    HANDLED.fetch_add(1, SeqCst);
    let address = word(page, 27).load(SeqCst) >> 12;
    let within = |range: Crd| (range.base()..range.base() + range.count()).contains(&address);
    if event == PAGE_FAULT && (within(shared_range()) || within(code_range())) {
        // It has given its pages away; if it has kept some, with fewer rights, those are in the way.
        if LAST[core as usize % victim::CORES].swap(address, SeqCst) == address {
            let _ = purge(HOSTILE, shared_range()) | purge(HOSTILE, code_range());
            LAST[core as usize % victim::CORES].store(0, SeqCst);
        }
        word(page, 4).store(0, SeqCst);
        return items(page, &[shared_range(), code_range()]);
    }
    let [work, _, reply] = attack::entries();
    let slot = own.unwrap_or(memory::WORKERS + core as usize);
    let serves = SHARED.slots[slot].serves.load(SeqCst) != 0 && event != u64::from(STARTUP);
    to_start(if serves { reply } else { work }, memory::stack_top(slot));
}

/// A call of the hostile domain to its maker, which takes what it sends and answers with something.
extern "C" fn serve(core: u64) {
    let page = SERVER_PAGES + core * 0x1000;
    let count = SERVED.fetch_add(1, SeqCst);
    let windows = match count % 3 {
        0 => objects(TAKEN, TAKEN_ORDER),
        1 => Crd::memory(TAKEN_PAGES, TAKEN_PAGES_ORDER, MemoryRights::all()).unwrap_or(Crd::NULL),
        _ => Crd::NULL,
    };
    let all = if count & 4 == 0 { Crd::memory(0, 31, MemoryRights::all()) } else { Some(objects(0, 31)) };
    word(page, 1).store(all.unwrap_or(Crd::NULL).word(), SeqCst);
    word(page, 2).store(windows.word(), SeqCst);
    let back = if count & 8 == 0 { objects(KEPT + SEMAPHORES, 2) } else { objects(TAKEN, 2) };
    items(page, &[back]);
    word(page, 511).store(count & 3 | (count & 63) << 12, SeqCst);
    word(page, 0).store(((count >> 4 & 1) << 16) | (count % 20), SeqCst);
}

fn stack_top(index: u64) -> u64 {
    (&raw const STACKS.0[index as usize % (2 * victim::CORES)]).addr() as u64 + 8192
}

fn portal(at: u64, domain: u64, context: u64, entry: u64, mtd: u64, identity: u64) -> u64 {
    hypercall(Hypercall::CreatePortal, 0, at, [domain, context, mtd, entry])
        | hypercall(Hypercall::ControlPortal, 0, at, [identity, 0, 0, 0])
}

fn context(at: u64, flags: u8, arguments: [u64; 4]) -> u64 {
    hypercall(Hypercall::CreateContext, flags, at, arguments)
}

/// Delegates ranges to `domain`, from here or from the hypervisor, with the message page `page` of the calling thread.
pub fn give(page: u64, domain: u64, range: Crd, window: Crd, flags: ItemFlags, hotspot: u64) -> u64 {
    raw::give(page, SELF, TypedItem::delegate(range, flags, hotspot), (domain, window))
}

fn give_memory(page: u64, domain: u64, range: Crd) -> u64 {
    let all = Crd::memory(0, 31, MemoryRights::all()).unwrap_or(Crd::NULL);
    give(page, domain, range, all, ItemFlags::empty(), range.base())
}

/// Gives the hostile domain all that it is to have, and may have lost.
pub fn replenish(page: u64) -> u64 {
    let ports = Crd::ports(0x80, 2).unwrap_or(Crd::NULL);
    give(page, HOSTILE, objects(KEPT, ORDER), objects(0, ORDER), ItemFlags::empty(), 0)
        | give_memory(page, HOSTILE, code_range())
        | give_memory(page, HOSTILE, shared_range())
        | give(page, HOSTILE, ports, Crd::ALL_PORTS, ItemFlags::empty(), 0)
}

/// Takes everything of one kind from a domain.
pub fn purge(domain: u64, range: Crd) -> u64 {
    let range = range.word() | 0x7C; // all rights
    hypercall(Hypercall::Revoke, 3, 0, [range, domain, 0, 0])
}

/// Takes a range of object capabilities from everybody.
pub fn destroy(base: u64, order: u32) -> u64 {
    hypercall(Hypercall::Revoke, 1, 0, [objects(base, order).word(), 0, 0, 0])
}

/// Takes back what the hostile domain has sent.
pub fn forget_taken() -> u64 {
    let pages = Crd::memory(TAKEN_PAGES, TAKEN_PAGES_ORDER, MemoryRights::all()).unwrap_or(Crd::NULL);
    destroy(TAKEN, TAKEN_ORDER) | hypercall(Hypercall::Revoke, 1, 0, [pages.word(), 0, 0, 0])
}

/// What is left of the hostile domain's objects of its own goes, and whatever else it has: the next [`replenish`] brings
/// back what it should have.
pub fn strip() -> u64 {
    let memory = Crd::memory(0, 31, MemoryRights::all()).unwrap_or(Crd::NULL);
    purge(HOSTILE, objects(0, 31)) | purge(HOSTILE, memory)
}

/// Limit and usage of a domain, in pages.
pub fn quota(domain: u64) -> [u64; 2] {
    match answer(Hypercall::ControlDomain, 2, domain, [0; 4]) {
        [0, limit, usage] => [limit, usage],
        _ => [u64::MAX; 2],
    }
}

/// Makes a worker of the hostile domain on `core`, if there is none.
pub fn start_worker(core: u64) -> u64 {
    let slot = memory::WORKERS + core as usize;
    let arguments = [HOSTILE, memory::message_page(slot) | core, memory::stack_top(slot), events(core)];
    context(KEPT + WORKER + core, 1, arguments)
        | hypercall(
            Hypercall::CreateScheduling,
            0,
            KEPT + TIME + core,
            [SELF, KEPT + WORKER + core, 1_000 << 12 | 40, 0],
        )
}

/// Makes the server of the hostile domain on `core`.
fn start_server(core: u64) -> u64 {
    let (at, slot) = (KEPT + SERVER + core, memory::SERVERS + core as usize);
    let arguments = [HOSTILE, memory::message_page(slot) | core, memory::stack_top(slot), events(core)];
    context(at, 0, arguments) | portal(KEPT + SERVER_PORTAL + core, SELF, at, attack::entries()[1], 0, core)
}

/// Replaces the server of `core`, which may be over, or wait for something.
pub fn replace_server(core: u64) -> u64 {
    destroy(KEPT + SERVER_PORTAL + core, 0) | destroy(KEPT + SERVER + core, 0) | start_server(core)
}

/// Ends the worker of `core`.
pub fn end_worker(core: u64) -> u64 {
    destroy(KEPT + TIME + core, 0) | destroy(KEPT + WORKER + core, 0)
}

/// Handlers and servers of the maker, on each core.
pub fn start_maker(cores: u64) -> u64 {
    (0..cores).fold(0, |wrong, core| {
        wrong
            | context(HANDLERS + core, 0, [SELF, (HANDLER_PAGES + core * 0x1000) | core, stack_top(core), 0x3_0000])
            | context(SERVES + core, 0, [SELF, (SERVER_PAGES + core * 0x1000) | core, stack_top(4 + core), 0x3_0000])
    })
}

/// Makes both domains. The sum of statuses is 0 if all went well.
pub fn begin(page: u64, cores: u64, interrupts: u64) -> u64 {
    let mut wrong = hypercall(Hypercall::CreateDomain, 0, HOSTILE, [SELF, 0, LIMIT << 32, 0]);
    let handle = (maker_handle as *const ()).addr() as u64;
    let serve = (maker_serve as *const ()).addr() as u64;
    let thread = (Mtd::GPR | Mtd::RIP_LEN | Mtd::RFLAGS | Mtd::QUAL).bits();
    for index in 0..PLAIN {
        wrong |= hypercall(Hypercall::CreateSemaphore, 0, KEPT + SEMAPHORES + index, [SELF, 0, 0, 0]);
    }
    for index in 0..2 {
        let arguments = [SELF, 0x1234 + index, KEPT + SEMAPHORES + index, 0];
        wrong |= hypercall(Hypercall::CreateSemaphore, 0, KEPT + SIGNALS + index, arguments);
    }
    // Children cannot have contexts: who has a domain with one in its own space that no one else can reach, has it for ever.
    let rights = |rights: DomainRights| objects(HOSTILE, 0).masked(rights.into());
    let most = rights(DomainRights::all().difference(DomainRights::CREATE_CONTEXT));
    for (at, range) in [(DOMAIN, most), (CONTEXTS, rights(DomainRights::CREATE_CONTEXT))] {
        wrong |= give(page, SELF, range, objects(KEPT + at, 0), ItemFlags::empty(), 0);
    }
    let kernel = ItemFlags::HYPERVISOR;
    for (at, from) in [(INTERRUPTS, interrupts), (INTERRUPTS + 1, interrupts + 1), (IDLE, 0)] {
        wrong |= give(page, SELF, objects(from, 0), objects(KEPT + at, 0), kernel, 0);
    }
    wrong |= give(page, SELF, objects(SELF + 4, 0), objects(KEPT + REGISTERS, 0), ItemFlags::empty(), 0);
    for core in 0..cores {
        wrong |= start_server(core);
        wrong |= portal(KEPT + MAKER + core, SELF, SERVES + core, serve, 0, core);
        for event in (0..32).filter(|event| !matches!(event, 2 | 8 | 9 | 15 | 20..30)) {
            let with_vectors = if matches!(event, 0 | 6 | 19 | 31) { Mtd::FPU.bits() } else { 0 };
            let identity = core | event << 8;
            let at = KEPT + events(core) + event;
            wrong |= portal(at, SELF, HANDLERS + core, handle, thread | with_vectors, identity);
        }
    }
    wrong |= begin_victim(page, cores, handle, thread);
    // Identities of portals that lead to others are not for the hostile domain to change.
    for range in [objects(KEPT + events(0), 7), objects(KEPT + MAKER, 3)] {
        wrong |= hypercall(Hypercall::Revoke, 1, 0, [range.masked(PortalRights::CONTROL.into()).word(), 0, 0, 0]);
    }
    wrong |= replenish(page);
    (0..cores).fold(wrong, |wrong, core| wrong | start_worker(core))
}

fn begin_victim(page: u64, cores: u64, handle: u64, thread: u64) -> u64 {
    let [work, serve] = victim::entries();
    let _ = work;
    let mut wrong = hypercall(Hypercall::CreateDomain, 0, VICTIM_DOMAIN, [SELF, 0, 64 << 32, 0]);
    wrong |= give_memory(page, VICTIM_DOMAIN, code_range()) | give_memory(page, VICTIM_DOMAIN, victim_range());
    for core in 0..cores {
        let [thread_at, server_at, time_at, semaphore_at] = [0, 4, 8, 12].map(|kind| VICTIM_CONTEXTS + kind + core);
        let base = victim::EVENTS + 32 * core;
        let place = |which| victim::message_page(core, which) | core;
        wrong |= context(server_at, 0, [VICTIM_DOMAIN, place(1), victim::stack_top(core, 1), base]);
        wrong |= context(thread_at, 1, [VICTIM_DOMAIN, place(0), 0, base]);
        wrong |= portal(KEPT + VICTIM + core, SELF, server_at, serve, 0, core);
        wrong |= hypercall(Hypercall::CreateSemaphore, 0, semaphore_at, [SELF, 0, 0, 0]);
        for event in (0..32).filter(|event| !matches!(event, 2 | 8 | 9 | 15 | 20..30)) {
            let identity = core | event << 8 | VICTIMS | LIFE.load(SeqCst) << 32;
            wrong |= portal(VICTIM_EVENTS + 32 * core + event, SELF, HANDLERS + core, handle, thread, identity);
        }
        let events = objects(VICTIM_EVENTS + 32 * core, 5);
        let gifts = [
            (objects(semaphore_at, 0), victim::SEMAPHORE + core, 0),
            (objects(KEPT + VICTIM + core, 0), victim::PORTAL + core, 0),
            (events, base, 5),
        ];
        for (range, at, order) in gifts {
            wrong |= give(page, VICTIM_DOMAIN, range, objects(at, order), ItemFlags::empty(), 0);
        }
        let time = 10_000 << 12 | 127;
        wrong |= hypercall(Hypercall::CreateScheduling, 0, time_at, [SELF, thread_at, time, 0]);
    }
    wrong
}

/// Lets everybody go on who waits for a semaphore of the maker.
pub fn wake_all() {
    for index in 0..PLAIN + 2 {
        let _ = up(KEPT + SEMAPHORES + index);
    }
}

/// Takes the interrupts, which are to be let go in the end, for the thread with this message page.
pub fn hold_interrupts(page: u64, interrupts: u64) -> u64 {
    (0..2).fold(0, |wrong, index| {
        let (from, to) = (objects(interrupts + index, 0), objects(HELD_INTERRUPTS + index, 0));
        wrong | give(page, SELF, from, to, ItemFlags::HYPERVISOR, 0)
    })
}

/// Has the interrupts let go of the semaphores that the hostile domain has chained them to. It may be in the middle of it,
/// on another core, when it loses all.
pub fn unchain() -> u64 {
    [HELD_INTERRUPTS, HELD_INTERRUPTS + 1].into_iter().fold(0, |wrong, interrupt| {
        // Chained to itself: to nothing.
        wrong | hypercall(Hypercall::AssignInterrupt, 0, interrupt, [0, 0, interrupt, 0])
    })
}

/// Takes both domains back, with all that was made for them.
pub fn end() -> u64 {
    // From now on the victim's threads may fault: they lose their message pages before their cores hear that they ended.
    LIFE.fetch_add(1, SeqCst);
    // Contexts that it has made itself, in its own space, keep a domain: they go before it, and so do those that were being
    // made while it lost the right to.
    let mut wrong = strip();
    wrong |= unchain() | destroy(KEPT, ORDER);
    // Who was in the middle of making something, on another core or behind a server of ours, has made it by then.
    for _ in 0..4 {
        wrong |= strip();
        super::pause(2_000);
    }
    wrong
        | destroy(HOSTILE, 0)
        | destroy(VICTIM_DOMAIN, 0)
        | destroy(VICTIM_CONTEXTS, 5)
        | destroy(VICTIM_EVENTS, 8)
        | forget_taken()
}
