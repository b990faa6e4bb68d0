//! Control of contexts: recall of threads that run, wait or have faulted, with and without their state; handlers that make
//! whom they serve wait; donation; times; lookup; and what needs a capability of the root program.
//!
//! Written straight against the interface. Ends with success if every check holds. Concurrency: threads and handlers on two
//! cores share atomics.
// UNSAFETY: entry points in assembly, and instructions that fault.
#![expect(unsafe_code, reason = "entry points in assembly")]
#![no_std]
#![no_main]

use core::arch::{asm, global_asm};
use core::hint::spin_loop;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use abi::hip::ROOT_UTCB_ADDRESS;
use abi::item::ItemFlags;
use abi::operation::{ContextControl, SchedulingControl};
use abi::rights::MemoryRights;
use abi::{Crd, Hypercall, Mtd, Request, Rights, Selector, TypedItem};
use demos::raw::{Checks, PATIENCE, down, hypercall, time_stamp, up, word};
use demos::servers::{Made, SELF, server, thread};
use rt::{Environment, ExitStatus};

rt::entry!(main);

/// Semaphores: what handlers make those wait for whom they serve, never upped, what a thread waits for, what a handler
/// itself waits for; what threads wait for until their handlers are there, and the witness until somebody asks.
const HOLD: u64 = 0x50;
const NEVER: u64 = 0x51;
const BLOCK: u64 = 0x52;
const GATE: u64 = 0x53;
const START: u64 = 0x54;
const ASKED: u64 = 0x55;
const IDLE: u64 = 0x60;
/// Names of the thread that moves, its portal and its time; and where its domain gets it, from its events on.
const MOVING: u64 = 0x64;
const HOME: u64 = 0x1C;
const MSR_KEY: u64 = 36;
const RECALL: u64 = 0x1F;
const BREAKPOINT: u64 = 3;
const UNDEFINED: u64 = 6;
const PAGE_FAULT: u64 = 14;
const NOWHERE: u64 = 0x5000_0000;
/// Words of the state in a message page.
const RIP: usize = 6;
const RSP: usize = 14;
const QUAL: usize = 26;

static RUNS: AtomicU64 = AtomicU64::new(0);
static RECALLS: AtomicU64 = AtomicU64::new(0);
static PAUSES: AtomicU64 = AtomicU64::new(0);
static WOKEN: AtomicU64 = AtomicU64::new(u64::MAX);
static FAULTS: AtomicU64 = AtomicU64::new(0);
static RESOLVED: AtomicU64 = AtomicU64::new(0);
static TRAPS: AtomicU64 = AtomicU64::new(0);
static TRAPPED: AtomicU64 = AtomicU64::new(0);
static DONATED: AtomicU64 = AtomicU64::new(0);
static READY: AtomicU64 = AtomicU64::new(0);
static WITNESSED: AtomicU64 = AtomicU64::new(0);
static MOVED: AtomicU64 = AtomicU64::new(u64::MAX);
static STEPS: AtomicU64 = AtomicU64::new(0);

global_asm!(
    "move_entry:", "call {moves}", "mov edi, 1", "syscall",
    "recalled_entry:", "call {recalled}", "mov edi, eax", "syscall",
    "fault_entry:", "call {fault}", "mov edi, eax", "syscall",
    "trap_entry:", "call {trap}", "mov edi, 1", "syscall",
    "undefined_entry:", "call {undefined}", "mov edi, 1", "syscall",
    recalled = sym recalled, moves = sym moves, fault = sym fault, trap = sym trap, undefined = sym undefined,
);

// SAFETY: defined above; only their addresses are used.
unsafe extern "C" {
    fn recalled_entry();
    fn move_entry();
    fn fault_entry();
    fn trap_entry();
    fn undefined_entry();
}

/// Lets the thread go on unchanged; at once, or if told to when the semaphore is upped.
extern "C" fn recalled(page: u64) -> u64 {
    word(page, 4).store(0, SeqCst);
    // Who sees the count may change what others are to do.
    let reply = if PAUSES.load(SeqCst) == 0 { 1 } else { 1 | HOLD << 8 };
    RECALLS.fetch_add(1, SeqCst);
    reply
}

/// Skips the load, and lets the thread go on when the semaphore is upped.
extern "C" fn fault(page: u64) -> u64 {
    word(page, RIP).fetch_add(3, SeqCst);
    word(page, 4).store(Mtd::RIP_LEN.bits(), SeqCst);
    FAULTS.fetch_add(1, SeqCst);
    1 | HOLD << 8
}

