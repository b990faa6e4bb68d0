//! `revoke` and `misc`: taking back, looking up, delegating; suspending where it is refused.
#![no_std]
#![no_main]

use abi::Hypercall::{ControlSemaphore, Misc, Revoke};
use abi::Status::{BadCapability, BadCpu, BadParameter, QuotaExhausted, Success};
use abi::counter::Counter;
use abi::item::{ItemFlags, ItemKind};
use abi::rights::MemoryRights;
use abi::{Crd, TypedItem};
use conformance::Report;
use conformance::sys::{
    EMPTY, ROOT, ROOT_EC, Registers, acquire, delegate, down, give, hypercall, lookup, memory, message, objects, own,
    revoke, time_stamp, up, word,
};
use conformance::world::{World, ask, drain};
use core::sync::atomic::Ordering::SeqCst;
use rt::{Environment, ExitStatus};

rt::entry!(main);

/// Where the other domain sees a page, and where this one does.
const THERE: u64 = 0x50_0000;
const HERE: u64 = 0x51_0000;
/// A page of physical memory that is free on every machine that the suite runs on.
const FREE: u64 = 0x3000;

fn main(environment: &Environment) -> ExitStatus {
    let mut report = Report::new("spaces", environment);
    report.group("rights", rights);
    report.group("descendants", descendants);
    report.group("remote", remote);
    report.group("keep", keep);
    report.group("notify", notify);
    report.group("memory", pages);
    report.group("lookup", lookups);
    report.group("delegation", delegation);
    report.group("items", items);
    report.group("suspend", suspend);
    report.finish()
}

fn rights(t: &mut Report, world: &mut World) {
    let block = world.block();
    for taken in 0..4_u8 {
        let (at, copy) = (world.semaphore(1), block + u64::from(taken));
        world.hand(at, 0x1F, ROOT, copy);
        let found = revoke(0, objects(at, 0, taken), 0);
        t.status(Revoke, "local", Success, "some rights of what was derived", found);
        let expected = |bit| if taken & bit == 0 { Success } else { BadCapability };
        t.status(ControlSemaphore, "up", expected(1), "of the copy", up(copy));
        t.status(ControlSemaphore, "down", expected(2), "of the copy", down(copy, 1));
        t.status(ControlSemaphore, "up", Success, "the own mapping stays", up(at));
        let found = revoke(1, objects(at, 0, taken), 0);
        t.status(Revoke, "self", Success, "some rights of the own mapping", found);
        t.status(ControlSemaphore, "up", expected(1), "of the own", up(at));
    }
    t.status(Revoke, "report", Success, "of objects", revoke(8, objects(block, 0, 0x1F), 0));
    t.status(Revoke, "report", Success, "of nothing", revoke(8, memory(EMPTY << 12, 0, MemoryRights::all()), 0));
    t.status(Revoke, "local", Success, "of nothing", revoke(0, objects(EMPTY, 0, 0x1F), 0));
    t.status(Revoke, "self", Success, "of nothing", revoke(1, objects(EMPTY, 4, 0x1F), 0));
    t.status(Revoke, "self", Success, "of the null range", revoke(1, Crd::NULL, 0));
    t.status(Revoke, "self", Success, "of no rights", revoke(1, objects(ROOT, 0, 0), 0));
    t.holds("which takes nothing", hypercall(abi::Hypercall::ControlDomain, 2, ROOT, [0; 4]).status() == 0);
}

/// A chain of copies: all of what was derived goes, in whichever domain, and nothing else.
fn descendants(t: &mut Report, world: &mut World) {
    let (other, block) = (world.domain(256), world.block());
    let first = world.semaphore(8);
    world.hand(first, 0x1F, ROOT, block);
    world.hand(block, 0x1F, other, 0x4000);
    let back = delegate(other, &[give(objects(0x4000, 0, 0x1F), 0)], objects(block + 1, 0, 0x1F), ROOT);
    t.status(Misc, "delegate", Success, "back from the other domain", back);
    t.status(ControlSemaphore, "up", Success, "what came back", up(block + 1));
    t.status(Revoke, "local", Success, "from the middle", revoke(0, objects(block, 0, 0x1F), 0));
    t.status(ControlSemaphore, "up", BadCapability, "what came back", up(block + 1));
    t.status(ControlSemaphore, "up", Success, "the middle itself", up(block));
    t.status(Revoke, "self", Success, "the root", revoke(1, objects(first, 0, 0x1F), 0));
    t.status(ControlSemaphore, "up", BadCapability, "the middle", up(block));
}

