//! Interrupts of real devices as semaphores, on every core in turn.
//!
//! Purpose: edges of the interval timer and of the serial line; a virtio device (if there is one) by level-triggered pin,
//! and by message; chaining, replay, acknowledging, what `assign_gsi` refuses, and that a thread that waits is woken on
//! idle, busy and other cores. Where a pin goes is read from the interrupt controller itself.
//! Ends with success if every check holds. Concurrency: the program's thread, and one that waits on each core.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use abi::hip::CPU_SLOTS;
use abi::{Crd, Hypercall, Rights, Selector};
use demos::devices::{self, RandomNumbers, take, take_memory};
use demos::raw::{Checks, PATIENCE, answer, down, hypercall, time_stamp, up, word32};
use demos::threads::spawn;
use rt::ports::IoPorts;
use rt::{Environment, ExitStatus};

rt::entry!(main);

/// Where the program puts the semaphores of all interrupts.
const INTERRUPTS: u64 = 0x800;
const TIMER: u64 = INTERRUPTS + 2;
const SERIAL: u64 = INTERRUPTS + 4;
const FIRST_PCI: u64 = 16;
/// An interrupt without a pin, and its vector.
const MESSAGE: u64 = 100;
const MESSAGE_DATA: u64 = 132;
const PLAIN: u64 = 0x50;
const SIGNAL: u64 = 0x51;
const WOKEN: u64 = 0x52;
const NEVER: u64 = 0x53;
const SIGNALS: u64 = 0x60;
/// What the program maps: the interrupt controller, memory for the device, its message table, configuration.
const CONTROLLER: u64 = 0x6000_0000;
const MEMORY: u64 = 0x6001_0000;
const TABLE: u64 = 0x6002_0000;
const CONFIGURATION: u64 = 0x6003_0000;
const MEMORY_PHYS: u64 = 0x800_0000;
/// Flags of `assign_gsi`: configure; edge and high, or level and low.
const EDGE: u8 = 4;
const LEVEL: u8 = 7;
const LEAVE: u64 = u64::MAX;
const MASKED: u64 = 1 << 16;

static ARRIVED: AtomicU64 = AtomicU64::new(0);

/// Status, RSI and RDX.
fn assign(interrupt: u64, flags: u8, device: u64, core: u64, chain: u64) -> [u64; 3] {
    answer(Hypercall::AssignInterrupt, flags, interrupt, [device, core, chain, 0])
}

fn create(at: u64, value: u64, chained: u64) -> u64 {
    hypercall(Hypercall::CreateSemaphore, 0, at, [32, value, chained, 0])
}

fn long() -> u64 {
    time_stamp() + PATIENCE
}

fn short() -> u64 {
    time_stamp() + 20_000_000
}

/// The entry of a pin.
fn entry(pin: u64) -> u64 {
    let read = |index: u64| {
        word32(CONTROLLER).store(0x10 + index as u32, SeqCst);
        u64::from(word32(CONTROLLER + 0x10).load(SeqCst))
    };
    read(2 * pin) | read(2 * pin + 1) << 32
}

/// Id of a core's interrupt controller, as messages name it.
fn id(core: u64) -> u64 {
    assign(INTERRUPTS + MESSAGE, 0, 0, core, LEAVE)[1] >> 12 & 0xFF
}

/// Waits for the timer's interrupt on its core, with high priority.
extern "C" fn wait(thread: u64) -> ! {
    loop {
        down(TIMER, 0);
        ARRIVED.fetch_add(1 << (8 * thread), SeqCst);
        up(WOKEN);
        down(NEVER, 0);
    }
}

fn main(environment: &Environment) -> ExitStatus {
    demos::announce("interrupts", "interrupts of devices as semaphores");
    let mut checks = Checks::new("interrupts");
    let Ok(ports) = IoPorts::acquire() else { return ExitStatus::new(3) };
    let cores = environment.hip().cpus().filter(|(_, cpu)| cpu.is_enabled()).count() as u64;
    for (from, order) in [(0, 7), (128, 6)] {
        let range = |base| Crd::objects(Selector::new(base), order, Rights::ALL);
        checks.check("semaphores", take(range(CPU_SLOTS as u64 + from), range(INTERRUPTS + from)), 0);
    }
    checks.check("the controller's page", take_memory(0xFEC0_0000, CONTROLLER, 0), 0);
    for semaphore in [PLAIN, WOKEN, NEVER] {
        checks.check("semaphore", create(semaphore, 0, 0), 0);
    }
    checks.check("signal", create(SIGNAL, 0x77, PLAIN), 0);
    refusals(&mut checks, cores);
    edges(&mut checks, ports, cores);
    chains(&mut checks, ports);
    wakes(&mut checks, ports, cores);
    checks.check("memory", take_memory(MEMORY_PHYS, MEMORY, 2), 0);
    if let Some(mut device) = RandomNumbers::find(ports, MEMORY_PHYS, MEMORY) {
        levels(&mut checks, &mut device, cores);
        messages(&mut checks, ports, &mut device, cores);
    }
    checks.finish()
}