/// Takes its time.
extern "C" fn trap(page: u64) {
    word(page, 4).store(0, SeqCst);
    TRAPS.fetch_add(1, SeqCst);
    down(GATE, 0);
}

/// Takes its time, and skips the instruction.
extern "C" fn undefined(page: u64) {
    down(GATE, 0);
    word(page, RIP).fetch_add(2, SeqCst);
    word(page, 4).store(Mtd::RIP_LEN.bits(), SeqCst);
}

/// Moves the thread to the other core.
extern "C" fn moves(_: u64) {
    let home = Crd::objects(Selector::new(HOME), 0, Rights::ALL).map_or(0, Crd::word);
    let refused = [(2, 0), (1, 1)].map(|(core, at)| migrate(MOVING + at, core, home));
    let moved = migrate(MOVING, 1, home);
    MOVED.store(if refused == [5, 4] { moved } else { refused[0] << 8 | refused[1] << 16 }, SeqCst);
}

fn migrate(context: u64, core: u64, home: u64) -> u64 {
    let operation = ContextControl::Migrate.flags();
    hypercall(Hypercall::ControlContext, operation, context, [core, home, 0, 0]) & 0xFF
}

extern "C" fn walk() {
    loop {
        STEPS.fetch_add(1, SeqCst);
        down(NEVER, time_stamp() + 1_000_000);
    }
}

extern "C" fn rest() -> ! {
    loop {
        down(NEVER, 0);
    }
}

extern "C" fn spin() {
    loop {
        RUNS.fetch_add(1, SeqCst);
    }
}

/// Runs when everybody waits who is more urgent on its core.
extern "C" fn witness() {
    loop {
        down(ASKED, 0);
        WITNESSED.fetch_add(1, SeqCst);
    }
}

extern "C" fn wait() {
    READY.fetch_add(1, SeqCst);
    WOKEN.store(down(BLOCK, 0), SeqCst);
    rest();
}

extern "C" fn load() {
    down(START, 0);
    // SAFETY: the handler goes on behind the instruction, which is three bytes long; nothing is read.
    unsafe { asm!("mov rax, [rcx]", in("rcx") NOWHERE, out("rax") _) };
    RESOLVED.store(1, SeqCst);
    // SAFETY: the handler goes on behind the instruction.
    unsafe { asm!("ud2") };
    RESOLVED.store(2, SeqCst);
    rest();
}

extern "C" fn breakpoint() {
    down(START, 0);
    // SAFETY: the handler changes nothing.
    unsafe { asm!("int3") };
    TRAPPED.fetch_add(1, SeqCst);
    rest();
}

extern "C" fn receive() {
    READY.fetch_add(1, SeqCst);
    control(ContextControl::Yield, 0, 0);
    loop {
        DONATED.fetch_add(1, SeqCst);
        control(ContextControl::Reschedule, 0, 0);
    }
}

fn control(operation: ContextControl, context: u64, rsi: u64) -> u64 {
    hypercall(Hypercall::ControlContext, operation.flags(), context, [rsi, 0, 0, 0]) & 0xFF
}

/// A hypercall with what it leaves in registers: status, RSI, RDX, RAX, R8.
fn query(call: Hypercall, flags: u8, selector: u64, rsi: u64) -> [u64; 5] {
    let (mut status, mut rsi) = (Request::new(call, flags, Selector::new(selector)).word(), rsi);
    let [mut rdx, mut rax, mut r8] = [0; 3];
    // SAFETY: asks, and changes nothing.
    unsafe {
        asm!("syscall", inout("rdi") status, inout("rsi") rsi, inout("rdx") rdx, inout("rax") rax, inout("r8") r8,
            out("rcx") _, out("r11") _);
    }
    [status & 0xFF, rsi, rdx, rax, r8]
}

fn until(counter: &AtomicU64, value: u64) -> u64 {
    let end = time_stamp() + PATIENCE;
    while counter.load(SeqCst) < value && time_stamp() < end {
        spin_loop();
    }
    counter.load(SeqCst)
}

fn pause() {
    down(NEVER, time_stamp() + 30_000_000);
}

/// Waits until everybody waits who is more urgent than the witness on core 1; on this core that is always so.
fn settle(core: u64) {
    if core == 1 {
        let before = WITNESSED.load(SeqCst);
        up(ASKED);
        until(&WITNESSED, before + 1);
    }
}

