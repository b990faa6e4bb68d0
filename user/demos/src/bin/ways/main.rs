//! The short ways and the general way give the same: random calls, replies, ups, downs and faults, each round gone through
//! three times from the same beginning.
//!
//! The first time with requests that the kernel takes the short ways for; the second time with flags that mean nothing, which
//! leave the same to the general way; the third time with such flags while a context that does not run has its state in
//! the vector registers, which does so for faults. After each instruction all registers and the message page are
//! noted, and what a server or handler is entered with; the three notes must be alike. What a server has in its other
//! registers is undefined after a reply and not compared.
//! Invariants: an actor calls only those with a higher number, so that no call waits for itself.
//! Concurrency: contexts of one core; a thread that is more urgent waits for a semaphore and runs as soon as it is up.
//! Source: design plan §6.
// UNSAFETY: raw hypercalls with any registers, message pages at fixed addresses, and code that the kernel enters.
#![expect(unsafe_code, reason = "any registers at a hypercall")]
#![no_std]
#![no_main]

mod actor;
mod record;

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use abi::hip::ROOT_UTCB_ADDRESS;
use abi::item::ItemFlags;
use abi::rights::MemoryRights;
use abi::{Crd, Hypercall, Mtd, Rights, Selector, TypedItem};
use actor::{ACTORS, Deed, FLAGS, RAX, RCX, RDI, RDX, REGISTERS, RESUME, RSI};
use demos::raw::{Checks, call, hypercall, up, word};
use rt::{Environment, ExitStatus, println};

rt::entry!(main);

const SELF: u64 = 32;
const OTHER: u64 = 0x70;
/// Contexts of the actors.
const CONTEXTS: u64 = 0x50;
/// What the other domain gets too, there from selector 0: semaphores and the portal of the last server.
const SHARED: u64 = 0x80;
const COUNTED: u64 = SHARED;
const AWAITED: u64 = SHARED + 1;
const LEAF: u64 = SHARED + 2;
const NULL: u64 = SHARED + 3;
/// Other portals.
const NEAR: u64 = 0x90;
const FAR: u64 = 0x91;
/// A context that takes the vector registers, and its portal.
const TOUCHER: u64 = 0x92;
const TOUCH: u64 = 0x93;
/// The same selector to the kernel.
const ALIAS: u64 = 1 << 26;
/// Event bases: of those whose faults are handled (the program's own is 0), and of those that have no handler.
const EVENTS: u64 = 0;
const NO_EVENTS: u64 = 0x4000;
const PAGE_FAULT: u64 = 14;
/// Message pages by actor; the program's own is where the kernel has put it, the waiter's where `demos::threads` does.
const PAGES: [u64; 6] = [ROOT_UTCB_ADDRESS, 0x4000_0000, 0x4100_0000, 0x4200_0000, 0x5000_1000, 0x4300_0000];
const TOUCH_PAGE: u64 = 0x4400_0000;
/// Order of the range of pages from 0 on in which the program lies.
const PROGRAM: u32 = 10;
/// Words from here on are for as many items as there can be here: four.
const FIRST_ITEMS: usize = 504;
/// Where nothing is mapped.
const NOWHERE: u64 = 0x6000_0000;

const WAITER: usize = 4;
const HANDLER: usize = 5;
/// Rounds, and what the program does in each.
const ROUNDS: u64 = 400;
const STEPS: u64 = 16;
/// Each thing that can happen has to happen so often.
const ENOUGH: u64 = 100;

/// No actor writes notes while a round is prepared.
static QUIET: AtomicU64 = AtomicU64::new(1);
/// Count of the first semaphore.
static COUNT: AtomicU64 = AtomicU64::new(0);
/// How often what has happened.
static SEEN: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];
const CALLED: usize = 0;
const REFUSED: usize = 1;
const UPPED: usize = 2;
const DOWNED: usize = 3;
const TIMED_OUT: usize = 4;
const FAULTED: usize = 5;
const WOKEN: usize = 6;
const NESTED: usize = 7;
const NAMES: [&str; 8] = [
    "calls",
    "refused hypercalls",
    "ups",
    "downs",
    "downs that time out",
    "faults",
    "wake-ups",
    "hypercalls of servers",
];

global_asm!("ways_touch:", "movq xmm0, rdi", "mov edi, 1", "syscall");
// SAFETY: defined above; only its address is used.
unsafe extern "C" {
    fn ways_touch();
}

fn saw(what: usize) {
    SEEN[what].fetch_add(1, Relaxed);
}

fn quiet() -> bool {
    QUIET.load(Relaxed) != 0
}

