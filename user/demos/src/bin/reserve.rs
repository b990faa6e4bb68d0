//! Large pages of a domain whose kernel memory is gone are divided.
//!
//! Purpose: when a part of a large page is taken, loses a right, gets one or is replaced, the rest stays with who has it,
//! even if he cannot pay for a table: he did when he got the large page. Counted in pages of kernel memory.
//! Written straight against the interface. Ends with success if every check holds.
//! Concurrency: the program's thread and the domain's server take turns.
// UNSAFETY: code that the kernel enters in another domain.
#![expect(unsafe_code, reason = "an entry point in assembly")]
#![no_std]
#![no_main]

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use abi::hip::ROOT_UTCB_ADDRESS;
use abi::item::ItemFlags;
use abi::rights::MemoryRights;
use abi::{Crd, Hypercall, Rights, Selector, TypedItem};
use demos::raw::{Checks, call, give, hypercall, memory, quota, word};
use rt::{Environment, ExitStatus};

rt::entry!(main);

/// Selectors: this domain; the poor one, its server and the portal to that.
const SELF: u64 = 32;
const POOR: u64 = 0x70;
const SERVER: u64 = 0x71;
const SERVE: u64 = 0x72;
/// Its message page, and where it has the large pages; this domain has them elsewhere.
const PAGE: u64 = 0x4000_0000;
const THERE: u64 = 0x1_0000_0000;
const HERE: u64 = 0x3_0000_0000;
/// Large pages that the hypervisor has, as an order, and pages of one.
const FIRST: u64 = 0x8000 << 12;
const ORDER: u32 = 12;
const PAGES: u64 = 1 << ORDER;
const LARGE: u64 = 512;
/// Kernel memory of the poor domain, in pages.
const QUOTA: u64 = 64;
/// Status of a quota that is exhausted.
const EXHAUSTED: u64 = 9;

#[repr(align(4096))]
struct Stack {
    _words: [AtomicU64; 1024],
}
static STACK: Stack = Stack { _words: [const { AtomicU64::new(0) }; 1024] };
/// Pages that the server leaves out, and what it has read of the others in all.
static HOLES: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];
static SUM: AtomicU64 = AtomicU64::new(0);
/// A page that it writes before, if it is not the first.
static WRITTEN: AtomicU64 = AtomicU64::new(0);

global_asm!("reserve_serve:", "call {serve}", "mov edi, 1", "syscall", serve = sym serve);
// SAFETY: defined above; only its address is used.
unsafe extern "C" {
    fn reserve_serve();
}

fn is_hole(page: u64) -> bool {
    HOLES[(page / 64) as usize].load(SeqCst) >> (page % 64) & 1 != 0
}

/// In the poor domain: reads all that it is to have. A fault would be its end: it has no handler.
extern "C" fn serve() {
    let number = |page: u64| word(THERE + (page << 12), 0);
    let page = WRITTEN.swap(0, SeqCst);
    if page != 0 {
        number(page).store(number(page).load(SeqCst), SeqCst);
    }
    SUM.store((0..PAGES).filter(|&page| !is_hole(page)).map(|page| number(page).load(SeqCst)).sum(), SeqCst);
}

/// Whether the poor domain has all but the holes, as this one has it, but for what is `more`.
fn has_all(more: u64) -> u64 {
    let expected: u64 = (0..PAGES).filter(|&page| !is_hole(page)).map(|page| page + 1).sum();
    u64::from(call(SERVE) & 0xFF == 0 && SUM.load(SeqCst) == expected.wrapping_add(more))
}

/// Delegates 2^`order` pages from `page` of this domain's large ones on, to where the poor domain has page `at`.
fn lend(page: u64, order: u32, at: u64, flags: ItemFlags) -> u64 {
    let item = TypedItem::delegate(memory(HERE + (page << 12), order), flags, (THERE >> 12) + at);
    give(ROOT_UTCB_ADDRESS, SELF, item, (POOR, memory(0, 31)))
}

/// Takes rights to 2^`order` pages from all to whom this domain has given them.
fn take(page: u64, order: u32, rights: MemoryRights) -> u64 {
    let range = Crd::memory((HERE >> 12) + page, order, rights).unwrap_or(Crd::NULL);
    hypercall(Hypercall::Revoke, 0, 0, [range.word(), 0, 0, 0])
}

/// Takes pages, which the server leaves out from then on.
fn punch(page: u64, order: u32) -> u64 {
    (page..page + (1 << order)).for_each(|page| _ = HOLES[(page / 64) as usize].fetch_or(1 << (page % 64), SeqCst));
    take(page, order, MemoryRights::all())
}

/// Takes from the poor domain what it does not use.
fn impoverish() -> u64 {
    let [limit, usage] = quota(POOR);
    hypercall(Hypercall::ControlDomain, 0, POOR, [SELF, limit - usage, 0, 0]) | (quota(POOR)[0] - usage)
}