fn remote(t: &mut Report, world: &mut World) {
    let (other, at) = (world.domain(256), world.semaphore(0));
    let thread = world.thread(other, 0, 2);
    world.hand(at, 0x1F, other, 0x4000);
    let ups = || thread.does(Registers::new(ControlSemaphore, 0, 0x4000, [0; 4]));
    t.status(ControlSemaphore, "up", Success, "there", ups());
    t.status(Revoke, "remote", Success, "without the flag for itself", revoke(2, objects(0x4000, 0, 0x1F), other));
    t.status(ControlSemaphore, "up", Success, "there, still", ups());
    t.status(Revoke, "remote", Success, "with it", revoke(3, objects(0x4000, 0, 0x1F), other));
    t.status(ControlSemaphore, "up", BadCapability, "there, no more", ups());
    t.status(ControlSemaphore, "up", Success, "here", up(at));
    for (target, what) in [(EMPTY, "nothing"), (ROOT_EC, "a context"), (at, "a semaphore")] {
        t.status(Revoke, "remote", BadCapability, what, revoke(3, objects(0x4000, 0, 0x1F), target));
    }
    // A hostile domain has no capability to take anything from others with.
    let words = Registers::new(Revoke, 3, 0, [objects(0, 31, 0x1F).word(), ROOT, 0, 0]);
    t.status(Revoke, "remote", BadCapability, "by a domain without capability", thread.does(words));
}

fn keep(t: &mut Report, world: &mut World) {
    let (at, block) = (world.semaphore(0), world.block());
    world.hand(at, 0x1F, ROOT, block);
    world.hand(block, 0x1F, ROOT, block + 1);
    t.status(Revoke, "keep", Success, "the middle", revoke(5, objects(block, 0, 0x1F), 0));
    t.status(ControlSemaphore, "up", BadCapability, "the middle", up(block));
    t.status(ControlSemaphore, "up", Success, "what was derived", up(block + 1));
    t.status(Revoke, "local", Success, "it has a new parent", revoke(0, objects(at, 0, 0x1F), 0));
    t.status(ControlSemaphore, "up", BadCapability, "so it goes with that", up(block + 1));
    world.hand(at, 0x1F, ROOT, block);
    t.status(Revoke, "keep", Success, "the root, whatever rights are named", revoke(5, objects(at, 0, 1), 0));
    t.status(ControlSemaphore, "up", BadCapability, "the root", up(at));
    t.status(ControlSemaphore, "down", BadCapability, "all its rights", down(at, 1));
    t.status(ControlSemaphore, "up", Success, "the object lives", up(block));
    t.status(Revoke, "keep", Success, "a leaf: as without the flag", revoke(5, objects(block, 0, 0x1F), 0));
    t.status(ControlSemaphore, "up", BadCapability, "the last one", up(block));
}

fn notify(t: &mut Report, world: &mut World) {
    let (at, bell, weak) = (world.semaphore(0), world.semaphore(0), world.block());
    world.hand(bell, 2, ROOT, weak);
    let ring = |range: Crd, bell| hypercall(Revoke, 1, bell, [range.word(), 0, 0, 0]);
    t.status(Revoke, "notify", Success, "an object ends", ring(objects(at, 0, 0x1F), bell));
    let found = down(bell, time_stamp() + 20_000 * t.millisecond);
    t.status(ControlSemaphore, "down", Success, "the semaphore is upped", found);
    t.equal("once", down(bell, 1).status(), 1);
    for (other, what) in [(weak, "permission bit 0"), (ROOT, "a domain"), (EMPTY, "nothing")] {
        let at = world.semaphore(0);
        t.status(Revoke, "self", Success, what, ring(objects(at, 0, 0x1F), other));
    }
    t.equal("none of them rings", down(bell, time_stamp() + 20 * t.millisecond).status(), 1);
}

fn pages(t: &mut Report, world: &mut World) {
    let all = MemoryRights::all();
    let other = world.domain(512);
    let (server, reader) = (world.server(other, 0), world.server(other, t.machine.cores.min(4) - 1));
    acquire(memory(FREE, 0, all), memory(HERE, 0, all));
    word(HERE << 12, 0).store(0xFACE, SeqCst);
    let hand = || delegate(ROOT, &[give(memory(HERE, 0, MemoryRights::READ), 0)], memory(THERE, 0, all), other);
    t.status(Misc, "delegate", Success, "a page", hand());
    let load = |portal| {
        message(&[ask::LOAD, THERE << 12], &[]);
        (hypercall(abi::Hypercall::Call, 0, portal, [0; 4]).status(), own(5).load(SeqCst))
    };
    t.holds("the other reads it", load(server.portal) == (0, 0xFACE) && load(reader.portal) == (0, 0xFACE));
    t.status(Revoke, "local", Success, "a page", revoke(0, memory(HERE, 0, all), 0));
    t.holds("both cores of the other lose it", load(server.portal).0 == 2 && load(reader.portal).0 == 2);
    t.holds("here it stays", word(HERE << 12, 0).load(SeqCst) == 0xFACE);
    t.status(Revoke, "self", Success, "a page", revoke(1, memory(HERE, 0, all), 0));
    t.equal("it is gone", lookup(memory(HERE, 0, all)).rsi, 0);
}

