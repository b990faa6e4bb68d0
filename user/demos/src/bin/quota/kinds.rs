//! What a domain was given and used on all cores is taken back: its account is what it was before.
//!
//! Purpose: nothing stays in use of what a delegation took, whatever was delegated: no table, no page of capabilities, no
//! bitmap of ports. And what is left of delegations that were taken back is no obstacle to others elsewhere, whichever way
//! they come.
//! Invariants: each is done twice, so that what the cores remember of the first is in the way of the second if it can be.
//! Concurrency: a server on each core, called one after the other.
//! Source: issue of the memory system; `docs/src/decisions/0002-table-pages.md`.
use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use abi::hip::ROOT_UTCB_ADDRESS;
use abi::item::ItemFlags;
use abi::{Crd, Hypercall, Rights, Selector, TypedItem};
use demos::raw::{Checks, answer, call, give, hypercall, memory, object, quota, up, word};

use super::{EXHAUSTED, SELF};

/// Selectors: the domain; its servers and their portals; a semaphore.
const USER: u64 = 0x80;
const SERVERS: u64 = 0x90;
const SEMAPHORE: u64 = 0x81;
const CORES: u64 = 4;
/// First of the servers' message pages.
const PAGES: u64 = 0x4000_0000;
/// Kernel memory of the domain, in pages.
const QUOTA: u64 = 64;
/// Where it is given something.
const PLACE: u64 = 0x3_0000_0000;
/// Where this domain has a large page, and the hypervisor.
const OWN: u64 = 0x1_0000_0000;
const PHYSICAL: u64 = 0x800_0000;
const LARGE: u32 = 9;
/// Ports that show how far firmware has come.
const PORT: u64 = 0x80;
/// A selector in a table of its own.
const FAR: u64 = 0x10_0000;
/// Places that are used one after the other: more than there are pages.
const PLACES: u64 = 3 * QUOTA;

#[repr(align(4096))]
struct Stacks([[AtomicU64; 512]; CORES as usize]);
static STACKS: Stacks = Stacks([const { [const { AtomicU64::new(0) }; 512] }; CORES as usize]);
#[repr(align(4096))]
struct Lent([[AtomicU64; 512]; 2]);
/// What is lent: its first word says which page it is.
static LENT: Lent = Lent([const { [const { AtomicU64::new(0) }; 512] }; 2]);
/// What the servers do, with what, and what they have found.
static ACT: AtomicU64 = AtomicU64::new(0);
static AT: AtomicU64 = AtomicU64::new(0);
static FOUND: AtomicU64 = AtomicU64::new(0);
const LOAD: u64 = 1;
const IN: u64 = 2;
const UP: u64 = 3;

global_asm!("quota_use:", "call {act}", "mov edi, 1", "syscall", act = sym act);
// SAFETY: defined above; only its address is used.
unsafe extern "C" {
    fn quota_use();
}

/// In the domain: uses what it was given; takes what is given to it next anywhere.
extern "C" fn act(page: u64) {
    word(page, 2).store(memory(0, 31).word(), SeqCst);
    let at = AT.load(SeqCst);
    let found = match ACT.load(SeqCst) {
        LOAD => word(at, 0).load(SeqCst),
        UP => up(at),
        IN => {
            // SAFETY: the port says how far the firmware has come, and does nothing.
            unsafe { asm!("in al, dx", in("dx") at as u16, out("al") _, options(nomem, nostack)) };
            0
        }
        _ => 0,
    };
    FOUND.fetch_add(found, SeqCst);
}

/// Has the servers of so many cores use what is at `at`; the sum of what they find.
fn used(cores: u64, act: u64, at: u64) -> u64 {
    ACT.store(act, SeqCst);
    AT.store(at, SeqCst);
    FOUND.store(0, SeqCst);
    let failed = (0..cores).fold(0, |failed, core| failed | call(SERVERS + 2 * core + 1) & 0xFF);
    if failed == 0 { FOUND.load(SeqCst) } else { u64::MAX }
}

/// Address of page `number` of what is lent.
fn lent(number: u64) -> u64 {
    LENT.0[number as usize % 2].as_ptr().addr() as u64
}

fn lend(range: Crd, flags: ItemFlags, to: u64, window: Crd) -> u64 {
    give(ROOT_UTCB_ADDRESS, SELF, TypedItem::delegate(range, flags, to), (USER, window))
}

