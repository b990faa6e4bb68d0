//! `ec_ctrl` and `sc_ctrl`: recall, turns, donation, migration, times, registers of the processor.
#![no_std]
#![no_main]

use core::sync::atomic::Ordering::SeqCst;

use abi::Hypercall::{ControlContext, ControlScheduling, ControlSemaphore, CreateContext};
use abi::Status::{BadCapability, BadCpu, BadParameter, Success, Timeout};
use abi::item::ItemFlags;
use abi::{Mtd, TypedItem};
use conformance::Report;
use conformance::sys::{
    EMPTY, ROOT, ROOT_EC, ROOT_SC, Registers, delegate, down, hypercall, message, objects, own, time_stamp,
};
use conformance::world::World;
use rt::{Environment, ExitStatus};

rt::entry!(main);

fn main(environment: &Environment) -> ExitStatus {
    let mut report = Report::new("threads", environment);
    report.group("recall", recall);
    report.group("recall of a running thread", recall_running);
    report.group("turns", turns);
    report.group("donation", donation);
    report.group("migration", migration);
    report.group("times", times);
    report.group("registers", registers);
    report.group("virtual CPUs", virtual_cpus);
    report.group("free numbers", free);
    report.finish()
}

fn control(operation: u8, context: u64, rsi: u64) -> Registers {
    hypercall(ControlContext, operation, context, [rsi, 0, 0, 0])
}

fn recall(t: &mut Report, world: &mut World) {
    let (thread, block) = (world.thread(ROOT, 0, 2), world.block());
    for rights in 1..16_u8 {
        let at = block + u64::from(rights);
        world.hand(thread.context(), rights, ROOT, at);
        let expected = if rights & 1 == 0 { BadCapability } else { Success };
        t.status(ControlContext, "recall", expected, "permission bit 0", control(0, at, 0));
    }
    for (at, what) in [(EMPTY, "nothing"), (ROOT, "a domain"), (thread.scheduling(), "a scheduling context")] {
        t.status(ControlContext, "recall", BadCapability, what, control(0, at, 1));
    }
    // It waits to be told, so its state is at hand, and the recall comes when it goes on.
    t.status(ControlContext, "recall", Success, "of a waiting thread, with its state", control(0, thread.context(), 1));
    t.holds("in user space", (0x10_0000..0x20_0000).contains(&own(6).load(SeqCst)));
    t.equal("in no exception", own(26).load(SeqCst), 0);
    let before = thread.had().0;
    let semaphore = world.semaphore(0);
    let found = thread.does(Registers::new(ControlSemaphore, 0, semaphore, [0; 4]));
    t.status(ControlSemaphore, "up", Success, "after its recall", found);
    t.holds("the recall came", thread.had().0 > before);
}

/// A thread that never enters the kernel, on another core: its state needs a second try.
fn recall_running(t: &mut Report, world: &mut World) {
    if t.machine.cores < 2 {
        return;
    }
    let thread = world.thread(ROOT, 1, 2);
    let semaphore = world.semaphore(0);
    // Busy with hypercalls that return at once: it runs whenever one looks.
    let mut answers = [0; 2];
    for _ in 0..10_000 {
        thread.start(Registers::new(ControlSemaphore, 3, semaphore, [0, 1, 0, 0]));
        let found = control(0, thread.context(), 1);
        if let Some(slot) = answers.get_mut((found.rdi & 0xFF) as usize) {
            *slot += 1;
            let expected = if found.rdi & 0xFF == 0 { Success } else { Timeout };
            t.status(ControlContext, "recall", expected, "of a thread on another core", found);
        } else {
            t.status(ControlContext, "recall", Success, "of a thread on another core", found);
        }
        let _ = thread.wait(time_stamp() + 20_000 * t.millisecond);
        if answers[1] > 0 && answers[0] > 0 {
            break;
        }
    }
    t.holds("sometimes it ran", answers[1] > 0);
}

