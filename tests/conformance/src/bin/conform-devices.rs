//! `assign_gsi` and `assign_pci`: pins, messages, chaining to semaphores and signals, what is refused.
#![no_std]
#![no_main]

use abi::Hypercall::{AssignInterrupt, AssignPci, ControlSemaphore};
use abi::Status::{BadCapability, BadCpu, BadDevice, Success, Timeout};
use abi::hip::{CPU_SLOTS, ROOT_UTCB_ADDRESS};
use conformance::Report;
use conformance::sys::{EMPTY, ROOT, ROOT_EC, Registers, acquire, down, hypercall, objects, time_stamp};
use conformance::world::World;
use rt::{Environment, ExitStatus};

rt::entry!(main);

/// Leaves the chain alone.
const AS_IT_IS: u64 = u64::MAX;
/// The interval timer's pin, one of a device that is silent, and one that no machine of the suite has.
const TIMER: u64 = 2;
const SILENT: u64 = 5;
const MESSAGE: u64 = 150;
/// Configure: edge, high.
const EDGE: u8 = 4;

fn main(environment: &Environment) -> ExitStatus {
    let mut report = Report::new("devices", environment);
    report.group("pins", pins);
    report.group("chains", chains);
    report.group("messages", messages);
    report.group("functions", functions);
    report.finish()
}

/// The semaphore of an interrupt.
fn interrupt(world: &mut World, number: u64) -> u64 {
    let at = world.block();
    acquire(objects(CPU_SLOTS as u64 + number, 0, 0x1F), objects(at, 0, 0x1F));
    at
}

fn assign(at: u64, flags: u8, page: u64, core: u64, chain: u64) -> Registers {
    hypercall(AssignInterrupt, flags, at, [page, core, chain, 0])
}

/// 100 Hz from the interval timer.
fn start_timer() {
    if let Ok(ports) = rt::ports::IoPorts::acquire() {
        ports.port8(0x43).write(0x34);
        ports.port8(0x40).write(0x9C);
        ports.port8(0x40).write(0x2E);
    }
}

fn pins(t: &mut Report, world: &mut World) {
    let (timer, silent) = (interrupt(world, TIMER), interrupt(world, SILENT));
    for (at, what) in [(EMPTY, "nothing"), (ROOT, "a domain"), (world.semaphore(0), "a semaphore of a program")] {
        t.status(AssignInterrupt, "pin", BadCapability, what, assign(at, EDGE, 0, 0, AS_IT_IS));
    }
    for core in [t.machine.cores as u64, 255, 0xFFF, 1 << 32, u64::MAX] {
        t.status(AssignInterrupt, "pin", BadCpu, "absent core", assign(silent, 0, 0, core, AS_IT_IS));
    }
    let device = ROOT_UTCB_ADDRESS;
    t.status(AssignInterrupt, "pin", BadDevice, "with a device", assign(silent, 0, device, 0, AS_IT_IS));
    for flags in 0..8 {
        t.status(AssignInterrupt, "pin", Success, "every mode", assign(silent, flags, 0, 0, AS_IT_IS));
    }
    t.status(ControlSemaphore, "down", Timeout, "of a silent pin", down(silent, time_stamp() + t.millisecond));
    start_timer();
    for core in 0..t.machine.cores.min(4) as u64 {
        let found = assign(timer, EDGE, 0, core, AS_IT_IS);
        t.status(AssignInterrupt, "pin", Success, "to every core", found);
        t.holds("a pin has no message", found.rsi == 0 && found.rdx == 0);
        for _ in 0..2 {
            let tick = down(timer, time_stamp() + 20_000 * t.millisecond);
            t.status(ControlSemaphore, "down", Success, "of a pin that ticks", tick);
        }
    }
}

fn chains(t: &mut Report, world: &mut World) {
    let (timer, silent) = (interrupt(world, TIMER), interrupt(world, SILENT));
    let (receiver, signal) = (world.semaphore(0), world.block());
    hypercall(abi::Hypercall::CreateSemaphore, 0, signal, [ROOT, 0x5151, receiver, 0]);
    assign(timer, EDGE, 0, 0, timer);
    for (to, what) in [(EMPTY, "to nothing"), (ROOT_EC, "to a context"), (silent, "to another interrupt")] {
        t.status(AssignInterrupt, "chain", BadCapability, what, assign(timer, 0, 0, 0, to));
    }
    t.status(AssignInterrupt, "chain", Success, "to a signal", assign(timer, EDGE, 0, 0, signal));
    start_timer();
    for _ in 0..2 {
        let tick = down(receiver, time_stamp() + 20_000 * t.millisecond);
        t.status(ControlSemaphore, "down", Success, "of the receiver", tick);
        t.holds("value and count of the signal", tick.rsi == 0x5151 && tick.rdx > 0);
        t.status(ControlSemaphore, "down", Success, "acknowledges at once", down(timer, 0));
    }
    t.status(AssignInterrupt, "unchain", Success, "plain", assign(timer, 0, 0, 0, timer));
    let tick = down(timer, time_stamp() + 20_000 * t.millisecond);
    t.status(ControlSemaphore, "down", Success, "of the pin itself", tick);
}

fn messages(t: &mut Report, world: &mut World) {
    let message = interrupt(world, MESSAGE);
    let found = assign(message, 0, 0, 0, AS_IT_IS);
    t.status(AssignInterrupt, "message", Success, "without a device", found);
    t.equal("address", found.rdx >> 32 & 0xFFF0_0000, 0xFEE0_0000);
    t.equal("data: the vector", found.rdx & 0xFF, 32 + MESSAGE);
    t.equal("address again", found.rsi & 0xFFF0_0000, 0xFEE0_0000);
    for (page, what) in [(ROOT_UTCB_ADDRESS, "a message page"), (0x7000_0000, "nothing"), (u64::MAX, "far out")] {
        t.status(AssignInterrupt, "message", BadDevice, what, assign(message, 0, page, 0, AS_IT_IS));
    }
}

fn functions(t: &mut Report, world: &mut World) {
    let assign = |at, page| hypercall(AssignPci, 0, at, [page, 0, 0, 0]);
    for (at, what) in [(EMPTY, "nothing"), (ROOT_EC, "a context"), (world.semaphore(0), "a semaphore")] {
        t.status(AssignPci, "plain", BadCapability, what, assign(at, 0));
    }
    for (page, what) in [(0, "no page"), (ROOT_UTCB_ADDRESS, "a message page"), (u64::MAX, "far out")] {
        t.status(AssignPci, "plain", BadDevice, what, assign(ROOT, page));
    }
}
