//! Ports that are given and taken back.
//!
//! Purpose: a port cannot be used before it is delegated, can afterwards, and cannot any more when it was taken, on every core at
//! once and without an interrupt: processors look at the bitmap at each access.
//! Written straight against the interface. Ends with success if every check holds.
//! Concurrency: the main thread asks one prober on each core after the other.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use abi::counter::Counter;
use abi::hip::ROOT_UTCB_ADDRESS;
use abi::item::ItemFlags;
use abi::{Crd, Hypercall, Mtd, TypedItem};
use demos::probe::{NOTHING, fix_entry, port};
use demos::raw::{Checks, answer, down, give, hypercall, up};
use demos::threads::{handle, spawn};
use rt::{Environment, ExitStatus};

rt::entry!(main);

const SELF: u64 = 32;
/// Semaphores: one for each prober, and the one that says that it is done.
const GO: u64 = 0x80;
const DONE: u64 = 0x90;
const CORES: usize = 2;
const PROTECTION: u64 = 13;
/// Where a PC shows how far its firmware has come: four ports.
const PORTS: u16 = 0x80;
/// What a prober reads, and what it has found.
static PORT: AtomicU64 = AtomicU64::new(0);
static FOUND: AtomicU64 = AtomicU64::new(0);

extern "C" fn prober(thread: u64) -> ! {
    loop {
        down(GO + thread, 0);
        FOUND.store(port(PORT.load(SeqCst) as u16), SeqCst);
        up(DONE);
    }
}

/// On how many of the cores the port can be read.
fn readable(cores: usize, at: u16) -> u64 {
    PORT.store(at.into(), SeqCst);
    let read = |core| {
        up(GO + core);
        down(DONE, 0);
        u64::from(FOUND.load(SeqCst) != NOTHING)
    };
    (0..cores as u64).map(read).sum()
}

fn ports(port: u16, order: u32) -> Crd {
    Crd::ports(port, order).unwrap_or(Crd::NULL)
}

fn take(port: u16, order: u32) -> u64 {
    hypercall(Hypercall::Revoke, 1, 0, [ports(port, order).word(), 0, 0, 0])
}

fn interrupts(cores: usize) -> u64 {
    (0..cores as u64).map(|core| answer(Hypercall::Misc, 3, core, [Counter::InterruptsSent as u64, 0, 0, 0])[1]).sum()
}

fn main(environment: &Environment) -> ExitStatus {
    demos::announce("ports", "ports are given and taken back");
    let mut checks = Checks::new("ports");
    let cores = environment.hip().enabled_cpus().min(CORES);
    let all = cores as u64;
    let mut made = hypercall(Hypercall::CreateSemaphore, 0, DONE, [SELF, 0, 0, 0]);
    for core in 0..all {
        made |= hypercall(Hypercall::CreateSemaphore, 0, GO + core, [SELF, 0, 0, 0]);
        made |= spawn(core, core, 2, prober) | handle(core, PROTECTION, fix_entry(), Mtd::empty());
    }
    checks.check("probers", made, 0);
    checks.check("the runtime has all ports", readable(cores, PORTS), all);
    checks.check("eight are taken", take(PORTS, 3), 0);
    checks.check("they cannot be used", readable(cores, PORTS) + readable(cores, PORTS + 4), 0);
    let lend = |order| {
        let item = TypedItem::delegate(ports(PORTS, order), ItemFlags::HYPERVISOR, 0);
        give(ROOT_UTCB_ADDRESS, SELF, item, (SELF, ports(0, 16)))
    };
    for _ in 0..2 {
        checks.check("four are given", lend(2), 0);
        checks.check("the first can be used", readable(cores, PORTS), all);
        checks.check("the last can", readable(cores, PORTS + 3), all);
        checks.check("the next cannot", readable(cores, PORTS + 4), 0);
        let before = interrupts(cores);
        checks.check("one is taken", take(PORTS + 1, 0), 0);
        checks.check("nobody is interrupted", interrupts(cores) - before, 0);
        checks.check("it cannot be used", readable(cores, PORTS + 1), 0);
        checks.check("those beside it can", readable(cores, PORTS) + readable(cores, PORTS + 2), 2 * all);
        checks.check("all are taken", take(PORTS, 2), 0);
        checks.check("none can be used", (0..4).map(|port| readable(cores, PORTS + port)).sum(), 0);
    }
    checks.finish()
}
