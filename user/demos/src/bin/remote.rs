//! Calls to servers of another core: idle, busy, dead, revoked while it serves; callers that go while they wait; a caller
//! of high priority behind one of low; a server that makes its caller wait for a semaphore; two servers that wait for each
//! other.
//!
//! Written straight against the interface. Ends with success if every check holds. Concurrency: threads and servers on two
//! cores share atomics.
// UNSAFETY: entry points in assembly.
#![expect(unsafe_code, reason = "entry points in assembly")]
#![no_std]
#![no_main]

use core::arch::{asm, global_asm};
use core::hint::spin_loop;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use abi::hip::ROOT_UTCB_ADDRESS;
use abi::rights::PortalRights;
use abi::{Crd, Hypercall, Request, Rights, Selector};
use demos::raw::{Checks, PATIENCE, call, down, hypercall, time_stamp, up, word};
use demos::servers::{Made, SELF, server, thread};
use rt::{Environment, ExitStatus};

rt::entry!(main);

/// Semaphores: opens the slow server, never upped, one that a server makes its caller wait for, starts the high thread.
const GATE: u64 = 0x50;
const NEVER: u64 = 0x51;
const HOLD: u64 = 0x52;
const HIGH: u64 = 0x53;
const ROUNDS: u64 = 1000;

static ENTERED: AtomicU64 = AtomicU64::new(0);
static FIRST: AtomicU64 = AtomicU64::new(u64::MAX);
static SLOW: AtomicU64 = AtomicU64::new(0);
static STATUS: AtomicU64 = AtomicU64::new(u64::MAX);
static GOES: AtomicU64 = AtomicU64::new(0);
static WAITED: AtomicU64 = AtomicU64::new(0);
static HOGS: AtomicU64 = AtomicU64::new(0);
static HURRIED: AtomicU64 = AtomicU64::new(0);
static WORK: AtomicU64 = AtomicU64::new(0);
static WORKS: AtomicU64 = AtomicU64::new(0);
/// Portals of two servers that call each other, and the message page of the first.
static CROSSED: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
static CROSSING: AtomicU64 = AtomicU64::new(0);

global_asm!(
    "add_entry:", "add qword ptr [rdi + 32], 1", "mov edi, 1", "syscall",
    "die_entry:", "ud2",
    "slow_entry:", "call {slow}", "mov edi, 1", "syscall",
    "work_entry:", "call {work}", "mov edi, 1", "syscall",
    // Replies with the semaphore 0x52 the first times, plainly then.
    "hold_entry:", "call {hold}", "mov edi, eax", "syscall",
    "cross_entry:", "call {cross}", "mov edi, 1", "syscall",
    slow = sym slow, work = sym work, hold = sym hold, cross = sym cross,
);

// SAFETY: defined above; only their addresses are used.
unsafe extern "C" {
    fn add_entry();
    fn die_entry();
    fn slow_entry();
    fn work_entry();
    fn hold_entry();
    fn cross_entry();
}

/// Waits until the gate opens.
extern "C" fn slow() {
    ENTERED.fetch_add(1, SeqCst);
    down(GATE, 0);
}

/// Works until the thread of high priority has called, and a while longer.
extern "C" fn work() {
    WORKS.store(1, SeqCst);
    let end = time_stamp() + PATIENCE;
    while WORK.load(SeqCst) == 0 && time_stamp() < end {
        spin_loop();
    }
}

extern "C" fn hold() -> u64 {
    if WAITED.fetch_add(1, SeqCst) < 2 { 1 | HOLD << 8 } else { 1 }
}

/// Calls the other of two servers.
extern "C" fn cross(page: u64) {
    let [first, second, first_page] = [0, 1, 2].map(|index: usize| CROSSED[index].load(SeqCst));
    CROSSING.fetch_add(1, SeqCst);
    call(if page == first_page { second } else { first });
}

/// Calls the slow server of its own core.
extern "C" fn client() {
    FIRST.store(call(SLOW.load(SeqCst)), SeqCst);
    rest();
}

/// Calls the slow server of another core.
extern "C" fn remote_client() {
    STATUS.store(call(SLOW.load(SeqCst)), SeqCst);
    rest();
}

/// Ups what the holding server makes its caller wait for, once it does.
extern "C" fn upper() {
    while WAITED.load(SeqCst) < 2 {
        down(NEVER, time_stamp() + 1_000_000);
    }
    down(NEVER, time_stamp() + 10_000_000);
    GOES.store(1, SeqCst);
    up(HOLD);
    rest();
}

/// Of middle priority: takes its core for itself until the thread of high priority has got its answer.
extern "C" fn hog() {
    HOGS.store(1, SeqCst);
    let end = time_stamp() + PATIENCE;
    while HURRIED.load(SeqCst) == 0 && time_stamp() < end {
        spin_loop();
    }
    HOGS.store(if HURRIED.load(SeqCst) == 0 { 3 } else { 2 }, SeqCst);
    rest();
}

/// Of high priority, on the other core.
extern "C" fn high() {
    down(HIGH, 0);
    WORK.store(1, SeqCst);
    STATUS.store(call(SLOW.load(SeqCst)), SeqCst);
    HURRIED.store(1, SeqCst);
    rest();
}