fn refusals(checks: &mut Checks, cores: u64) {
    let status = |interrupt, device, core, chain| assign(interrupt, 0, device, core, chain)[0];
    let message = INTERRUPTS + MESSAGE;
    checks.check("no semaphore", status(0x5F, 0, 0, LEAVE), 4);
    checks.check("a domain", status(32, 0, 0, LEAVE), 4);
    checks.check("a semaphore of no interrupt", status(PLAIN, 0, 0, LEAVE), 4);
    checks.check("no such core", status(TIMER, 0, cores, LEAVE), 7);
    checks.check("far from any core", status(TIMER, 0, u64::MAX, LEAVE), 7);
    checks.check("chained to nothing", status(TIMER, 0, 0, 0x5F), 4);
    checks.check("chained to another interrupt", status(TIMER, 0, 0, SERIAL), 4);
    checks.check("a pin with a device", status(TIMER, CONTROLLER, 0, LEAVE), 8);
    checks.check("a device that is none", status(message, CONTROLLER, 0, LEAVE), 8);
    checks.check("a device that is not there", status(message, 0x7000_0000, 0, LEAVE), 8);
    checks.check("a device in the kernel", status(message, 0xFFFF_FFFF_8200_0000, 0, LEAVE), 8);
    let [status, high, whole] = assign(message, 0, 0, 0, LEAVE);
    checks.check("a message", status, 0);
    checks.check("its address", high & !0xF_F000, 0xFEE0_0000);
    checks.check("its data", whole, high << 32 | MESSAGE_DATA);
}

fn edges(checks: &mut Checks, ports: IoPorts, cores: u64) {
    devices::stop_timer(ports);
    for core in 0..cores {
        let mut answers = assign(TIMER, 0, 0, core, LEAVE);
        checks.check("timer", answers.iter().sum(), 0);
        checks.check("where it goes", entry(2), id(core) << 56 | 34);
        // What came before the timer was stopped.
        while down(TIMER, short()) == 0 {}
        for _ in 0..3 {
            devices::fire_timer(ports, 1000);
            checks.check("its interrupt", down(TIMER, long()), 0);
        }
        answers = assign(SERIAL, EDGE, 0, core, LEAVE);
        checks.check("serial line", answers.iter().sum(), 0);
        devices::serial_interrupt(ports, true);
        checks.check("its interrupt", down(SERIAL, long()), 0);
        checks.check("what it wants", devices::serial_reason(ports).into(), 2);
        devices::serial_interrupt(ports, false);
        // The serial line raises its interrupt before the write returns; the timer's is the emulator's business, which may be
        // late on a busy host, with what the timer did before, too.
        let again = || {
            devices::fire_serial(ports);
            down(SERIAL, long())
        };
        checks.check("and two more", again() + again(), 0);
        checks.check("and no other", down(SERIAL, short()), 1);
    }
    // A vector that nobody has asked for: the kernel says so, and nothing happens.
    let forge = |value: u32| {
        word32(CONTROLLER).store(0x10 + 2 * 4, SeqCst);
        word32(CONTROLLER + 0x10).store(value, SeqCst);
    };
    forge(133);
    devices::fire_serial(ports);
    checks.check("a forged vector", down(SERIAL, short()), 1);
    forge(36);
}

/// With the serial line, which raises its interrupt before the write returns that makes it want something.
fn chains(checks: &mut Checks, ports: IoPorts) {
    let take = |semaphore, flags| answer(Hypercall::ControlSemaphore, flags, semaphore, [0, 1, 0, 0]);
    let fire = |checks: &mut Checks, times| {
        for _ in 0..times {
            devices::fire_serial(ports);
            checks.check("nothing else", down(NEVER, 1), 1);
        }
    };
    checks.check("serial line", assign(SERIAL, EDGE, 0, 0, LEAVE)[0], 0);
    fire(checks, 3);
    checks.check("passed on", assign(SERIAL, EDGE, 0, 0, SIGNAL)[0], 0);
    let [status, value, count] = take(PLAIN, 1);
    checks.check("all at once", status << 32 | value << 8 | count, 0x7703);
    checks.check("no more", take(PLAIN, 1)[0], 1);
    checks.check("acknowledged at once", take(SERIAL, 1)[0], 0);
    fire(checks, 2);
    checks.check("two as one signal", take(PLAIN, 1)[2], 2);
    checks.check("no more", take(PLAIN, 1)[0], 1);
    checks.check("to a plain one", assign(SERIAL, EDGE, 0, 0, PLAIN)[0], 0);
    fire(checks, 2);
    checks.check("two", take(PLAIN, 1)[0] + take(PLAIN, 1)[0], 0);
    checks.check("no more", take(PLAIN, 1)[0], 1);
    checks.check("to itself again", assign(SERIAL, 0, 0, 0, SERIAL)[0], 0);
    fire(checks, 2);
    checks.check("not passed on", take(PLAIN, 1)[0], 1);
    checks.check("but counted", take(SERIAL, 1)[0] + take(SERIAL, 1)[0], 0);
    checks.check("no more", take(SERIAL, 1)[0], 1);
    fire(checks, 2);
    checks.check("passed on", assign(SERIAL, EDGE, 0, 0, PLAIN)[0], 0);
    checks.check("two", take(PLAIN, 1)[0] + take(PLAIN, 1)[0], 0);
    checks.check("no more", take(PLAIN, 1)[0], 1);
    checks.check("to itself again", assign(SERIAL, 0, 0, 0, SERIAL)[0], 0);
}