fn lookups(t: &mut Report, world: &mut World) {
    let (at, block) = (world.semaphore(0), world.block());
    world.hand(at, 2, ROOT, block);
    for (range, found, what) in [
        (objects(at, 0, 0), objects(at, 0, 3), "an object"),
        (objects(block, 0, 0), objects(block, 0, 2), "with the rights of the mapping"),
        (objects(at, 5, 0), objects(at, 0, 3), "whatever the order"),
        (objects(EMPTY, 0, 0x1F), Crd::NULL, "nothing"),
        (memory(0x7_FFE0_0000, 0, MemoryRights::all()), Crd::NULL, "no memory"),
        (Crd::NULL, Crd::NULL, "the null range"),
    ] {
        let answer = lookup(range);
        t.status(Misc, "lookup", Success, what, answer);
        t.equal(what, answer.rsi, found.word());
    }
    for flags in 6..16 {
        t.status(Misc, "free", BadParameter, "a free number", hypercall(Misc, flags, ROOT, [0; 4]));
    }
}

fn delegation(t: &mut Report, world: &mut World) {
    let (at, block, other) = (world.semaphore(0), world.block(), world.bounded_domain(0, 256));
    let item = |at| [give(objects(at, 0, 0x1F), 0)];
    for (source, destination, what) in [
        (EMPTY, ROOT, "source is nothing"),
        (ROOT_EC, ROOT, "source is a context"),
        (ROOT, EMPTY, "destination is nothing"),
        (ROOT, at, "destination is a semaphore"),
    ] {
        let found = delegate(source, &item(at), objects(block, 0, 0x1F), destination);
        t.status(Misc, "delegate", BadCapability, what, found);
    }
    for (range, window, what) in [
        (objects(at, 0, 0x1F), memory(0, 0, MemoryRights::all()), "types differ"),
        (objects(at, 0, 0x1F), objects(block, 0, 0), "a window without rights"),
        (objects(at, 0, 0), objects(block, 0, 0x1F), "an item without rights"),
        (objects(EMPTY, 0, 0x1F), objects(block, 0, 0x1F), "nothing is there"),
        (objects(at, 0, 0x1F), Crd::NULL, "no window"),
    ] {
        t.status(Misc, "delegate", Success, what, delegate(ROOT, &[give(range, 0)], window, ROOT));
        t.status(ControlSemaphore, "up", BadCapability, "nothing arrives", up(block));
    }
    let second = world.semaphore(0);
    for (from, what) in [(at, "into an empty place"), (second, "into one in use")] {
        t.status(Misc, "delegate", Success, what, delegate(ROOT, &item(from), objects(block, 0, 0x1F), ROOT));
    }
    up(block);
    t.holds("the first stays", down(at, 1).status() == 0 && down(second, 1).status() == 1);
    // The flag for the hypervisor's space counts for the root domain only.
    let server = world.server(other, 0);
    world.hand(other, 0x1F, other, 0x4000);
    let theft = TypedItem::new(memory(FREE, 0, MemoryRights::all()), ItemKind::Delegate, ItemFlags::HYPERVISOR, 0);
    let [range, control] = theft.words();
    let window = memory(THERE, 0, MemoryRights::all()).word();
    let ask_there = |call: Registers| {
        message(&[ask::CALL_WITH_ITEM, call.rdi, call.rsi, call.rdx, call.rax, call.r8, range, control], &[]);
        hypercall(abi::Hypercall::Call, 0, server.portal, [0; 4]);
        let [rdi, rsi] = [5, 6].map(|index| own(index).load(SeqCst));
        Registers { rdi, rsi, ..call }
    };
    let found = ask_there(Registers::new(Misc, 1, 0x4000, [window, 0x4000, 0, 0]));
    t.status(Misc, "delegate", Success, "a hostile domain asks for the hypervisor's space", found);
    let found = ask_there(Registers::new(Misc, 3, 0, [0; 4]));
    t.status(Misc, "count", BadCapability, "a hostile domain asks for counters", found);
    let found = ask_there(Registers::new(Misc, 0, 0, [window, 0, 0, 0]));
    t.equal("and gets nothing", found.rsi, 0);
    drain(other, 0);
    let full = (0..64).map(|round| delegate(ROOT, &item(at), objects(0x10_0000 + round * 0x1_0000, 0, 0x1F), other));
    let last = full.reduce(|last, next| if last.status() == 0 { next } else { last }).unwrap_or_default();
    t.status(Misc, "delegate", QuotaExhausted, "the destination's quota is used up", last);
}

