//! Typed items that say grant, copy, last, raise, replace, and how many: who can take back what, who can hand it on, and
//! what becomes of what is there.
//!
//! Written straight against the interface. Ends with success if every check holds. Concurrency: one thread.
#![no_std]
#![no_main]

use core::sync::atomic::Ordering::SeqCst;

use abi::hip::{Features, ROOT_UTCB_ADDRESS};
use abi::item::ItemFlags;
use abi::operation::RevokeFlags;
use abi::rights::MemoryRights;
use abi::{Crd, Hypercall, Rights, Selector, TypedItem};
use demos::raw::{Checks, answer, hypercall, object, registers, up, word, word32};
use rt::{Environment, ExitStatus};

rt::entry!(main);

const SELF: u64 = 32;
/// Semaphores, and where they are delegated to, in groups of eight.
const FIRST: u64 = 0x80;
/// Where pages are delegated to.
const PLACES: u64 = 0x7_0000;
/// Eight large pages that the hypervisor has.
const LARGE_PAGES: u64 = 0x8000;

#[repr(align(4096))]
struct Page([core::sync::atomic::AtomicU32; 1024]);
static PAGE: Page = Page([const { core::sync::atomic::AtomicU32::new(0) }; 1024]);
static SECOND: Page = Page([const { core::sync::atomic::AtomicU32::new(0) }; 1024]);

fn page(number: u64) -> Crd {
    page_with(number, MemoryRights::READ | MemoryRights::WRITE)
}

fn page_with(number: u64, rights: MemoryRights) -> Crd {
    Crd::memory(number, 0, rights).unwrap_or(Crd::NULL)
}

/// What may be done with what is at `range`.
fn rights(range: Crd) -> u64 {
    let [_, found, _] = answer(Hypercall::Misc, 0, SELF, [range.word(), 0, 0, 0]);
    Crd::from_word(found).rights().bits().into()
}

/// Hands `from` on within the program's own domain, to `to`.
fn give(from: Crd, to: Crd, flags: ItemFlags) -> u64 {
    hand_on(TypedItem::delegate(from, flags, 0), to)
}

/// As [`give`], with a limit to the number of mappings.
fn give_limited(from: Crd, to: Crd, limit: u8) -> u64 {
    hand_on(TypedItem::delegate(from, ItemFlags::empty(), 0).limited(limit), to)
}

fn hand_on(item: TypedItem, to: Crd) -> u64 {
    let [first, second] = item.words();
    word(ROOT_UTCB_ADDRESS, 510).store(first, SeqCst);
    word(ROOT_UTCB_ADDRESS, 511).store(second, SeqCst);
    word(ROOT_UTCB_ADDRESS, 0).store(1 << 16, SeqCst);
    hypercall(Hypercall::Misc, 1, SELF, [to.word(), SELF, 0, 0])
}

/// Whether the domain has anything at `range`.
fn has(range: Crd) -> u64 {
    let [status, found, _] = answer(Hypercall::Misc, 0, SELF, [range.word(), 0, 0, 0]);
    u64::from(status & 0xFF == 0 && !Crd::from_word(found).is_null())
}

/// The lecture's tree (C:417): `map (rw, 5)` makes `[rwx, 5] -> [rw, 5], [r, 2]` of `[rwx, 10] -> [r, 2]`, where the first
/// number is what its owner has left to give.
fn limited(checks: &mut Checks) {
    let own = page((&raw const PAGE).addr() as u64 >> 12);
    let at = |unit| page(PLACES + 0x100 + unit);
    checks.check("13 mappings", give_limited(own, at(0), 13), 0);
    let read = page_with(PLACES + 0x100, MemoryRights::READ);
    checks.check("2 of them, to read", give_limited(read, at(1), 2), 0);
    checks.check("5, to write", give_limited(at(0), at(2), 5), 0);
    checks.check("have their rights", rights(at(1)) << 4 | rights(at(2)), 1 << 4 | 3);
    checks.check("5 are left", (3..8).map(|unit| give(at(0), at(unit), ItemFlags::empty())).sum(), 0);
    checks.check("each can be given", (3..8).map(|unit| has(at(unit))).sum(), 5);
    checks.check("a sixth", give(at(0), at(8), ItemFlags::empty()), 0);
    checks.check("does not arrive", has(at(8)), 0);
    checks.check("2 are one more", give(at(1), at(9), ItemFlags::empty()) | give(at(1), at(10), ItemFlags::empty()), 0);
    checks.check("not two", has(at(9)) << 4 | has(at(10)), 1 << 4);
    checks.check("1 is none", give(at(9), at(11), ItemFlags::empty()), 0);
    checks.check("no more", has(at(11)), 0);
    checks.check("what goes", revoke(at(2), true), 0);
    checks.check("makes room", give_limited(at(0), at(8), 31) << 4 | has(at(8)), 1);
    checks.check("for 5", (12..17).map(|unit| give(at(8), at(unit), ItemFlags::empty())).sum(), 0);
    checks.check("with itself", (12..17).map(|unit| has(at(unit))).sum(), 4);
    checks.check("the giver takes back", revoke(own, false), 0);
    checks.check("all", (0..17).map(|unit| has(at(unit))).sum(), 0);
}

