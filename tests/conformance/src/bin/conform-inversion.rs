//! Priority inversion: the most urgent of three threads waits for a server that serves the least urgent one, and the middle
//! one would run for long. Helping bounds it: until the urgent call is over the middle one makes no hypercall at all.
#![no_std]
#![no_main]

use abi::Hypercall::{Call, ControlSemaphore};
use conformance::Report;
use conformance::sys::{ROOT, Registers, down, time_stamp, word};
use conformance::world::{NO_ANSWER, Thread, World, ask};
use core::sync::atomic::Ordering::SeqCst;
use rt::{Environment, ExitStatus};

rt::entry!(main);

/// Hypercalls of the middle thread, and steps of the server in one call.
const MIDDLE: u64 = 20_000;
const STEPS: u64 = 10_000;

fn main(environment: &Environment) -> ExitStatus {
    let mut report = Report::new("inversion", environment);
    let last = report.machine.cores.min(4) - 1;
    report.group("on the first core", |t, world| inversion(t, world, 0, 0));
    if last > 0 {
        report.group("on another core", |t, world| inversion(t, world, last, last));
        report.group("from another core", |t, world| inversion(t, world, last, 0));
    }
    report.finish()
}

fn says(thread: Thread, words: &[u64]) {
    word(thread.page(), 0).store(words.len() as u64, SeqCst);
    for (at, value) in words.iter().enumerate() {
        word(thread.page(), 4 + at).store(*value, SeqCst);
    }
}

fn inversion(t: &mut Report, world: &mut World, core: usize, urgent_core: usize) {
    let (server, busy) = (world.server(ROOT, core), world.semaphore(0));
    let low = world.thread(ROOT, core, 2);
    let middle = world.thread(ROOT, core, 3);
    let high = world.thread(ROOT, urgent_core, 4);
    let call = Registers::new(Call, 0, server.portal, [0; 4]);
    middle.prepare(Registers::new(ControlSemaphore, 3, busy, [0, 1, 0, 0]), MIDDLE);
    high.prepare(call, 1);
    high.watch(middle);
    // In the middle of its work for the low one the server lets the other two go, the urgent one first.
    says(low, &[ask::WORK, STEPS, high.request(), middle.request()]);
    says(high, &[ask::ECHO]);
    low.start(call);
    let until = time_stamp() + 60_000 * t.millisecond;
    for (thread, what) in [(high, "high"), (middle, "middle"), (low, "low")] {
        let found = thread.wait(until).unwrap_or(Registers { rdi: NO_ANSWER, ..Registers::default() });
        t.holds(what, found.rdi & 0xFF != NO_ANSWER);
    }
    t.equal("both calls were served", server.served(), 2);
    let done = high.watched();
    if core == urgent_core {
        t.equal("hypercalls of the middle one before the urgent call was over", done, 0);
    } else {
        // The urgent call has to come over first; then the middle one does not hold it up.
        t.holds("the urgent call was over long before the middle one", done < MIDDLE);
    }
    t.equal("the middle one then did its work", middle.count(), MIDDLE);
    let _ = down(busy, 1);
}
