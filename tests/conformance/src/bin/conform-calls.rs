//! `call` and `reply`: the callee idle, busy, dead and revoked in mid-call, on the caller's core and on another.
#![no_std]
#![no_main]

use core::sync::atomic::Ordering::SeqCst;

use abi::Hypercall::{Call, Reply};
use abi::Status::{Aborted, BadCapability, BadCpu, Success, Timeout};
use conformance::Report;
use conformance::sys::{
    EMPTY, ROOT, ROOT_EC, Registers, down, hypercall, message, objects, own, revoke, time_stamp, up,
};
use conformance::world::{NO_ANSWER, PATIENCE, Server, Thread, World, ask};
use rt::{Environment, ExitStatus};

rt::entry!(main);

fn main(environment: &Environment) -> ExitStatus {
    let mut report = Report::new("calls", environment);
    report.group("selectors", selectors);
    let last = report.machine.cores.min(4) - 1;
    // Where the server is, and where the thread is that it serves; the first thread calls from the first core.
    for (place, name) in [((0, 0), "same core"), ((last, 0), "another core"), ((last, last), "both on another core")] {
        report.group(name, |t, world| idle(t, world, place));
        report.group(name, |t, world| busy(t, world, place));
        report.group(name, |t, world| dead(t, world, place));
        report.group(name, |t, world| portal_goes(t, world, place));
        report.group(name, |t, world| context_goes(t, world, place));
        report.group(name, |t, world| caller_goes(t, world, place));
        report.group(name, |t, world| held(t, world, place));
        report.group(name, |t, world| foreign(t, world, place));
        if last == 0 {
            break;
        }
    }
    report.finish()
}

/// Core of the server, core of the thread that is served.
type Place = (usize, usize);

fn call(portal: u64, flags: u8) -> Registers {
    hypercall(Call, flags, portal, [0; 4])
}

fn asked(portal: u64, words: &[u64]) -> Registers {
    message(words, &[]);
    call(portal, 0)
}

fn selectors(t: &mut Report, world: &mut World) {
    let server = world.server(ROOT, 0);
    for (form, flags) in [("plain", 0), ("no-block", 1)] {
        for (at, what) in [(EMPTY, "nothing"), (ROOT, "a domain"), (ROOT_EC, "a context"), (1 << 55, "far out")] {
            t.status(Call, form, BadCapability, what, call(at, flags));
        }
        t.status(Call, form, BadCapability, "a context of a server", call(server.context, flags));
    }
    message(&[ask::ECHO], &[]);
    t.status(Call, "plain", Success, "aliased selector", call(server.portal + (1 << 26), 0));
    // Flags 2 and 4 are defined and ignored.
    for flags in [2, 4, 6] {
        message(&[ask::ECHO, 7], &[]);
        t.call("plain", "ignored flags", server.portal, flags.into(), call(server.portal, flags));
        t.equal("the answer", own(5).load(SeqCst), 8);
    }
}

fn idle(t: &mut Report, world: &mut World, (core, _): Place) {
    let server = world.server(ROOT, core);
    for count in [1, 2, 8, 64, 507] {
        for index in 0..508 {
            own(4 + index).store(if index == 0 { ask::ECHO } else { index as u64 }, SeqCst);
        }
        own(0).store(count, SeqCst);
        t.call("plain", "the callee is idle", server.portal, 0, call(server.portal, 0));
        let right =
            (1..508_u64).filter(|&index| own(4 + index as usize).load(SeqCst) == index + u64::from(index < count));
        t.equal("words", right.count() as u64, 507);
    }
    message(&[ask::ECHO], &[]);
    t.call("no-block", "the callee is idle", server.portal, 1, call(server.portal, 1));
    let rights = [0x13_u8, 0x12, 0x10, 0x03, 0x02, 0x01];
    let block = world.block();
    for right in rights {
        let at = block + u64::from(right);
        world.hand(server.portal, right, ROOT, at);
        message(&[ask::ECHO], &[]);
        // The classic kernel does not check bit 1; here it is, which the interface leaves open (§11, first wart).
        let found = call(at, 0);
        let found = Registers { rdi: found.rdi & 0xFF, ..found };
        if right & 2 == 0 {
            t.status(Call, "plain", BadCapability, "permission bit 1", found);
        } else if core == 0 || right & 0x10 != 0 {
            t.status(Call, "plain", Success, "permission bits", found);
        } else {
            t.status(Call, "plain", BadCpu, "permission bit 4", found);
        }
    }
}