/// Takes back what was handed on from `range`, and `range` itself if `own`.
fn revoke(range: Crd, own: bool) -> u64 {
    hypercall(Hypercall::Revoke, own.into(), 0, [range.word(), 0, 0, 0])
}

fn main(environment: &Environment) -> ExitStatus {
    demos::announce("items", "grant, copy, last, raise, replace, limits");
    let mut checks = Checks::new("items");
    let announced = environment.hip().header().features.contains(Features::ITEM_FORMS);
    checks.check("the extension is announced", announced.into(), 1);
    copies(&mut checks);
    grants(&mut checks);
    last(&mut checks);
    pages(&mut checks);
    let announced = environment.hip().header().features.contains(Features::OVERMAPPING);
    checks.check("overmapping is announced", announced.into(), 1);
    raised(&mut checks);
    replaced(&mut checks);
    let announced = environment.hip().header().features.contains(Features::EVIDENCE);
    checks.check("accessed and dirty bits are announced", announced.into(), 1);
    noted(&mut checks);
    let announced = environment.hip().header().features.contains(Features::REPORT);
    checks.check("reports are announced", announced.into(), 1);
    reported(&mut checks);
    let announced = environment.hip().header().features.contains(Features::LIMITS);
    checks.check("limits are announced", announced.into(), 1);
    limited(&mut checks);
    blocked(&mut checks);
    checks.finish()
}

/// A semaphore at the first of eight selectors, and those selectors.
fn group(checks: &mut Checks, number: u64) -> [u64; 5] {
    let at = [0, 1, 2, 3, 4].map(|offset| FIRST + 8 * number + offset);
    checks.check("a semaphore", hypercall(Hypercall::CreateSemaphore, 0, at[0], [SELF, 0, 0, 0]), 0);
    checks.check("delegated", give(object(at[0]), object(at[1]), ItemFlags::empty()), 0);
    at
}

fn copies(checks: &mut Checks) {
    let at = group(checks, 0);
    checks.check("copied", give(object(at[1]), object(at[2]), ItemFlags::COPY), 0);
    checks.check("the copy is there", up(at[2]), 0);
    checks.check("who copied goes", revoke(object(at[1]), true), 0);
    checks.check("and takes nothing along", has(object(at[1])) << 4 | has(object(at[2])), 1);
    checks.check("the giver takes back", revoke(object(at[0]), false), 0);
    checks.check("the copy, too", has(object(at[0])) << 4 | has(object(at[2])), 1 << 4);
    checks.check("a copy of what comes from nobody", give(object(at[0]), object(at[3]), ItemFlags::COPY), 0);
    checks.check("does not arrive", has(object(at[3])), 0);
}

fn grants(checks: &mut Checks) {
    let at = group(checks, 1);
    checks.check("delegated further", give(object(at[1]), object(at[2]), ItemFlags::empty()), 0);
    checks.check("granted", give(object(at[1]), object(at[3]), ItemFlags::GRANT), 0);
    checks.check("it has moved", has(object(at[1])) << 4 | up(at[3]), 0);
    checks.check("who has it from there keeps it", up(at[2]), 0);
    checks.check("the receiver takes back", revoke(object(at[3]), false), 0);
    checks.check("what was handed on before", has(object(at[2])) << 4 | has(object(at[3])), 1);
    checks.check("the giver takes back", revoke(object(at[0]), false), 0);
    checks.check("what was granted", has(object(at[3])), 0);
}

