//! `sm_ctrl` and `create_sm`: counting, waiting, signals, permission bits.
#![no_std]
#![no_main]

use abi::Hypercall::{ControlSemaphore, CreateSemaphore};
use abi::Status::{BadCapability, Success, Timeout};
use conformance::Report;
use conformance::sys::{EMPTY, ROOT, ROOT_EC, Registers, down, hypercall, objects, revoke, time_stamp, up};
use conformance::world::World;
use rt::{Environment, ExitStatus};

rt::entry!(main);

fn main(environment: &Environment) -> ExitStatus {
    let mut report = Report::new("semaphores", environment);
    report.group("creation", creation);
    report.group("counting", counting);
    report.group("permissions", permissions);
    report.group("waiting", waiting);
    report.group("signals", signals);
    report.finish()
}

fn create(at: u64, domain: u64, count: u64, chain: u64) -> Registers {
    hypercall(CreateSemaphore, 0, at, [domain, count, chain, 0])
}

fn zero(at: u64, deadline: u64) -> Registers {
    hypercall(ControlSemaphore, 3, at, [deadline >> 32, deadline & 0xFFFF_FFFF, 0, 0])
}

fn creation(t: &mut Report, world: &mut World) {
    let at = world.block();
    t.status(CreateSemaphore, "plain", Success, "plain", create(at, ROOT, 3, 0));
    t.status(CreateSemaphore, "plain", BadCapability, "the selector is in use", create(at, ROOT, 0, 0));
    t.status(CreateSemaphore, "plain", BadCapability, "in no domain", create(at + 1, EMPTY, 0, 0));
    t.status(CreateSemaphore, "plain", BadCapability, "in a context", create(at + 1, ROOT_EC, 0, 0));
    t.status(CreateSemaphore, "signal", Success, "signal", create(at + 2, ROOT, 0x77, at));
    t.status(CreateSemaphore, "signal", BadCapability, "on a signal", create(at + 3, ROOT, 0, at + 2));
    t.status(CreateSemaphore, "signal", BadCapability, "on nothing", create(at + 3, ROOT, 0, EMPTY));
    t.status(CreateSemaphore, "signal", BadCapability, "on a context", create(at + 3, ROOT, 0, ROOT_EC));
    let domain = world.domain(512);
    for (bit, expected) in [(0x0F, BadCapability), (0x10, Success)] {
        world.hand(ROOT, bit, ROOT, at + 8 + u64::from(bit));
        let found = create(at + 4, at + 8 + u64::from(bit), 0, 0);
        t.status(CreateSemaphore, "plain", expected, "permission bit 4 of the domain", found);
    }
    t.status(CreateSemaphore, "plain", Success, "charged to another domain", create(at + 5, domain, 0, 0));
}

fn counting(t: &mut Report, world: &mut World) {
    let at = world.semaphore(2);
    for _ in 0..2 {
        t.status(ControlSemaphore, "down", Success, "counter above zero", down(at, 0));
    }
    t.status(ControlSemaphore, "down", Timeout, "deadline in the past", down(at, 1));
    let deadline = time_stamp() + t.millisecond;
    let found = hypercall(ControlSemaphore, 1, at, [deadline >> 32, deadline & 0xFFFF_FFFF, 0x11, 0x22]);
    t.status(ControlSemaphore, "down", Timeout, "deadline ahead", found);
    t.holds("the deadline has passed then", time_stamp() >= deadline);
    t.holds("rax and r8 stay", found.rax == 0x11 && found.r8 == 0x22);
    t.holds("rsi and rdx stay without a signal", found.rsi == deadline >> 32 && found.rdx == deadline & 0xFFFF_FFFF);
    for _ in 0..3 {
        t.status(ControlSemaphore, "up", Success, "nobody waits", up(at));
    }
    t.status(ControlSemaphore, "zero", Success, "takes all three", zero(at, 0));
    t.status(ControlSemaphore, "zero", Timeout, "nothing is left", zero(at, 1));
    t.status(ControlSemaphore, "down", Timeout, "nothing is left", down(at, 1));
    t.status(ControlSemaphore, "up", BadCapability, "nothing", up(EMPTY));
    t.status(ControlSemaphore, "up", BadCapability, "a context", up(ROOT_EC));
    t.status(ControlSemaphore, "down", BadCapability, "nothing", down(EMPTY, 1));
    t.status(ControlSemaphore, "zero", BadCapability, "a domain", zero(ROOT, 1));
    t.status(ControlSemaphore, "up", Success, "aliased selector", up(at + (1 << 26)));
    t.status(ControlSemaphore, "down", Success, "aliased selector", down(at, 1));
}