/// A thread that is being served by `server`, which waits in its service; ends when `let_go` is upped.
fn occupied(world: &mut World, server: Server, core: usize) -> (Thread, u64) {
    let (reached, let_go) = (world.semaphore(0), world.semaphore(0));
    let caller = world.thread(ROOT, core, 2);
    caller_says(caller, &[ask::SWAP, reached, let_go]);
    caller.start(Registers::new(Call, 0, server.portal, [0; 4]));
    down(reached, patience());
    (caller, let_go)
}

/// Writes the message page of a thread.
fn caller_says(caller: Thread, words: &[u64]) {
    let page = caller.page();
    conformance::sys::word(page, 0).store(words.len() as u64, SeqCst);
    for (index, value) in words.iter().enumerate() {
        conformance::sys::word(page, 4 + index).store(*value, SeqCst);
    }
}

fn patience() -> u64 {
    time_stamp() + PATIENCE
}

fn ended(thread: Thread) -> Registers {
    thread.wait(patience()).unwrap_or(Registers { rdi: NO_ANSWER, ..Registers::default() })
}

fn busy(t: &mut Report, world: &mut World, (core, from): Place) {
    let server = world.server(ROOT, core);
    let (caller, let_go) = occupied(world, server, from);
    message(&[ask::ECHO], &[]);
    t.status(Call, "no-block", Timeout, "the callee is busy", call(server.portal, 1));
    let waiting = world.thread(ROOT, 0, 2);
    caller_says(waiting, &[ask::ECHO, 41]);
    waiting.start(Registers::new(Call, 0, server.portal, [0; 4]));
    down(world.semaphore(0), time_stamp() + 5 * t.millisecond);
    t.holds("a caller of the busy one waits", waiting.is_busy());
    up(let_go);
    let first = ended(caller);
    t.call("plain", "the one that was served", server.portal, 0, first);
    t.call("plain", "the one that found it busy", server.portal, 0, ended(waiting));
    t.equal("its answer", conformance::sys::word(waiting.page(), 5).load(SeqCst), 42);
}

fn dead(t: &mut Report, world: &mut World, (core, _): Place) {
    let server = world.server(ROOT, core);
    t.status(Call, "plain", Aborted, "the callee dies while it serves", asked(server.portal, &[ask::DIE]));
    t.status(Call, "plain", Timeout, "the callee is dead", asked(server.portal, &[ask::ECHO]));
    // Dead by revocation of the context; the portal is still there and keeps it.
    let server = world.server(ROOT, core);
    revoke(1, objects(server.context, 0, 0x1F), 0);
    let found = asked(server.portal, &[ask::ECHO]);
    t.holds("a context without capability: works or is dead, no error", matches!(found.rdi & 0xFF, 0..=2));
}

/// The portal goes while the callee serves: the caller gets its answer, or is told of the end.
fn portal_goes(t: &mut Report, world: &mut World, (core, from): Place) {
    let server = world.server(ROOT, core);
    let (caller, let_go) = occupied(world, server, from);
    revoke(1, objects(server.portal, 0, 0x1F), 0);
    up(let_go);
    let found = ended(caller);
    t.holds("the portal goes in mid-call", found.rdi == server.portal << 8 || found.rdi == 2);
}

/// The portal and the capability to the context go.
fn context_goes(t: &mut Report, world: &mut World, (core, from): Place) {
    let server = world.server(ROOT, core);
    let (caller, let_go) = occupied(world, server, from);
    revoke(1, objects(server.portal, 0, 0x1F), 0);
    revoke(1, objects(server.context, 0, 0x1F), 0);
    up(let_go);
    t.holds("the context goes in mid-call", matches!(ended(caller).rdi & 0xFF, 0 | 2));
}