extern "C" fn rest() -> ! {
    loop {
        down(NEVER, 0);
    }
}

fn entry(function: unsafe extern "C" fn()) -> u64 {
    (function as *const ()).addr() as u64
}

fn thread_entry(function: extern "C" fn()) -> u64 {
    (function as *const ()).addr() as u64
}

/// Waits until `counter` is `value`; what it is then.
fn until(counter: &AtomicU64, value: u64) -> u64 {
    let end = time_stamp() + PATIENCE;
    while counter.load(SeqCst) != value && time_stamp() < end {
        spin_loop();
    }
    counter.load(SeqCst)
}

fn pause() {
    down(NEVER, time_stamp() + 20_000_000);
}

/// Takes `rights` of one capability away.
fn revoke(selector: u64, rights: Rights) -> u64 {
    let range = Crd::objects(Selector::new(selector), 0, rights).unwrap_or(Crd::NULL);
    hypercall(Hypercall::Revoke, 1, 0, [range.word(), 0, 0, 0])
}

/// Calls with one word; status and the word that comes back.
fn ask(portal: u64, flags: u8, value: u64) -> (u64, u64) {
    word(ROOT_UTCB_ADDRESS, 0).store(1, SeqCst);
    word(ROOT_UTCB_ADDRESS, 4).store(value, SeqCst);
    let status = hypercall(Hypercall::Call, flags, portal, [0; 4]) & 0xFF;
    (status, word(ROOT_UTCB_ADDRESS, 4).load(SeqCst))
}

fn main(_: &Environment) -> ExitStatus {
    demos::announce("remote", "calls to servers of another core");
    let mut checks = Checks::new("remote");
    let semaphores = [GATE, NEVER, HOLD, HIGH];
    let made = semaphores.map(|at| hypercall(Hypercall::CreateSemaphore, 0, at, [SELF, 0, 0, 0]));
    checks.check("semaphores", made.iter().sum(), 0);
    idle(&mut checks);
    dead(&mut checks);
    let slow = busy(&mut checks);
    caller_goes(&mut checks, slow);
    callee_goes(&mut checks, slow);
    held(&mut checks);
    inversion(&mut checks);
    // The first ones make tables and pages of objects that stay.
    let before = [(); 2].map(|()| crossed(&mut checks))[1];
    crossed(&mut checks);
    checks.check("servers that waited for each other cost nothing", returned(before), 1);
    checks.finish()
}

/// Two servers on two cores wait for each other's answer, and then nobody has a capability to any of it. Pages in use then.
fn crossed(checks: &mut Checks) -> u64 {
    let (first, first_made) = server(0, entry(cross_entry));
    let (second, second_made) = server(1, entry(cross_entry));
    CROSSED.iter().zip([first.other(), second.other(), first.page()]).for_each(|(to, from)| to.store(from, SeqCst));
    CROSSING.store(0, SeqCst);
    SLOW.store(first.other(), SeqCst);
    let (client, client_made) = thread(0, thread_entry(remote_client), 2);
    checks.check("two servers and a client", first_made | second_made | client_made, 0);
    checks.check("they call each other", until(&CROSSING, 2), 2);
    pause();
    let both = [first, second, client].map(|it| revoke(it.context(), Rights::ALL) | revoke(it.other(), Rights::ALL));
    let gone = both.into_iter().fold(revoke(client.events() + 0x1E, Rights::ALL), |all, one| all | one);
    checks.check("all of them go", gone, 0);
    pause();
    pause();
    usage()
}

fn idle(checks: &mut Checks) {
    let (adder, created) = server(1, entry(add_entry));
    checks.check("server", created, 0);
    checks.check("call of another core", u64::from(ask(adder.other(), 0, 41) == (0, 42)), 1);
    let sum = (0..ROUNDS).filter(|&round| ask(adder.other(), 0, round) == (0, round + 1)).count();
    checks.check("many calls", sum as u64, ROUNDS);
    SLOW.store(adder.other(), SeqCst);
    // The first ones make tables that stay.
    let before = [(); 3].map(|()| visit(checks, adder))[2];
    visit(checks, adder);
    checks.check("callers that are gone cost nothing", returned(before), 1);
    checks.check("right to call across cores goes", revoke(adder.other(), PortalRights::CALL_CROSS_CPU.into()), 0);
    checks.check("call without it", ask(adder.other(), 0, 41).0, 7);
    checks.check("right to call goes", revoke(adder.other(), PortalRights::CALL.into()), 0);
    checks.check("call without it", ask(adder.other(), 0, 41).0, 4);
}

/// A thread comes, calls the server of the other core, and goes; pages of kernel memory in use then.
fn visit(checks: &mut Checks, adder: Made) -> u64 {
    STATUS.store(u64::MAX, SeqCst);
    let (client, created) = thread(0, thread_entry(remote_client), 2);
    checks.check("a caller", created, 0);
    checks.check("it is served", until(&STATUS, adder.other() << 8), adder.other() << 8);
    pause();
    let names = [client.other(), client.context(), client.events() + 0x1E];
    checks.check("it goes", names.into_iter().map(|name| revoke(name, Rights::ALL)).sum(), 0);
    pause();
    pause();
    STATUS.store(u64::MAX, SeqCst);
    usage()
}