fn set_up() -> u64 {
    let stack: *const Stack = &raw const STACK;
    let entry = (reserve_serve as *const ()).addr() as u64;
    let image = TypedItem::delegate(memory(0, 10), ItemFlags::empty(), 0);
    hypercall(Hypercall::CreateDomain, 0, POOR, [SELF, 0, QUOTA << 32, 0])
        | give(ROOT_UTCB_ADDRESS, SELF, image, (POOR, memory(0, 31)))
        | hypercall(Hypercall::CreateContext, 0, SERVER, [POOR, PAGE, stack.addr() as u64 + 8192, 0x200])
        | hypercall(Hypercall::CreatePortal, 0, SERVE, [SELF, SERVER, 0, entry])
        // What follows keeps the tables on the way to large pages in use.
        | lend(0, 9, 2 * PAGES, ItemFlags::GUEST)
}

/// Ends the poor domain.
fn tear_down() -> u64 {
    let range = Crd::objects(Selector::new(POOR), 2, Rights::ALL).unwrap_or(Crd::NULL);
    hypercall(Hypercall::Revoke, 1, 0, [range.word(), 0, 0, 0])
}

/// What one change to a part of a large page does to who has nothing to pay with.
fn change(checks: &mut Checks, what: &str, status: u64, more: u64) {
    checks.check(what, status, 0);
    checks.check("the rest is there", has_all(more), 1);
    let [limit, usage] = quota(POOR);
    checks.check("and nothing more was paid", limit - usage, 0);
}

fn divisions(checks: &mut Checks) {
    checks.check("all is there", has_all(0), 1);
    checks.check("a large page to read", take(3 * LARGE, 9, MemoryRights::WRITE), 0);
    checks.check("nothing is left to pay with", impoverish(), 0);
    change(checks, "a page goes", punch(5, 0), 0);
    change(checks, "one more", punch(6, 0), 0);
    change(checks, "some can be read only", take(LARGE + 8, 2, MemoryRights::WRITE), 0);
    change(checks, "the first goes", punch(2 * LARGE, 0), 0);
    change(checks, "the last goes", punch(3 * LARGE - 1, 0), 0);
    WRITTEN.store(3 * LARGE + 9, SeqCst);
    change(checks, "one can be written", lend(3 * LARGE + 9, 0, 3 * LARGE + 9, ItemFlags::RAISE), 0);
    // Page 5 comes where another one was.
    let (replaced, shown) = (4 * LARGE + 300, 5u64);
    let more = shown.wrapping_sub(replaced);
    change(checks, "one is another one", lend(shown, 0, replaced, ItemFlags::REPLACE), more);
    change(checks, "many go", punch(5 * LARGE + 128, 7), more);
    change(checks, "elsewhere, too", punch(6 * LARGE + 256, 7), more);
    checks.check("a large page is refused", lend(0, 9, PAGES, ItemFlags::empty()), EXHAUSTED);
    checks.check("one page to pay with", hypercall(Hypercall::ControlDomain, 0, SELF, [POOR, 1, 0, 0]), 0);
    checks.check("it arrives", lend(0, 9, PAGES, ItemFlags::empty()), 0);
    checks.check("and was paid for", impoverish(), 0);
}

/// Large pages, given with these flags, for which so many tables are paid.
fn paid(checks: &mut Checks, flags: ItemFlags, tables: u64) {
    let count = PAGES / LARGE * tables;
    // Up to 16 go a short way if they go to threads only; two items do not.
    for (order, what) in [(ORDER, "at once"), (9, "one by one")] {
        let before = quota(POOR)[1];
        let step = 1 << order;
        let lent: u64 = (0..PAGES / step).map(|at| lend(at * step, order, at * step, flags)).sum();
        checks.check(what, lent, 0);
        checks.check("as much is paid as for their tables", quota(POOR)[1] - before, count);
        checks.check("taken", take(0, ORDER, MemoryRights::WRITE) | take(0, ORDER, MemoryRights::all()), 0);
        checks.check("all but what keeps the tables", lend(0, 9, 2 * PAGES, ItemFlags::GUEST), 0);
        checks.check("it is given back", quota(POOR)[1], before);
    }
}

fn main(_: &Environment) -> ExitStatus {
    demos::announce("reserve", "large pages of a domain that cannot pay for tables");
    let mut checks = Checks::new("reserve");
    let item = TypedItem::delegate(memory(FIRST, ORDER), ItemFlags::HYPERVISOR, HERE >> 12);
    checks.check("large pages", give(ROOT_UTCB_ADDRESS, SELF, item, (SELF, memory(0, 31))), 0);
    (0..PAGES).for_each(|page| word(HERE + (page << 12), 0).store(page + 1, SeqCst));
    checks.check("once, for what stays", set_up() | tear_down(), 0);
    let before = quota(SELF);
    checks.check("set-up", set_up(), 0);
    paid(&mut checks, ItemFlags::empty(), 1);
    paid(&mut checks, ItemFlags::GUEST, 2);
    for flags in [ItemFlags::empty(), ItemFlags::GUEST] {
        HOLES.iter().for_each(|hole| hole.store(0, SeqCst));
        checks.check("large pages for the domain", lend(0, ORDER, 0, flags), 0);
        divisions(&mut checks);
        checks.check("all go", take(0, ORDER, MemoryRights::all()), 0);
        let pages = QUOTA - quota(POOR)[0];
        checks.check("pages to pay with", hypercall(Hypercall::ControlDomain, 0, SELF, [POOR, pages, 0, 0]), 0);
    }
    checks.check("the domain ends", tear_down(), 0);
    checks.check("all pages are returned", u64::from(quota(SELF) == before), 1);
    checks.finish()
}