/// Recalls with state until that is to be had.
fn state(context: u64) -> u64 {
    let end = time_stamp() + PATIENCE;
    loop {
        match control(ContextControl::Recall, context, 1) {
            1 if time_stamp() < end => spin_loop(),
            status => return status,
        }
    }
}

fn entry(function: unsafe extern "C" fn()) -> u64 {
    (function as *const ()).addr() as u64
}

fn thread_on(core: u64, function: extern "C" fn(), priority: u8) -> (Made, u64) {
    thread(core, (function as *const ()).addr() as u64, priority)
}

fn state_word(index: usize) -> u64 {
    word(ROOT_UTCB_ADDRESS, index).load(SeqCst)
}

fn main(_: &Environment) -> ExitStatus {
    demos::announce("control", "recall, donation, times");
    let mut checks = Checks::new("control");
    let semaphores = [HOLD, NEVER, BLOCK, GATE, START, ASKED];
    let made = semaphores.map(|at| hypercall(Hypercall::CreateSemaphore, 0, at, [SELF, 0, 0, 0]));
    let (_, created) = thread_on(1, witness, 1);
    checks.check("semaphores and a witness", made.iter().sum::<u64>() | created, 0);
    for core in [1, 0] {
        waiting(&mut checks, core);
    }
    let runner = running(&mut checks);
    faulting(&mut checks);
    trapping(&mut checks);
    donation(&mut checks, runner);
    times(&mut checks, runner);
    migration(&mut checks);
    idle_time(&mut checks);
    keys(&mut checks);
    checks.finish()
}

fn waiting(checks: &mut Checks, core: u64) {
    let before = RECALLS.load(SeqCst);
    let (handler, created) = server(core, entry(recalled_entry));
    let (waiter, thread) = thread_on(core, wait, 2);
    let portal = waiter.handled_by(handler, RECALL, entry(recalled_entry), Mtd::FS_GS, handler.page());
    checks.check("a thread that waits", created | thread | portal, 0);
    checks.check("it runs", until(&READY, 2 - core), 2 - core);
    settle(core);
    checks.check("recall of no context", control(ContextControl::Recall, waiter.other(), 1), 4);
    word(ROOT_UTCB_ADDRESS, RSP).store(0, SeqCst);
    checks.check("its state", state(waiter.context()), 0);
    checks.check("it is in no handler", state_word(QUAL), 0);
    checks.check("it has a stack", u64::from(state_word(RSP) != 0), 1);
    checks.check("it goes on waiting", RECALLS.load(SeqCst), before);
    checks.check("up", up(BLOCK), 0);
    checks.check("it is recalled before it goes on", until(&RECALLS, before + 1), before + 1);
    settle(core);
    checks.check("it goes on", WOKEN.swap(u64::MAX, SeqCst), 0);
}

fn running(checks: &mut Checks) -> Made {
    let before = RECALLS.load(SeqCst);
    let (handler, created) = server(1, entry(recalled_entry));
    let (runner, thread) = thread_on(1, spin, 1);
    let portal = runner.handled_by(handler, RECALL, entry(recalled_entry), Mtd::FS_GS, handler.page());
    checks.check("a thread that runs", created | thread | portal, 0);
    checks.check("it runs", u64::from(until(&RUNS, 1) >= 1), 1);
    checks.check("recall", control(ContextControl::Recall, runner.context(), 0), 0);
    checks.check("it is recalled", until(&RECALLS, before + 1), before + 1);
    let runs = RUNS.load(SeqCst);
    checks.check("it goes on", u64::from(until(&RUNS, runs + 100) > runs), 1);
    PAUSES.store(1, SeqCst);
    checks.check("recall, to pause it", control(ContextControl::Recall, runner.context(), 0), 0);
    checks.check("it is recalled", until(&RECALLS, before + 2), before + 2);
    pause();
    let runs = RUNS.load(SeqCst);
    PAUSES.store(0, SeqCst);
    checks.check("its state", state(runner.context()), 0);
    checks.check("it has a stack", u64::from(state_word(RSP) != 0), 1);
    checks.check("it does not run", RUNS.load(SeqCst), runs);
    checks.check("up of what it waits for", up(HOLD), 0);
    checks.check("it goes on", u64::from(until(&RUNS, runs + 100) > runs), 1);
    checks.check("the recall for the state came too", until(&RECALLS, before + 3), before + 3);
    runner
}