/// 1 when no more pages are in use than `before`, which may take a while: the other core gives back, too.
fn returned(before: u64) -> u64 {
    let end = time_stamp() + PATIENCE;
    while usage() > before && time_stamp() < end {
        pause();
    }
    u64::from(usage() <= before && before != u64::MAX)
}

/// Pages of kernel memory in use.
fn usage() -> u64 {
    let (mut status, mut usage) = (Request::new(Hypercall::ControlDomain, 2, Selector::new(SELF)).word(), 0_u64);
    // SAFETY: asks for two numbers.
    unsafe { asm!("syscall", inout("rdi") status, out("rsi") _, inout("rdx") usage, out("rcx") _, out("r11") _) };
    if status & 0xFF == 0 { usage } else { u64::MAX }
}

fn dead(checks: &mut Checks) {
    let (dying, created) = server(1, entry(die_entry));
    checks.check("server that dies", created, 0);
    checks.check("it dies while it serves", ask(dying.other(), 0, 0).0, 2);
    checks.check("it is dead", ask(dying.other(), 0, 0).0, 1);
}

fn busy(checks: &mut Checks) -> Made {
    let (slow, created) = server(1, entry(slow_entry));
    SLOW.store(slow.other(), SeqCst);
    let (_, client) = thread(1, thread_entry(client), 1);
    checks.check("a server that waits, and a client of its core", created | client, 0);
    checks.check("the server serves", until(&ENTERED, 1), 1);
    checks.check("it is busy", ask(slow.other(), 1, 0).0, 1);
    let (_, opener) = thread(1, thread_entry(opener), 1);
    checks.check("one that opens the gate later", opener, 0);
    checks.check("waiting for a busy server", ask(slow.other(), 0, 0).0, 0);
    checks.check("it served twice", ENTERED.load(SeqCst), 2);
    checks.check("the client of its core", until(&FIRST, slow.other() << 8), slow.other() << 8);
    slow
}

/// Opens the gate twice.
extern "C" fn opener() {
    for _ in 0..2 {
        down(NEVER, time_stamp() + 20_000_000);
        up(GATE);
    }
    rest();
}

fn caller_goes(checks: &mut Checks, slow: Made) {
    let (client, created) = thread(0, thread_entry(remote_client), 2);
    checks.check("a client of this core", created, 0);
    checks.check("the server serves it", until(&ENTERED, 3), 3);
    let gone = revoke(client.other(), Rights::ALL) | revoke(client.context(), Rights::ALL);
    checks.check("it goes", gone, 0);
    pause();
    checks.check("its server is still busy", ask(slow.other(), 1, 0).0, 1);
    checks.check("the gate opens twice", up(GATE) | up(GATE), 0);
    checks.check("the server serves others", ask(slow.other(), 0, 0).0, 0);
    checks.check("the client was not answered", STATUS.load(SeqCst), u64::MAX);
}

fn callee_goes(checks: &mut Checks, slow: Made) {
    let (_, created) = thread(0, thread_entry(remote_client), 2);
    checks.check("a client of this core", created, 0);
    checks.check("the server serves it", until(&ENTERED, 5), 5);
    let gone = revoke(slow.other(), Rights::ALL) | revoke(slow.context(), Rights::ALL);
    checks.check("the server goes", gone, 0);
    pause();
    checks.check("the client is told", until(&STATUS, 2), 2);
}

fn held(checks: &mut Checks) {
    let (holder, created) = server(1, entry(hold_entry));
    let (_, upper) = thread(1, thread_entry(upper), 2);
    checks.check("a server that makes callers wait", created | upper, 0);
    checks.check("up what it makes them wait for first", up(HOLD), 0);
    checks.check("the call goes through in the end", ask(holder.other(), 0, 0).0, 0);
    checks.check("it was made again after each wait", WAITED.load(SeqCst), 3);
    checks.check("and waited for the up", GOES.load(SeqCst), 1);
}

fn inversion(checks: &mut Checks) {
    STATUS.store(u64::MAX, SeqCst);
    let (worker, created) = server(1, entry(work_entry));
    SLOW.store(worker.other(), SeqCst);
    let (_, high) = thread(0, thread_entry(high), 10);
    let (_, low) = thread(1, thread_entry(client), 1);
    checks.check("a server, a client of low priority, one of high priority", created | high | low, 0);
    checks.check("it serves the one of low priority", until(&WORKS, 1), 1);
    let (_, hog) = thread(1, thread_entry(hog), 5);
    checks.check("one of middle priority takes the core", hog, 0);
    checks.check("it has it", until(&HOGS, 1), 1);
    checks.check("the client of high priority calls", up(HIGH), 0);
    checks.check("it is served", until(&STATUS, worker.other() << 8), worker.other() << 8);
    checks.check("without the one of middle priority giving way", until(&HOGS, 2), 2);
}