fn lend_memory(from: u64, order: u32, flags: ItemFlags, to: u64) -> u64 {
    lend(memory(from, order), flags, to >> 12, memory(0, 31))
}

fn take(range: Crd) -> u64 {
    hypercall(Hypercall::Revoke, 0, 0, [range.word(), 0, 0, 0])
}

fn ports() -> Crd {
    Crd::ports(PORT as u16, 3).unwrap_or(Crd::NULL)
}

/// The window for a capability at `selector`.
fn slot(selector: u64) -> Crd {
    Crd::objects(Selector::new(selector), 0, Rights::ALL).unwrap_or(Crd::NULL)
}

/// A domain with a server on each core.
fn set_up(cores: u64) -> u64 {
    let mut wrong = hypercall(Hypercall::CreateDomain, 0, USER, [SELF, 0, QUOTA << 32, 0]);
    wrong |= hypercall(Hypercall::CreateSemaphore, 0, SEMAPHORE, [SELF, 0, 0, 0]);
    wrong |= lend_memory(0, 10, ItemFlags::empty(), 0);
    let large = TypedItem::delegate(memory(PHYSICAL, LARGE), ItemFlags::HYPERVISOR, OWN >> 12);
    wrong |= give(ROOT_UTCB_ADDRESS, SELF, large, (SELF, memory(0, 31)));
    let entry = (quota_use as *const ()).addr() as u64;
    for core in 0..cores {
        let (server, page) = (SERVERS + 2 * core, PAGES + (core << 12));
        let stack = STACKS.0[core as usize].as_ptr().addr() as u64 + 4096;
        wrong |= hypercall(Hypercall::CreateContext, 0, server, [USER, page | core, stack, 0x200]);
        wrong |= hypercall(Hypercall::CreatePortal, 0, server + 1, [USER, server, 0, entry]);
        wrong |= hypercall(Hypercall::ControlPortal, 0, server + 1, [page, 0, 0, 0]);
    }
    for number in 0..2 {
        word(lent(number), 0).store(number + 1, SeqCst);
    }
    word(OWN, 0).store(1, SeqCst);
    // What stays of calls: proxies, which this domain pays for.
    wrong | used(cores, 0, 0)
}

/// Takes what [`set_up`] has made.
fn tear_down() -> u64 {
    let range = Crd::objects(Selector::new(USER), 5, Rights::ALL).unwrap_or(Crd::NULL);
    let large = hypercall(Hypercall::Revoke, 1, 0, [memory(OWN, LARGE).word(), 0, 0, 0]);
    large | hypercall(Hypercall::Revoke, 1, 0, [range.word(), 0, 0, 0])
}

/// Lends something, which is used as `sum` says, and takes it back: twice, each time all is returned.
fn kind(
    checks: &mut Checks,
    what: &str,
    lends: impl Fn(u64) -> u64,
    uses: impl Fn(u64) -> bool,
    takes: impl Fn(u64) -> u64,
) {
    for round in 0..2 {
        let before = quota(USER);
        checks.check(what, lends(round), 0);
        checks.check("is used on all cores", u64::from(uses(round)), 1);
        checks.check("is paid for", u64::from(quota(USER)[1] > before[1]), 1);
        checks.check("is taken", takes(round), 0);
        checks.check("all is returned", u64::from(quota(USER) == before), 1);
    }
}

/// All kinds, on so many cores.
fn kinds(checks: &mut Checks, cores: u64) {
    let none = ItemFlags::empty();
    let is_page = |round: u64| used(cores, LOAD, PLACE) == cores * (round + 1);
    let is_large = |_| used(cores, LOAD, PLACE) == cores;
    let take_page = |round| take(memory(lent(round), 0));
    kind(checks, "a page", |round| lend_memory(lent(round), 0, none, PLACE), is_page, take_page);
    let take_large = |_| take(memory(OWN, LARGE));
    kind(checks, "a large page", |_| lend_memory(OWN, LARGE, none, PLACE), is_large, take_large);
    let divided = |_| lend_memory(OWN, LARGE, none, PLACE) | take(memory(OWN + (5 << 12), 0));
    kind(checks, "a large page without one", divided, is_large, take_large);
    let both = |round| lend_memory(lent(round), 0, none, PLACE) | lend_memory(OWN, LARGE, none, PLACE + (2 << 30));
    kind(checks, "both", both, is_page, |round| take_page(round) | take_large(round));
    kind(
        checks,
        "ports",
        |_| lend(ports(), none, 0, Crd::ALL_PORTS),
        |_| used(cores, IN, PORT) == 0,
        |_| take(ports()),
    );
    let give_up = |_| lend(object(SEMAPHORE), none, FAR, slot(FAR));
    kind(checks, "a semaphore", give_up, |_| used(cores, UP, FAR) == 0, |_| take(object(SEMAPHORE)));
    let to_guests = |round| lend_memory(lent(round), 0, ItemFlags::GUEST, PLACE);
    kind(checks, "memory of guests", to_guests, is_page, take_page);
    let ports_of_guests = |_| lend(ports(), ItemFlags::GUEST, 0, Crd::ALL_PORTS);
    kind(checks, "ports of guests", ports_of_guests, |_| used(cores, IN, PORT) == 0, |_| take(ports()));
}