fn faulting(checks: &mut Checks) {
    let before = RECALLS.load(SeqCst);
    let (pager, created) = server(0, entry(fault_entry));
    let (handler, other) = server(0, entry(undefined_entry));
    let (recaller, third) = server(0, entry(recalled_entry));
    let (faulter, thread) = thread_on(0, load, 2);
    let mtd = Mtd::RIP_LEN | Mtd::QUAL;
    let portals = faulter.handled_by(pager, PAGE_FAULT, entry(fault_entry), mtd, pager.page())
        | faulter.handled_by(handler, UNDEFINED, entry(undefined_entry), mtd, handler.page())
        | faulter.handled_by(recaller, RECALL, entry(recalled_entry), mtd, recaller.page());
    checks.check("a thread that faults", created | other | third | thread | portals, 0);
    checks.check("it may begin", up(START), 0);
    checks.check("its pager has it wait", FAULTS.load(SeqCst), 1);
    checks.check("it waits", RESOLVED.load(SeqCst), 0);
    checks.check("up", up(HOLD), 0);
    checks.check("it goes on behind the load", RESOLVED.load(SeqCst), 1);
    checks.check("its state, in the second handler", state(faulter.context()), 0);
    checks.check("it is in a handler", state_word(QUAL), 1);
    checks.check("up of what the handler waits for", up(GATE), 0);
    checks.check("it goes on", RESOLVED.load(SeqCst), 2);
    checks.check("and was recalled before", RECALLS.load(SeqCst), before + 1);
}

fn trapping(checks: &mut Checks) {
    let (handler, created) = server(0, entry(trap_entry));
    let mut wrong = created;
    for _ in 0..2 {
        let (trapper, thread) = thread_on(0, breakpoint, 2);
        wrong |= thread | trapper.handled_by(handler, BREAKPOINT, entry(trap_entry), Mtd::RIP_LEN, handler.page());
    }
    checks.check("two threads that trap", wrong | up(START) | up(START), 0);
    checks.check("one is served", TRAPS.load(SeqCst), 1);
    checks.check("the handler goes on", up(GATE), 0);
    checks.check("the other's trap is not lost", TRAPS.load(SeqCst), 2);
    checks.check("the handler goes on again", up(GATE), 0);
    checks.check("both go on", TRAPPED.load(SeqCst), 2);
}

fn donation(checks: &mut Checks, runner: Made) {
    let ready = READY.load(SeqCst);
    let (receiver, created) = thread_on(0, receive, 1);
    checks.check("a thread of the same priority", created, 0);
    while READY.load(SeqCst) == ready {
        control(ContextControl::Yield, 0, 0);
    }
    word(receiver.page(), 3).store(77, SeqCst);
    let before = DONATED.load(SeqCst);
    checks.check("donation with the wrong word", control(ContextControl::Donate, receiver.context(), 78), 5);
    checks.check("donation", control(ContextControl::Donate, receiver.context(), 77), 0);
    checks.check("it has run", u64::from(DONATED.load(SeqCst) > before), 1);
    checks.check("donation to another core", control(ContextControl::Donate, runner.context(), 0), 7);
    checks.check("donation to no context", control(ContextControl::Donate, 0x3F0, 0), 4);
}

fn times(checks: &mut Checks, runner: Made) {
    let time = ContextControl::Time.flags();
    let end = time_stamp() + PATIENCE;
    let [status, high, whole] = loop {
        // The kernel looks at the time when it chooses anew who runs.
        settle(1);
        let [status, high, whole, ..] = query(Hypercall::ControlContext, time, runner.context(), 0);
        if status != 0 || whole > 1000 || time_stamp() >= end {
            break [status, high, whole];
        }
    };
    checks.check("time of a context", status, 0);
    checks.check("it has run", u64::from(whole > 1000 && high == whole >> 32), 1);
    let both = SchedulingControl::BothTimes.flags();
    let [status, _, time, _, context] = query(Hypercall::ControlScheduling, both, runner.other(), runner.context());
    checks.check("times of both", status, 0);
    checks.check("both have run", u64::from(time > 1000 && context >= whole), 1);
    checks.check("time of no scheduling context", query(Hypercall::ControlScheduling, 0, runner.context(), 0)[0], 4);
    checks.check("state of a thread here", control(ContextControl::GetState, 33, 0), 4);
    checks.check("state of a thread elsewhere", control(ContextControl::SetState, runner.context(), 0), 7);
    checks.check("unknown operation", hypercall(Hypercall::ControlContext, 9, 33, [0; 4]) & 0xFF, 5);
}