/// Flags that mean nothing, where the general way is to be taken.
fn flags(choices: &[u64]) -> u64 {
    let flags = record::one_of(choices);
    if record::way() == 0 { 0 } else { flags << 4 }
}

/// Fills a message page. Windows are empty.
fn fill(page: u64) {
    for index in 3..FIRST_ITEMS {
        word(page, index).store(record::random(), Relaxed);
    }
    word(page, 1).store(0, Relaxed);
    word(page, 2).store(0, Relaxed);
    head(page);
}

/// A new header: most often a few words and no items. Those that there are are null.
fn head(page: u64) {
    let words = match record::below(8) {
        0 => record::below(1 << 16),
        1 => 500 + record::below(16),
        2 => record::below(509),
        _ => record::below(12),
    };
    let items = if record::below(10) == 0 { 1 + record::below(4) } else { 0 };
    for index in FIRST_ITEMS..512 {
        word(page, index).store(if items == 0 { record::random() } else { 0 }, Relaxed);
    }
    word(page, 0).store(words | items << 16 | record::random() << 32, Relaxed);
}

/// One instruction of an actor.
fn act(number: usize) {
    let (actor, page) = (&ACTORS[number], PAGES[number]);
    let (calls, ups, downs): (&[u64], &[u64], &[u64]) = match number {
        0 => (&[NEAR, NEAR, FAR, FAR, LEAF, NEAR | ALIAS, NULL, COUNTED], &[COUNTED, AWAITED, NULL], &[COUNTED, LEAF]),
        1 => (&[FAR, LEAF, LEAF, NULL], &[COUNTED, AWAITED, FAR], &[COUNTED, COUNTED, NULL]),
        // In the other domain: without the right to down.
        2 => (&[LEAF - SHARED, LEAF - SHARED, 0, 9], &[0, 1, 2], &[0, 2]),
        3 => (&[NULL, AWAITED], &[COUNTED, AWAITED, NULL], &[COUNTED, COUNTED, NEAR]),
        _ => (&[], &[], &[AWAITED]),
    };
    for register in &actor.block.before {
        register.store(if record::below(8) == 0 { record::below(3) } else { record::random() }, Relaxed);
    }
    let set = |register: usize, value| actor.block.before[register].store(value, Relaxed);
    // Carry, parity, adjust, zero, sign, direction, overflow.
    set(FLAGS, record::random() & 0xCD5);
    if record::below(3) == 0 {
        fill(page);
    } else if record::below(2) == 0 {
        head(page);
    }
    let faults = if number == 2 || number == WAITER { 0 } else { 3 };
    let choice = if number == WAITER { 7 } else { record::below(5 + 3 + faults) };
    let (request, deed) = match choice {
        0..5 if !calls.is_empty() => (record::one_of(calls) << 8 | flags(&[2, 4, 6]), Deed::Hypercall),
        0..6 => (record::one_of(ups) << 8 | 12 | flags(&[2, 4, 8, 14]), Deed::Hypercall),
        6..8 => (record::one_of(downs) << 8 | 12 | 1 << 4 | flags(&[4, 8, 12]), Deed::Hypercall),
        _ => (0, [Deed::Undefined, Deed::Breakpoint, Deed::Load, Deed::Halt, Deed::Divide][record::below(5) as usize]),
    };
    match deed {
        Deed::Hypercall => set(RDI, request),
        Deed::Divide => set(RCX, 0),
        _ => set(RCX, NOWHERE + record::below(4096)),
    }
    if choice >= 6 && COUNT.load(Relaxed) == 0 {
        // A deadline that has passed.
        set(RSI, 0);
        set(RDX, record::random() << 32 | (1 + record::below(1000)));
    }
    if number == WAITER {
        set(RSI, 0);
        set(RDX, 0);
    }
    actor.perform(deed);
    if quiet() {
        return;
    }
    let after = |register: usize| actor.block.after[register].load(Relaxed);
    let succeeded = deed == Deed::Hypercall && (after(RDI) == request || after(RDI) == 0);
    count(number, (choice, deed), request, if succeeded { 0 } else { after(RDI) });
    for register in RAX..REGISTERS {
        // A call that succeeds leaves the request, flags included.
        let value = if register == RDI && succeeded { u64::MAX } else { after(register) };
        record::note(number, (choice << 8) | register as u64, value);
    }
    record::note_page(number, 0xFE, page);
}