fn turns(t: &mut Report, world: &mut World) {
    let (equal, semaphore) = (world.thread(ROOT, 0, 1), world.semaphore(0));
    equal.start(Registers::new(ControlSemaphore, 0, semaphore, [0; 4]));
    t.status(ControlContext, "yield", Success, "to one of the same priority", control(1, 0, 0));
    t.equal("which had its turn", down(semaphore, 1).status(), 0);
    t.status(ControlContext, "reschedule", Success, "plain", control(3, 0, 0));
    for flags in [1, 3] {
        let form = if flags == 1 { "yield" } else { "reschedule" };
        t.status(ControlContext, form, Success, "whatever the selector", control(flags, EMPTY, u64::MAX));
    }
}

fn donation(t: &mut Report, world: &mut World) {
    let (thread, semaphore) = (world.thread(ROOT, 0, 1), world.semaphore(0));
    let word = conformance::sys::word(thread.page(), 3);
    word.store(0xBEEF, SeqCst);
    // It is to have begun, and to wait.
    control(1, 0, 0);
    t.status(ControlContext, "donate", BadParameter, "it waits", control(2, thread.context(), 0xBEEF));
    thread.start(Registers::new(ControlSemaphore, 0, semaphore, [0; 4]));
    t.status(ControlContext, "donate", BadParameter, "the word differs", control(2, thread.context(), 0xBEEE));
    t.status(ControlContext, "donate", Success, "plain", control(2, thread.context(), 0xBEEF));
    t.equal("it had the time", down(semaphore, 1).status(), 0);
    for (at, what) in [(EMPTY, "nothing"), (ROOT, "a domain")] {
        t.status(ControlContext, "donate", BadCapability, what, control(2, at, 0));
    }
    let server = world.server(ROOT, 0);
    t.status(ControlContext, "donate", BadParameter, "a context that is called", control(2, server.context, 0));
    let other = world.domain(512);
    let foreign = world.thread(other, 0, 1);
    foreign.start(Registers::new(ControlSemaphore, 0, semaphore, [0; 4]));
    t.status(ControlContext, "donate", BadParameter, "of another domain", control(2, foreign.context(), 0));
    if t.machine.cores > 1 {
        let remote = world.thread(ROOT, 1, 1);
        t.status(ControlContext, "donate", BadCpu, "on another core", control(2, remote.context(), 0));
    }
}

/// Success is shown by the root program in C, where a handler moves the thread that it serves; here through a server.
fn migration(t: &mut Report, world: &mut World) {
    let migrate = |at| hypercall(ControlContext, 4, at, [0, objects(0x1C, 0, 0x1F).word(), 0, 0]);
    for (at, what) in [(EMPTY, "nothing"), (ROOT, "a domain"), (ROOT_SC, "a scheduling context")] {
        t.status(ControlContext, "migrate", BadCapability, what, migrate(at));
    }
    let thread = world.thread(ROOT, 0, 2);
    t.status(ControlContext, "migrate", BadParameter, "of the caller itself", migrate(ROOT_EC));
    t.status(
        ControlContext,
        "migrate",
        BadParameter,
        "of one that waits for something else",
        migrate(thread.context()),
    );
    if t.machine.cores < 2 {
        return;
    }
    // The server that the recall of the thread calls moves it to the second core.
    let (mover, there) = (world.server(ROOT, 0), world.server(ROOT, 1));
    t.holds("out-of-memory portal", world.door(there, thread.context() + 1).status() == 0);
    let handed = objects(0x1C, 0, 0x1F).word();
    world.replace_event(thread, abi::event::RECALL, mover);
    mover.remember(Registers::new(ControlContext, 4, thread.context(), [1, handed, 0, 0]));
    t.status(ControlContext, "recall", Success, "of the one to move", control(0, thread.context(), 0));
    let semaphore = world.semaphore(0);
    thread.start(Registers::new(ControlSemaphore, 0, semaphore, [0; 4]));
    t.equal("it goes on", down(semaphore, time_stamp() + 20_000 * t.millisecond).status(), 0);
    t.status(ControlContext, "migrate", Success, "by the handler of its recall", mover.remembered());
}