fn permissions(t: &mut Report, world: &mut World) {
    let at = world.semaphore(1);
    let domain = world.domain(512);
    let thread = world.thread(domain, 0, 2);
    for rights in 1..32_u8 {
        let there = 0x2000 + u64::from(rights);
        world.hand(at, rights, domain, there);
        // A capability has bits 0 and 1 at most; without either it does not arrive at all.
        let expected = |bit: u8| if rights & bit != 0 { Success } else { BadCapability };
        let ups = thread.does(Registers::new(ControlSemaphore, 0, there, [0; 4]));
        t.status(ControlSemaphore, "up", expected(1), "permission bit 0", ups);
        up(at);
        let downs = thread.does(Registers::new(ControlSemaphore, 1, there, [0, 1, 0, 0]));
        t.status(ControlSemaphore, "down", expected(2), "permission bit 1", downs);
        up(at);
        let zeros = thread.does(Registers::new(ControlSemaphore, 3, there, [0, 1, 0, 0]));
        t.status(ControlSemaphore, "zero", expected(2), "permission bit 1", zeros);
    }
}

fn waiting(t: &mut Report, world: &mut World) {
    let at = world.semaphore(0);
    let core = t.machine.cores.min(4) - 1;
    let threads = [world.thread(ROOT, 0, 2), world.thread(ROOT, core, 2)];
    let soon = time_stamp() + 20_000 * t.millisecond;
    for thread in threads {
        thread.start(Registers::new(ControlSemaphore, 1, at, [0; 4]));
    }
    down(world.semaphore(0), time_stamp() + 5 * t.millisecond);
    for thread in threads {
        while !thread.is_busy() && time_stamp() < soon {}
        t.holds("it waits", thread.is_busy());
    }
    for thread in threads {
        t.status(ControlSemaphore, "up", Success, "somebody waits", up(at));
        let found = thread.wait(soon).unwrap_or_default();
        t.status(ControlSemaphore, "down", Success, "in the order of arrival", found);
    }
    threads[0].start(Registers::new(ControlSemaphore, 1, at, [0; 4]));
    threads[1].start(Registers::new(ControlSemaphore, 3, at, [0; 4]));
    down(world.semaphore(0), time_stamp() + 5 * t.millisecond);
    revoke(1, objects(at, 0, 0x1F), 0);
    for (thread, form) in threads.into_iter().zip(["down", "zero"]) {
        let missing = Registers { rdi: 0xEE, ..Registers::default() };
        let found = thread.wait(soon).unwrap_or(missing);
        t.status(ControlSemaphore, form, BadCapability, "the semaphore dies while somebody waits", found);
    }
}

fn signals(t: &mut Report, world: &mut World) {
    let at = world.semaphore(0);
    let own = world.block();
    t.status(CreateSemaphore, "signal", Success, "first", create(own, ROOT, 0xABCD, at));
    t.status(CreateSemaphore, "signal", Success, "second", create(own + 1, ROOT, 0x1234, at));
    t.status(ControlSemaphore, "down", BadCapability, "of a signal itself", down(own, 1));
    t.status(ControlSemaphore, "zero", BadCapability, "of a signal itself", zero(own, 1));
    for _ in 0..3 {
        t.status(ControlSemaphore, "up", Success, "of a signal", up(own));
    }
    up(own + 1);
    let found = down(at, 1);
    t.status(ControlSemaphore, "down", Success, "a signal waits", found);
    t.equal("value of the signal", found.rsi, 0xABCD);
    t.equal("how often", found.rdx, 3);
    let found = down(at, 1);
    t.holds("the second signal", found.rsi == 0x1234 && found.rdx == 1);
    t.status(ControlSemaphore, "down", Timeout, "one wake-up for three ups", down(at, 1));
    let thread = world.thread(ROOT, t.machine.cores.min(4) - 1, 2);
    thread.start(Registers::new(ControlSemaphore, 3, at, [0; 4]));
    down(world.semaphore(0), time_stamp() + 5 * t.millisecond);
    up(own + 1);
    let found = thread.wait(time_stamp() + 20_000 * t.millisecond).unwrap_or_default();
    t.status(ControlSemaphore, "zero", Success, "a signal comes while somebody waits", found);
    t.holds("value and count for the one who waited", found.rsi == 0x1234 && found.rdx == 1);
    up(own);
    revoke(1, objects(own, 0, 0x1F), 0);
    let found = down(at, 1);
    t.holds("a signal that is gone delivers nothing of itself", found.rsi != 0xABCD || found.status() != 0);
}