/// Another selector for the same capability.
fn duplicate(from: u64, to: u64, flags: ItemFlags) -> u64 {
    let one = |at| Crd::objects(Selector::new(at), 0, Rights::ALL).unwrap_or(Crd::NULL);
    let item = TypedItem::delegate(one(from), flags, 0).words();
    for (index, value) in [(0, 1 << 16), (510, item[0]), (511, item[1])] {
        word(ROOT_UTCB_ADDRESS, index).store(value, SeqCst);
    }
    hypercall(Hypercall::Misc, 1, SELF, [one(to).word(), SELF, 0, 0]) & 0xFF
}

fn migration(checks: &mut Checks) {
    let (mover, created) = server(0, entry(move_entry));
    let (there, other) = server(1, entry(recalled_entry));
    let (walker, thread) = thread_on(0, walk, 2);
    let portal = walker.handled_by(mover, RECALL, entry(move_entry), Mtd::RIP_LEN, mover.page());
    checks.check("a thread", created | other | thread | portal, 0);
    let names = [walker.context(), there.other(), walker.other()];
    let named = names.into_iter().zip(MOVING..).map(|(from, to)| duplicate(from, to, ItemFlags::empty()));
    checks.check("its selectors", named.sum(), 0);
    checks.check("moved by nobody", migrate(MOVING, 1, 0), 5);
    checks.check("recall", control(ContextControl::Recall, MOVING, 0), 0);
    pause();
    checks.check("its handler moves it", MOVED.load(SeqCst), 0);
    let steps = STEPS.load(SeqCst);
    checks.check("it goes on", u64::from(until(&STEPS, steps + 3) >= steps + 3), 1);
    checks.check("on the other core", control(ContextControl::Donate, MOVING, 0), 7);
    checks.check("its domain has its capability", control(ContextControl::Time, walker.events() + HOME, 0), 0);
    let old_time = || query(Hypercall::ControlContext, ContextControl::Time.flags(), walker.context(), 0)[2];
    let before = old_time();
    pause();
    checks.check("what is left does not run", old_time(), before);
    checks.check("what is left is over", control(ContextControl::Donate, walker.context(), 0), 5);
}

/// Takes the idle scheduling context of the other core from the hypervisor's space.
fn idle_time(checks: &mut Checks) {
    let taken = duplicate(1, IDLE, ItemFlags::HYPERVISOR);
    checks.check("the idle time of the other core", taken, 0);
    let [status, _, idle, ..] = query(Hypercall::ControlScheduling, 0, IDLE, 0);
    checks.check("how long it was", status, 0);
    checks.check("it waited for this program", u64::from(idle > 1000), 1);
    checks.check("calls from here", query(Hypercall::ControlScheduling, 1, IDLE, 0)[0], 0);
    checks.check("what is gone", query(Hypercall::ControlScheduling, 3, IDLE, 0)[0], 0);
    checks.check("those of a thread", query(Hypercall::ControlScheduling, 1, 34, 0)[0], 5);
}

fn keys(checks: &mut Checks) {
    let find = |page| query(Hypercall::Misc, 0, 0, Crd::memory(page, 0, MemoryRights::all()).map_or(0, Crd::word));
    let [status, found, ..] = find(ROOT_UTCB_ADDRESS >> 12);
    let found = Crd::from_word(found);
    checks.check("lookup", status, 0);
    checks.check("it finds the message page", found.base(), ROOT_UTCB_ADDRESS >> 12);
    checks.check("lookup of nothing", find(NOWHERE >> 12)[1], 0);
    let words = [0x1, 0x19C, 0x4000_0000];
    word(ROOT_UTCB_ADDRESS, 0).store(words.len() as u64, SeqCst);
    for (index, value) in words.into_iter().enumerate() {
        word(ROOT_UTCB_ADDRESS, 4 + index).store(value, SeqCst);
    }
    checks.check("registers without the capability", control(ContextControl::AccessMsr, HOLD, 0), 4);
    checks.check("registers", control(ContextControl::AccessMsr, MSR_KEY, 0), 0);
    checks.check("those of the list only", state_word(0) & !2, 0);
    checks.check("sleep without the capability", hypercall(Hypercall::Misc, 2, HOLD, [0; 4]) & 0xFF, 4);
}