fn last(checks: &mut Checks) {
    let at = group(checks, 2);
    checks.check("delegated as the last", give(object(at[0]), object(at[2]), ItemFlags::LAST), 0);
    checks.check("it is there", up(at[2]), 0);
    checks.check("and is delegated", give(object(at[2]), object(at[3]), ItemFlags::empty()), 0);
    checks.check("or copied", give(object(at[2]), object(at[3]), ItemFlags::COPY), 0);
    checks.check("which does nothing", has(object(at[3])), 0);
    checks.check("and granted", give(object(at[2]), object(at[3]), ItemFlags::GRANT), 0);
    checks.check("which moves it", has(object(at[2])) << 4 | has(object(at[3])), 1);
    checks.check("it is still the last", give(object(at[3]), object(at[4]), ItemFlags::empty()), 0);
    checks.check("to its new owner, too", has(object(at[4])), 0);
}

fn pages(checks: &mut Checks) {
    let own = (&raw const PAGE).addr() as u64 >> 12;
    PAGE.0[5].store(0x1234, SeqCst);
    checks.check("a page, delegated", give(page(own), page(PLACES), ItemFlags::empty()), 0);
    checks.check("and granted to another place", give(page(PLACES), page(PLACES + 1), ItemFlags::GRANT), 0);
    checks.check("it is there only", has(page(PLACES)) << 4 | has(page(PLACES + 1)), 1);
    checks.check("and shows the same", word32(((PLACES + 1) << 12) + 20).load(SeqCst).into(), 0x1234);
    checks.check("copied", give(page(PLACES + 1), page(PLACES + 2), ItemFlags::COPY), 0);
    checks.check("the copied one goes", revoke(page(PLACES + 1), true), 0);
    checks.check("the copy shows the same", word32(((PLACES + 2) << 12) + 20).load(SeqCst).into(), 0x1234);
    checks.check("the owner takes back", revoke(page(own), false), 0);
    checks.check("nothing is left", has(page(PLACES + 1)) << 4 | has(page(PLACES + 2)), 0);
    checks.check("but its own", PAGE.0[5].load(SeqCst).into(), 0x1234);
}

/// A message page, of which the tree knows nothing: what is delegated to where it is goes round it, and it stays.
fn blocked(checks: &mut Checks) {
    let (there, context) = (PLACES << 1, FIRST + 8 * 5);
    let (message, rights) = (there + 7 * 512 + 5, MemoryRights::READ | MemoryRights::WRITE);
    let range = |base, order| Crd::memory(base, order, rights).unwrap_or(Crd::NULL);
    let give_large = |at: u64, order| {
        let from = range(LARGE_PAGES + (at - there), order);
        hand_on(TypedItem::delegate(from, ItemFlags::HYPERVISOR, 0), range(at, order))
    };
    let create = |at: u64| hypercall(Hypercall::CreateContext, 0, context, [SELF, at << 12, 0, 0]);
    let is_left_out = || has(page(message)) << 16 | word(message << 12, 9).load(SeqCst);
    let own = page((&raw const PAGE).addr() as u64 >> 12);
    checks.check("a context", create(message), 0);
    word(message << 12, 9).store(0x1234, SeqCst);
    for (what, from, flags) in [
        ("a page for where its message page is", own, ItemFlags::empty()),
        ("to raise", own, ItemFlags::RAISE),
        ("to replace", own, ItemFlags::REPLACE),
        ("the hypervisor's", page(LARGE_PAGES), ItemFlags::HYPERVISOR),
    ] {
        checks.check(what, give(from, page(message), flags), 0);
        checks.check("is left out", is_left_out(), 0x1234);
    }
    checks.check("lent", give(own, page(there), ItemFlags::empty()), 0);
    for flags in [ItemFlags::COPY, ItemFlags::GRANT] {
        checks.check("copied or granted", give(page(there), page(message), flags), 0);
        checks.check("is left out", is_left_out(), 0x1234);
        checks.check("and stays where it was", has(page(there)), 1);
    }
    checks.check("which goes", revoke(own, false), 0);
    checks.check("nothing was accessed", evidence(there, false), 0);
    for (what, base, order) in
        [("large pages", there, 12), ("one", message - 5, 9), ("small ones", message - 5, 4), ("few", message - 1, 2)]
    {
        checks.check(what, give_large(base, order), 0);
        checks.check("arrive", has(page(base)) << 4 | has(page(base + (1 << order) - 1)), 0x11);
        checks.check("round it", is_left_out() | has(page(message - 1)) << 20, 1 << 20 | 0x1234);
        word((message - 1) << 12, 9).store(0x88, SeqCst);
        word((base + (1 << order) - 1) << 12, 9).store(0x99, SeqCst);
        checks.check("and can be used", word((message - 1) << 12, 9).load(SeqCst), 0x88);
        checks.check("once more", give_large(base, order), 0);
        checks.check("nothing is new", is_left_out(), 0x1234);
        checks.check("they go", revoke(range(base, order), true), 0);
        checks.check("it does not", is_left_out() | has(page(message - 1)) << 20, 0x1234);
    }
    checks.check("the context goes", revoke(object(context), true), 0);
    checks.check("nothing is in the way", give_large(there, 12), 0);
    checks.check("of any", has(page(message)), 1);
    let last = word((there + 7 * 512 + 511) << 12, 0);
    last.store(7, SeqCst);
    checks.check("all is there", last.load(SeqCst), 7);
    checks.check("no place for a message page", create(message) & 0xFF, 5);
    checks.check("of a context", has(object(context)), 0);
    last.store(8, SeqCst);
    checks.check("it is still there", last.load(SeqCst) << 4 | has(page(message)), 0x81);
    checks.check("and goes", revoke(range(there, 12), true), 0);
    checks.check("then there is a place", create(message), 0);
    checks.check("until the context goes", revoke(object(context), true), 0);
}