/// Counts what happened, and keeps the semaphore's count.
fn count(number: usize, (choice, deed): (u64, Deed), request: u64, status: u64) {
    if deed != Deed::Hypercall {
        return saw(FAULTED);
    }
    if number != 0 {
        saw(NESTED);
    }
    let counted = request >> 8 == if number == 2 { 0 } else { COUNTED };
    match (choice, status) {
        (6.., 1) => saw(TIMED_OUT),
        (_, 1..) => saw(REFUSED),
        (0..5, _) => saw(CALLED),
        (5, _) => {
            saw(UPPED);
            COUNT.fetch_add(u64::from(counted), Relaxed);
        }
        _ => {
            saw(if number == WAITER { WOKEN } else { DOWNED });
            COUNT.fetch_sub(u64::from(counted && number != WAITER), Relaxed);
        }
    }
}

/// A server or the handler, entered for a call; the first register of its reply.
extern "C" fn serve(number: u32) -> u64 {
    let number = number as usize % ACTORS.len();
    let (block, page) = (ACTORS[number].block, PAGES[number]);
    if quiet() {
        fill(page);
    } else {
        for (index, word) in block.entered.iter().enumerate() {
            record::note(number, 0xF0 + index as u64, word.load(Relaxed));
        }
        if number == HANDLER && block.entered[0].load(Relaxed) != PAGE_FAULT {
            // The address of some fault before.
            word(page, 27).store(0, Relaxed);
        }
        record::note_page(number, 0xFF, page);
        if number != HANDLER {
            let resume = RESUME.load(Relaxed);
            for _ in 0..record::below(3) {
                act(number);
            }
            RESUME.store(resume, Relaxed);
        }
        match record::below(3) {
            0 => fill(page),
            1 => head(page),
            _ => {}
        }
    }
    if number == HANDLER {
        resume(page);
    }
    block.leave.store(record::random(), Relaxed);
    1 | flags(&[1, 2, 4, 8, 15])
}

/// Makes the message page one that lets the faulter go on, with some of its registers changed.
fn resume(page: u64) {
    let any = Mtd::ACDB | Mtd::BSD | Mtd::RSP | Mtd::RFLAGS | Mtd::R8_R15 | Mtd::QUAL | Mtd::FS_GS;
    let transfer = Mtd::from_bits_retain(record::random()) & any | Mtd::RIP_LEN;
    word(page, 4).store(transfer.bits(), Relaxed);
    word(page, 6).store(RESUME.load(Relaxed), Relaxed);
    // Neither traps, nor alignment checks, nor nested tasks.
    word(page, 7).store(record::random() & 0x3F_FFFF & !(1 << 8 | 1 << 14 | 1 << 18), Relaxed);
}

extern "C" fn wait(_: u64) -> ! {
    loop {
        act(WAITER);
    }
}

fn main(environment: &Environment) -> ExitStatus {
    demos::announce("ways", "the short ways and the general way give the same");
    let mut checks = Checks::new("ways");
    checks.check("objects", create(environment), 0);
    let (mut different, mut words, mut refused) = ([0; record::WAYS], 0, 0);
    for round in 0..ROUNDS {
        refused |= event_portals(round);
        for way in 0..record::WAYS {
            go(way, round);
        }
        words += record::length(0);
        for (way, different) in different.iter_mut().enumerate() {
            let Some((at, labels, found)) = record::difference(way) else { continue };
            *different += 1;
            if *different <= 5 {
                println!("ways: round {round}, way {way}, word {at}: {labels:x?}: {found:#x?}");
            }
        }
    }
    checks.check("portals of events", refused, 0);
    checks.check("rounds that differ if flags ask for the general way", different[1], 0);
    checks.check("and if vector registers are in use", different[2], 0);
    checks.check("words compared", u64::from(words > 100 * ROUNDS), 1);
    for (what, name) in SEEN.iter().zip(NAMES) {
        println!("ways: {} {name}", what.load(Relaxed));
        checks.check(name, u64::from(what.load(Relaxed) >= ENOUGH), 1);
    }
    checks.finish()
}

/// Goes through a round.
fn go(way: usize, round: u64) {
    QUIET.store(1, Relaxed);
    record::begin(way);
    record::seed(!round);
    // All servers, the handler and the waiter begin with the same.
    while hypercall(Hypercall::ControlSemaphore, 1, COUNTED, [0, 1, 0, 0]) == 0 {}
    COUNT.store(0, Relaxed);
    word(ROOT_UTCB_ADDRESS, 0).store(0, Relaxed);
    for portal in [NEAR, FAR, LEAF] {
        let _ = call(portal);
    }
    ACTORS[0].block.before[FLAGS].store(2, Relaxed);
    ACTORS[0].perform(Deed::Undefined);
    fill(ROOT_UTCB_ADDRESS);
    fill(PAGES[WAITER]);
    record::seed(round);
    let _ = up(AWAITED);
    if way == 2 {
        touch();
    }
    QUIET.store(0, Relaxed);
    for _ in 0..STEPS {
        act(0);
    }
    QUIET.store(1, Relaxed);
    if way == 2 {
        for selector in [TOUCH, TOUCHER] {
            destroy(selector);
        }
    }
}