/// Places that are given and taken one after the other, by `lends`: how often with success.
fn places(lends: impl Fn(u64) -> u64, taken: Crd) -> u64 {
    (0..PLACES).filter(|&place| lends(place) | take(taken) == 0).count() as u64
}

/// Passes a page of this domain as an item of a call.
fn pass(portal: u64, to: u64) -> u64 {
    let [first, second] = TypedItem::delegate(memory(lent(0), 0), ItemFlags::empty(), to >> 12).words();
    word(ROOT_UTCB_ADDRESS, 510).store(first, SeqCst);
    word(ROOT_UTCB_ADDRESS, 511).store(second, SeqCst);
    word(ROOT_UTCB_ADDRESS, 0).store(1 << 16, SeqCst);
    let status = call(portal) & 0xFF;
    word(ROOT_UTCB_ADDRESS, 0).store(0, SeqCst);
    status
}

/// More places than there are pages, none of which are asked for in between.
fn elsewhere(checks: &mut Checks, cores: u64) {
    let before = quota(USER);
    let (page, none) = (memory(lent(0), 0), ItemFlags::empty());
    let gigabyte = |place: u64| PLACE + (place << 30);
    checks.check(
        "pages, each in tables of its own",
        places(|at| lend_memory(lent(0), 0, none, gigabyte(at)), page),
        PLACES,
    );
    checks.check("all is returned", u64::from(quota(USER) == before), 1);
    let far = |place: u64| lend(object(SEMAPHORE), none, FAR + 512 * place, slot(FAR + 512 * place));
    checks.check("capabilities, each in a page of its own", places(far, object(SEMAPHORE)), PLACES);
    checks.check("all is returned", u64::from(quota(USER) == before), 1);
    let guests = |place: u64| lend_memory(lent(0), 0, ItemFlags::GUEST, gigabyte(place));
    checks.check("pages of guests", places(guests, page), PLACES);
    ACT.store(0, SeqCst);
    checks.check("pages that come with calls", places(|at| pass(SERVERS + 1, gigabyte(at)), page), PLACES);
    let last = SERVERS + 2 * cores - 1;
    checks.check("and with calls from another core", places(|at| pass(last, gigabyte(at)), page), PLACES);
    checks.check("all is returned", u64::from(quota(USER) == before), 1);
    // What is in use is an obstacle.
    let lends = |at: &u64| lend_memory(lent(0), 0, none, gigabyte(*at));
    let full = (0..PLACES).map(|at| lends(&at)).find(|&status| status != 0);
    checks.check("without taking back", full.unwrap_or(0), EXHAUSTED);
    checks.check("taken back", take(page), 0);
    // Moves it away, and back.
    let moves = |from, to, pages| hypercall(Hypercall::ControlDomain, 0, from, [to, pages, 0, 0]);
    let spare = before[0] - before[1];
    checks.check("what it had left is handed on", moves(USER, SELF, spare), 0);
    let empty = answer(Hypercall::ControlDomain, 2, USER, [0; 4]);
    checks.check("and nothing more", u64::from(empty == [0, before[1], before[1]]), 1);
    checks.check("and comes back", moves(SELF, USER, spare), 0);
    checks.check("all is returned", u64::from(quota(USER) == before), 1);
}

/// All of it, on so many cores.
pub fn run(checks: &mut Checks, cores: usize) {
    let cores = (cores as u64).min(CORES);
    checks.check("a domain on all cores", set_up(cores), 0);
    kinds(checks, cores);
    elsewhere(checks, cores);
    checks.check("it ends", tear_down(), 0);
}