/// More rights to what is there.
fn raised(checks: &mut Checks) {
    let own = (&raw const PAGE).addr() as u64 >> 12;
    let (at, other) = (PLACES + 3, PLACES + 4);
    checks.check("to read", give(page_with(own, MemoryRights::READ), page(at), ItemFlags::empty()), 0);
    checks.check("it was read", word32((at << 12) + 20).load(SeqCst).into(), 0x1234);
    checks.check("once more, to write", give(page(own), page(at), ItemFlags::empty()), 0);
    checks.check("which does nothing", rights(page(at)), 1);
    checks.check("unless it is asked for", give(page(own), page(at), ItemFlags::RAISE), 0);
    checks.check("the right is there", rights(page(at)), 3);
    word32((at << 12) + 24).store(0x77, SeqCst);
    checks.check("and can be used", PAGE.0[6].load(SeqCst).into(), 0x77);
    checks.check(
        "not by who has not given it",
        give(page_with(own, MemoryRights::READ), page(other), ItemFlags::empty()),
        0,
    );
    checks.check("from elsewhere", give(page(at), page(other), ItemFlags::RAISE), 0);
    checks.check("nothing comes", rights(page(other)), 1);
    checks.check("what is raised is taken like the rest", revoke(page(own), false), 0);
    checks.check("all of it", has(page(at)) << 4 | has(page(other)), 0);
    let at = group(checks, 3);
    let weak = Crd::objects(Selector::new(at[0]), 0, Rights::new(2)).unwrap_or(Crd::NULL);
    checks.check("a semaphore without up", give(weak, object(at[2]), ItemFlags::empty()), 0);
    checks.check("has no up", up(at[2]) & 0xFF, 4);
    checks.check("raised", give(object(at[0]), object(at[2]), ItemFlags::RAISE), 0);
    checks.check("has it", up(at[2]), 0);
}

/// Something else where something is.
fn replaced(checks: &mut Checks) {
    let (own, second) = ((&raw const PAGE).addr() as u64 >> 12, (&raw const SECOND).addr() as u64 >> 12);
    let (at, below) = (PLACES + 5, PLACES + 6);
    SECOND.0[5].store(0x5678, SeqCst);
    checks.check("a page", give(page(own), page(at), ItemFlags::empty()), 0);
    checks.check("handed on", give(page(at), page(below), ItemFlags::empty()), 0);
    let shown = || u64::from(word32((at << 12) + 20).load(SeqCst));
    checks.check("is seen", shown(), 0x1234);
    checks.check("another one", give(page(second), page(at), ItemFlags::RAISE), 0);
    checks.check("does not come", shown(), 0x1234);
    checks.check("unless it is to replace", give(page(second), page(at), ItemFlags::REPLACE), 0);
    checks.check("then it is there", shown(), 0x5678);
    checks.check("what was handed on is gone", has(page(below)), 0);
    checks.check("the first stays where it comes from", PAGE.0[5].load(SeqCst).into(), 0x1234);
    checks.check("its owner has nothing to take", revoke(page(own), false), 0);
    checks.check("there", shown(), 0x5678);
    checks.check("the new one's has", revoke(page(second), false), 0);
    checks.check("nothing is left", has(page(at)), 0);
    // Of two pages the second is there already, as it would be given.
    let (two, there) = (LARGE_PAGES + 4, PLACES + 0x20);
    let rights = MemoryRights::READ | MemoryRights::WRITE;
    let [from, to] = [two, there].map(|base| Crd::memory(base, 1, rights).unwrap_or(Crd::NULL));
    checks.check("a page", give(page(own), page(there), ItemFlags::empty()), 0);
    checks.check("and another beside it", give(page(two + 1), page(there + 1), ItemFlags::HYPERVISOR), 0);
    checks.check("both are given", give(from, to, ItemFlags::HYPERVISOR | ItemFlags::REPLACE), 0);
    checks.check("what went is replaced", has(page(there)) << 4 | has(page(there + 1)), 0x11);
    checks.check("by what was given", revoke(page(own), false), 0);
    checks.check("which stays", has(page(there)), 1);
    checks.check("until it goes", revoke(to, true), 0);
}