/// The caller goes: the server finishes with the help of the next caller, and serves it.
fn caller_goes(t: &mut Report, world: &mut World, (core, from): Place) {
    let server = world.server(ROOT, core);
    let (caller, let_go) = occupied(world, server, from);
    revoke(1, objects(caller.scheduling(), 0, 0x1F), 0);
    revoke(1, objects(caller.context(), 0, 0x1F), 0);
    up(let_go);
    let next = world.thread(ROOT, 0, 3);
    caller_says(next, &[ask::ECHO]);
    next.start(Registers::new(Call, 0, server.portal, [0; 4]));
    let found = ended(next);
    t.holds("the caller goes in mid-call, and the server is there for others", matches!(found.rdi & 0xFF, 0..=2));
}

fn held(t: &mut Report, world: &mut World, (core, from): Place) {
    let (server, semaphore) = (world.server(ROOT, core), world.semaphore(1));
    let found = asked(server.portal, &[ask::HOLD, semaphore, 0]);
    t.call("plain", "held at a semaphore above zero", server.portal, 0, found);
    t.equal("the call was made again", server.served(), 2);
    let found = Registers { rdi: found.rdi & 0xFF, ..found };
    t.status(Reply, "semaphore", Success, "the caller goes on", found);
    t.equal("the semaphore was taken", down(semaphore, 1).rdi, 1);

    let (server, semaphore) = (world.server(ROOT, core), world.semaphore(0));
    let caller = world.thread(ROOT, from, 2);
    caller_says(caller, &[ask::HOLD, semaphore, 0]);
    caller.start(Registers::new(Call, 0, server.portal, [0; 4]));
    let end = patience();
    while server.served() == 0 && time_stamp() < end {}
    // Time for a call too many.
    down(world.semaphore(0), time_stamp() + 5 * t.millisecond);
    t.holds("the caller waits", caller.is_busy());
    t.equal("the server does not: it was called once", server.served(), 1);
    t.call("plain", "another caller", server.portal, 0, asked(server.portal, &[ask::ECHO]));
    up(semaphore);
    t.call("plain", "held until somebody upped", server.portal, 0, ended(caller));

    // What is no semaphore, or lacks permission bit 1, is ignored.
    let weak = world.block();
    world.hand(semaphore, 1, ROOT, weak);
    for (at, what) in [(ROOT, "a domain"), (EMPTY, "nothing"), (weak, "permission bit 1")] {
        let server = world.server(ROOT, core);
        let found = asked(server.portal, &[ask::HOLD, at, 0]);
        t.status(Reply, "plain", Success, what, Registers { rdi: found.rdi & 0xFF, ..found });
        t.equal("nothing was held", server.served(), 1);
    }
}

/// A server of another domain, which is hostile: dies, or hands back what it may not.
fn foreign(t: &mut Report, world: &mut World, (core, _): Place) {
    let domain = world.domain(512);
    let server = world.server(domain, core);
    t.call("plain", "a server of another domain", server.portal, 0, asked(server.portal, &[ask::ECHO, 1]));
    let up_root = Registers::new(abi::Hypercall::ControlSemaphore, 0, ROOT, [0; 4]);
    let Registers { rdi, rsi, rdx, rax, r8 } = up_root;
    let found = asked(server.portal, &[ask::CALL, rdi, rsi, rdx, rax, r8]);
    t.call("plain", "it makes a hypercall itself", server.portal, 0, found);
    t.equal("which finds nothing in its own domain", own(5).load(SeqCst) & 0xFF, 4);
    let found = asked(server.portal, &[ask::LOAD, 0x7000_0000]);
    t.status(Call, "plain", Aborted, "it reads what is not mapped", found);
    let server = world.server(domain, core);
    revoke(1, objects(domain, 0, 0x1F), 0);
    let found = asked(server.portal, &[ask::ECHO]);
    t.holds("its domain is gone", matches!(found.rdi & 0xFF, 0..=2));
}