fn wakes(checks: &mut Checks, ports: IoPorts, cores: u64) {
    for thread in 0..cores.min(4) {
        checks.check("thread", spawn(thread, thread, 2, wait), 0);
        down(NEVER, short());
        checks.check("timer", assign(TIMER, EDGE, 0, cores - 1 - thread, LEAVE)[0], 0);
        devices::fire_timer(ports, 5000);
        // Without a hypercall: on the first core the interrupt takes this thread's time away.
        let end = long();
        while ARRIVED.load(SeqCst) >> (8 * thread) == 0 && time_stamp() < end {}
        checks.check("it was woken", ARRIVED.load(SeqCst) >> (8 * thread), 1);
        checks.check("and goes on", down(WOKEN, long()), 0);
    }
}

fn levels(checks: &mut Checks, device: &mut RandomNumbers, cores: u64) {
    for pin in FIRST_PCI..24 {
        let interrupt = INTERRUPTS + pin;
        checks.check("signal", create(SIGNALS + pin, pin, PLAIN), 0);
        checks.check("pin", assign(interrupt, LEVEL, 0, 0, SIGNALS + pin).iter().sum(), 0);
    }
    let next =
        |deadline: u64| answer(Hypercall::ControlSemaphore, 1, PLAIN, [deadline >> 32, deadline & 0xFFFF_FFFF, 0, 0]);
    // What other devices on the same lines want stays masked.
    while next(short())[0] == 0 {}
    device.ask();
    let [status, pin, count] = next(long());
    checks.check("an interrupt", status << 32 | count, 1);
    let interrupt = INTERRUPTS + pin;
    for core in 0..cores {
        checks.check("pin", assign(interrupt, LEVEL, 0, core, LEAVE)[0], 0);
        // Still there, because the device still wants it.
        checks.check("once more", next(long())[2], 1);
        // Without the bits that say whether it is under way and served.
        checks.check("it is masked", entry(pin) & !(5 << 12), id(core) << 56 | MASKED | 0xA000 | (32 + pin));
        device.ask();
        checks.check("and quiet", next(short())[0], 1);
        checks.check("acknowledged, not served", down(interrupt, 1), 0);
        checks.check("again", next(long())[2], 1);
        while !device.is_done() {}
        checks.check("the device says so", u64::from(device.reason() & 1), 1);
        checks.check("acknowledged and served", down(interrupt, 1), 0);
        checks.check("it is not masked", entry(pin) & MASKED, 0);
        checks.check("quiet", next(short())[0], 1);
        device.ask();
        checks.check("the next", next(long())[2], 1);
    }
    let _ = device.reason();
}

fn messages(checks: &mut Checks, ports: IoPorts, device: &mut RandomNumbers, cores: u64) {
    let interrupt = INTERRUPTS + MESSAGE;
    let configuration = u64::from(devices::configuration(ports, 0, 0x60) & 0xFC00_0000) + u64::from(device.slot << 15);
    checks.check("its configuration", take_memory(configuration, CONFIGURATION, 0), 0);
    let Some((taken, vector)) = device.use_messages(TABLE) else { return checks.check("message table", 0, 1) };
    checks.check("message table", taken, 0);
    checks.check("vector", vector.into(), 0);
    for core in 0..cores {
        let [status, address, whole] = assign(interrupt, 0, CONFIGURATION, core, LEAVE);
        checks.check("message", status, 0);
        for (at, value) in [address, 0, whole & 0xFFFF_FFFF, 0].into_iter().enumerate() {
            word32(TABLE + 4 * at as u64).store(value as u32, SeqCst);
        }
        for _ in 0..3 {
            device.ask();
            checks.check("its interrupt", down(interrupt, long()), 0);
        }
        checks.check("and no other", down(interrupt, short()), 1);
        checks.check("all was served", device.is_done().into(), 1);
    }
}