/// Items of every kind between two domains, with what the receiver finds.
fn items(t: &mut Report, world: &mut World) {
    let (at, other) = (world.semaphore(0), world.domain(512));
    let server = world.server(other, 0);
    let (any, window) = (objects(0, 31, 0x1F), objects(0x4000, 2, 0x1F));
    message(&[ask::WINDOWS, any.word(), window.word()], &[]);
    hypercall(abi::Hypercall::Call, 0, server.portal, [0; 4]);
    let mut send = |kind, hotspot| {
        let item = TypedItem::new(objects(at, 0, 0x1F), kind, ItemFlags::empty(), hotspot);
        message(&[ask::ECHO], &[item]);
        let found = hypercall(abi::Hypercall::Call, 0, server.portal, [0; 4]);
        t.call("plain", "with an item", server.portal, 0, found);
        let [range, control] = server.received();
        (range & !0x7C, control & 3)
    };
    let null = (0, 0);
    let nothing = send(ItemKind::Translate, 0);
    let delegated = send(ItemKind::Delegate, 1);
    let fallen_back = send(ItemKind::TranslateOrDelegate, 2);
    let invalid = send(ItemKind::Invalid, 3);
    let place = |at| objects(at, 0, 0).word();
    t.holds("translated: nothing", nothing == null);
    t.holds("delegated to the hotspot", delegated == (place(0x4001), 1));
    t.holds("translated or else delegated", fallen_back == (place(0x4002), 3));
    t.holds("the fourth kind is null", invalid.0 == 0);
}

fn counters(t: &mut Report) {
    let read = |core, counter| hypercall(Misc, 3, core, [counter, 0, 0, 0]);
    for counter in 0..Counter::COUNT as u64 {
        t.status(Misc, "count", Success, "a counter", read(0, counter));
    }
    t.status(Misc, "count", BadParameter, "no counter", read(0, Counter::COUNT as u64));
    t.status(Misc, "count", BadParameter, "no counter", read(0, Counter::EXITS - 1));
    t.status(Misc, "count", BadParameter, "no counter", read(0, Counter::exits(0xFF) + 1));
    t.status(Misc, "count", BadParameter, "no counter", read(0, u64::MAX));
    t.holds("no virtual CPU has left, for no reason", (0..=0xFF).all(|event| read(0, Counter::exits(event)).rsi == 0));
    t.status(Misc, "count", BadCpu, "no core", read(0xFFFF, 0));
    t.holds("switches of domain are counted", read(0, Counter::RootLoads as u64).rsi > 0);
}

fn evidence(t: &mut Report) {
    let noted = |domain, range: Crd| hypercall(Misc, 4, domain, [range.word(), 0, 0, 0]);
    let page = |order| memory(HERE, order, MemoryRights::all());
    t.status(Misc, "evidence", Success, "a page", noted(ROOT, page(0)));
    t.status(Misc, "evidence", BadCapability, "nothing", noted(EMPTY, page(0)));
    t.status(Misc, "evidence", BadParameter, "too many pages", noted(ROOT, page(7)));
    t.status(Misc, "evidence", BadParameter, "objects", noted(ROOT, objects(EMPTY, 0, 0x1F)));
}

fn later(t: &mut Report, world: &mut World) {
    let bell = world.semaphore(0);
    let take = |bell, range: Crd, flags| hypercall(Misc, 5, bell, [range.word(), EMPTY, flags, 0]);
    let page = memory(HERE, 0, MemoryRights::all());
    t.status(Misc, "later", Success, "what others have of a page", take(bell, page, 0));
    t.status(ControlSemaphore, "down", Success, "it is over", down(bell, 1));
    t.status(Misc, "later", BadCapability, "nothing to up", take(EMPTY, page, 0));
    t.status(Misc, "later", BadCapability, "from nothing", take(bell, page, 2));
    t.status(Misc, "later", BadParameter, "objects", take(bell, objects(EMPTY, 0, 0x1F), 0));
    for flags in [8, 16, 256] {
        t.status(Misc, "later", BadParameter, "a flag without meaning", take(bell, page, flags));
    }
}

fn suspend(t: &mut Report, world: &mut World) {
    counters(t);
    evidence(t);
    later(t, world);
    for (key, what) in [(EMPTY, "nothing"), (ROOT, "a domain"), (36, "the other key")] {
        t.status(Misc, "suspend", BadCapability, what, hypercall(Misc, 2, key, [0; 4]));
    }
    // Types that no sleep has: the machine cannot fall asleep.
    t.status(Misc, "suspend", BadParameter, "no such sleep", hypercall(Misc, 2, 35, [u64::MAX, u64::MAX, 0, 0]));
}