fn times(t: &mut Report, world: &mut World) {
    t.status(ControlContext, "time", Success, "of the first thread", control(5, ROOT_EC, 0));
    for (at, what) in [(EMPTY, "nothing"), (ROOT, "a domain")] {
        t.status(ControlContext, "time", BadCapability, what, control(5, at, 0));
    }
    let get = |flags, at, rsi| hypercall(ControlScheduling, flags, at, [rsi, 0, 0, 0]);
    t.status(ControlScheduling, "time", Success, "of the first thread", get(0, ROOT_SC, 0));
    t.status(ControlScheduling, "both", Success, "of the first thread", get(3, ROOT_SC, ROOT_EC));
    t.status(ControlScheduling, "both", BadCapability, "no context", get(3, ROOT_SC, EMPTY));
    let before = get(0, ROOT_SC, 0);
    let until = time_stamp() + 5 * t.millisecond;
    while time_stamp() < until {
        core::hint::spin_loop();
    }
    // The times are brought up to date when the kernel chooses anew.
    control(3, 0, 0);
    let after = get(0, ROOT_SC, 0);
    let whole = |found: Registers| found.rsi << 32 | found.rdx & 0xFFFF_FFFF;
    t.holds("it grows by what was spent", (4000..1_000_000).contains(&(whole(after) - whole(before))));
    let idle = world.block();
    let item = TypedItem::delegate(objects(0, 0, 0x1F), ItemFlags::HYPERVISOR, 0);
    delegate(ROOT, &[item], objects(idle, 0, 0x1F), ROOT);
    for (flags, form) in [(0, "time"), (1, "cross"), (2, "killed"), (3, "both")] {
        t.status(ControlScheduling, form, Success, "of the idle context of the first core", get(flags, idle, 0));
        for (at, what) in [(EMPTY, "nothing"), (ROOT_EC, "a context")] {
            t.status(ControlScheduling, form, BadCapability, what, get(flags, at, ROOT_EC));
        }
    }
}

fn registers(t: &mut Report, _: &mut World) {
    const MPERF: u64 = 0xE7;
    let access = |words: &[u64], key| {
        message(words, &[]);
        control(8, key, 0)
    };
    t.status(ControlContext, "msr", Success, "one that may be read", access(&[MPERF], 36));
    t.holds("at most one success", own(0).load(SeqCst) <= 1);
    t.status(ControlContext, "msr", Success, "one that may not", access(&[0xC000_0082], 36));
    t.equal("no success", own(0).load(SeqCst), 0);
    for (key, what) in [(EMPTY, "nothing"), (35, "the other key"), (ROOT, "a domain")] {
        t.status(ControlContext, "msr", BadCapability, what, access(&[MPERF], key));
    }
    for (operation, form) in [(6, "get-state"), (7, "set-state")] {
        t.status(ControlContext, form, BadCapability, "of a thread", control(operation, ROOT_EC, 0));
        t.status(ControlContext, form, BadCapability, "of nothing", control(operation, EMPTY, 0));
    }
}

/// State of virtual CPUs that have not run.
fn virtual_cpus(t: &mut Report, world: &mut World) {
    if !t.machine.virtual_cpus {
        return;
    }
    let at = world.block();
    for core in 0..t.machine.cores.min(2) as u64 {
        let created = hypercall(CreateContext, 1, at + 2 * core, [ROOT, core, 0, 0]);
        t.status(CreateContext, "virtual", Success, "on each core", created);
    }
    own(4).store(Mtd::RIP_LEN.bits(), SeqCst);
    own(6).store(0x1234, SeqCst);
    t.status(ControlContext, "set-state", Success, "one group", control(7, at, 0));
    own(6).store(0, SeqCst);
    t.status(ControlContext, "get-state", Success, "the same", control(6, at, Mtd::RIP_LEN.bits()));
    t.equal("instruction pointer", own(6).load(SeqCst), 0x1234);
    for (operation, form) in [(6, "get-state"), (7, "set-state")] {
        if t.machine.cores > 1 {
            t.status(ControlContext, form, BadCpu, "of another core", control(operation, at + 2, 0));
        }
    }
}

fn free(t: &mut Report, _: &mut World) {
    for operation in 9..16 {
        t.status(ControlContext, "free", BadParameter, "a free number", control(operation, ROOT_EC, 0));
    }
}