/// What the processor has noted of eight pages from `first` on, accessed in the low byte and dirty in the next; cleared if asked.
fn evidence(first: u64, clear: bool) -> u64 {
    let range = Crd::memory(first, 3, MemoryRights::READ).unwrap_or(Crd::NULL);
    let [status, accessed, dirty] = answer(Hypercall::Misc, 4, SELF, [range.word(), clear.into(), 0, 0]);
    status << 16 | dirty << 8 | accessed
}

/// Accessed and dirty bits.
fn noted(checks: &mut Checks) {
    let (own, first) = ((&raw const PAGE).addr() as u64 >> 12, PLACES + 8);
    for at in [1, 4] {
        checks.check("a page", give(page(own), page(first + at), ItemFlags::empty()), 0);
    }
    let at = |page: u64| word32(((first + page) << 12) + 20);
    checks.check("nothing is noted", evidence(first, false), 0);
    checks.check("read", at(1).load(SeqCst).into(), 0x1234);
    checks.check("is noted", evidence(first, false), 2);
    at(4).store(0x1234, SeqCst);
    checks.check("written, too", evidence(first, true), 0x1012);
    checks.check("and cleared", evidence(first, false), 0);
    at(4).store(0x1234, SeqCst);
    checks.check("noted again", evidence(first, true), 0x1010);
    checks.check("read again", at(4).load(SeqCst).into(), 0x1234);
    checks.check("is not written", evidence(first, true), 0x10);
    let refused = |crd: Crd, domain| hypercall(Hypercall::Misc, 4, domain, [crd.word(), 0, 0, 0]) & 0xFF;
    let many = Crd::memory(first, 7, MemoryRights::READ).unwrap_or(Crd::NULL);
    checks.check("too many pages", refused(many, SELF), 5);
    checks.check("no memory", refused(object(SELF), SELF), 5);
    checks.check("no domain", refused(page(first), SELF + 1), 4);
    checks.check("beyond the end", refused(page(1 << 40), SELF), 5);
    checks.check("the pages go", revoke(page(own), false), 0);
    checks.check("with what was noted", evidence(first, true), 0);
}

/// What a revocation of what was made from `range` says was noted of it, above its status.
fn report(range: Crd) -> u64 {
    let [status, _, _, noted] = registers(Hypercall::Revoke, RevokeFlags::REPORT.bits(), 0, [range.word(), 0, !0, 0]);
    noted << 8 | status
}

/// Accessed and dirty bits of what a revocation takes.
fn reported(checks: &mut Checks) {
    let (own, first) = ((&raw const PAGE).addr() as u64 >> 12, PLACES + 16);
    let at = |page: u64| word32(((first + page) << 12) + 20);
    let lend = |checks: &mut Checks, count: u64| {
        let lent = (0..count).map(|place| give(page(own), page(first + place), ItemFlags::empty())).sum();
        checks.check("pages", lent, 0);
    };
    lend(checks, 2);
    checks.check("of what nobody has used nothing is told", report(page(own)), 0);
    lend(checks, 2);
    checks.check("read", at(1).load(SeqCst).into(), 0x1234);
    checks.check("is told", report(page(own)), 1 << 8);
    lend(checks, 3);
    at(2).store(0x1234, SeqCst);
    checks.check("written, too", report(page(own)), 3 << 8);
    lend(checks, 1);
    at(0).store(0x1234, SeqCst);
    checks.check("also if only a right goes", report(page_with(own, MemoryRights::WRITE)), 3 << 8);
    checks.check("then it begins anew", report(page_with(own, MemoryRights::READ)), 0);
    lend(checks, 40);
    at(39).store(0x1234, SeqCst);
    checks.check("one of many", report(page(own)), 3 << 8);
    let at = group(checks, 4);
    checks.check("objects have nothing to tell", report(object(at[0])), 0);
    checks.check("but go", has(object(at[1])), 0);
}