fn destroy(selector: u64) {
    let range = Crd::objects(Selector::new(selector), 0, Rights::ALL).unwrap_or(Crd::NULL);
    let _ = hypercall(Hypercall::Revoke, 1, 0, [range.word(), 0, 0, 0]);
}

fn context(domain: u64, at: u64, page: u64, events: u64) -> u64 {
    // Servers bring their own stacks.
    hypercall(Hypercall::CreateContext, 0, at, [domain, page, 0x1000, events])
}

fn portal(at: u64, context: u64, entry: u64, transfer: Mtd, identity: u64) -> u64 {
    hypercall(Hypercall::CreatePortal, 0, at, [SELF, context, transfer.bits(), entry])
        | hypercall(Hypercall::ControlPortal, 0, at, [identity, 0, 0, 0])
}

/// Makes a context take the vector registers that does nothing after that.
fn touch() {
    let _ = context(SELF, TOUCHER, TOUCH_PAGE, NO_EVENTS);
    let _ = portal(TOUCH, TOUCHER, ways_touch as *const () as u64, Mtd::empty(), 1);
    let header = word(ROOT_UTCB_ADDRESS, 0).swap(0, Relaxed);
    let _ = call(TOUCH);
    word(ROOT_UTCB_ADDRESS, 0).store(header, Relaxed);
}

/// Portals of the events, which transfer other groups of registers in each round.
fn event_portals(round: u64) -> u64 {
    record::seed(round << 32);
    let any = Mtd::ACDB | Mtd::BSD | Mtd::RSP | Mtd::RFLAGS | Mtd::R8_R15 | Mtd::QUAL | Mtd::FS_GS | Mtd::RIP_LEN;
    let mut wrong = 0;
    for event in [0, 3, 6, 13, PAGE_FAULT] {
        destroy(EVENTS + event);
        let transfer = Mtd::from_bits_retain(record::random()) & any;
        wrong |= portal(EVENTS + event, CONTEXTS + 5, ACTORS[HANDLER].entry(), transfer, event);
    }
    wrong
}

/// Semaphores, the other domain, servers, the handler, the waiter: a status that is not 0 if something is refused.
fn create(environment: &Environment) -> u64 {
    let core = u64::from(environment.cpu());
    let mut wrong = hypercall(Hypercall::CreateSemaphore, 0, COUNTED, [SELF, 0, 0, 0]);
    wrong |= hypercall(Hypercall::CreateSemaphore, 0, AWAITED, [SELF, 0, 0, 0]);
    wrong |= context(SELF, CONTEXTS + 3, PAGES[3] | core, EVENTS);
    wrong |= portal(LEAF, CONTEXTS + 3, ACTORS[3].entry(), Mtd::empty(), 0x3333);
    let rights = Rights::ALL.without(abi::rights::SemaphoreRights::DOWN.into());
    let shared = Crd::objects(Selector::new(SHARED), 2, rights).unwrap_or(Crd::NULL);
    wrong |= hypercall(Hypercall::CreateDomain, 0, OTHER, [SELF, shared.word(), 64 << 32, 0]);
    // The whole program, at the same addresses, with the rights that its segments have here.
    let all = |page, order| Crd::memory(page, order, MemoryRights::all()).unwrap_or(Crd::NULL);
    let [range, control] = TypedItem::delegate(all(0, PROGRAM), ItemFlags::empty(), 0).words();
    for (index, value) in [(510, range), (511, control), (0, 1 << 16)] {
        word(ROOT_UTCB_ADDRESS, index).store(value, Relaxed);
    }
    wrong |= hypercall(Hypercall::Misc, 1, SELF, [all(0, 31).word(), OTHER, 0, 0]);
    wrong |= context(SELF, CONTEXTS + 1, PAGES[1] | core, EVENTS);
    wrong |= context(OTHER, CONTEXTS + 2, PAGES[2] | core, NO_EVENTS);
    wrong |= context(SELF, CONTEXTS + 5, PAGES[HANDLER] | core, NO_EVENTS);
    wrong |= portal(NEAR, CONTEXTS + 1, ACTORS[1].entry(), Mtd::empty(), 0x1111);
    wrong |= portal(FAR, CONTEXTS + 2, ACTORS[2].entry(), Mtd::empty(), 0x2222);
    wrong | demos::threads::spawn(0, core, 2, wait)
}
