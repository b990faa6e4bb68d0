//! Threads on two cores: start, semaphores with deadlines, priorities, and lending time to a busy server.
//!
//! Written straight against the interface, without the runtime's typed capabilities: what it shows is the kernel.
//! Ends with success if every check holds. Concurrency: threads share counters, which are atomics, and take turns
//! through semaphores.
// UNSAFETY: raw hypercalls, message pages at fixed addresses, and code that the kernel enters.
#![expect(unsafe_code, reason = "raw hypercalls")]
#![no_std]
#![no_main]

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use abi::qpd::Qpd;
use abi::{Hypercall, Mtd};
use demos::raw::{Checks, call, down, hypercall, time_stamp, up, word};
use rt::{Environment, ExitStatus};

rt::entry!(main);

/// Selectors. Each thread has its own event base, where its startup portal is.
const LOCAL: Thread = Thread { base: 0x200, starter: 0x40, context: 0x41, page: 0x4000_0000, stack: 0, core: 0 };
const REMOTE: Thread = Thread { base: 0x300, starter: 0x42, context: 0x43, page: 0x4000_2000, stack: 2, core: 1 };
const SERVER: u64 = 0x44;
const SERVICE: u64 = 0x45;
const SERVER_PAGE: u64 = 0x4000_4000;
const TO_LOCAL: u64 = 0x50;
const FROM_LOCAL: u64 = 0x51;
const TO_REMOTE: u64 = 0x52;
const FROM_REMOTE: u64 = 0x53;
/// Round trips of each game of ping-pong.
const ROUNDS: u64 = 1000;

struct Thread {
    base: u64,
    starter: u64,
    context: u64,
    page: u64,
    stack: usize,
    core: u64,
}

#[repr(align(4096))]
struct Stacks([[AtomicU64; 1024]; 5]);
static STACKS: Stacks = Stacks([const { [const { AtomicU64::new(0) }; 1024] }; 5]);
static LOCAL_ROUNDS: AtomicU64 = AtomicU64::new(0);
static REMOTE_ROUNDS: AtomicU64 = AtomicU64::new(0);
static SERVED: AtomicU64 = AtomicU64::new(0);
static HELPED: AtomicU64 = AtomicU64::new(u64::MAX);

global_asm!(
    "start_entry:", "call {start}", "mov edi, 1", "syscall",
    "serve_entry:", "call {serve}", "mov edi, 1", "syscall",
    "local_entry:", "call {local}", "ud2",
    "remote_entry:", "call {remote}", "ud2",
    start = sym start, serve = sym serve, local = sym local, remote = sym remote,
);

// SAFETY: defined above; only their addresses are used.
unsafe extern "C" {
    fn start_entry();
    fn serve_entry();
    fn local_entry();
    fn remote_entry();
}

fn stack_top(stack: usize) -> u64 {
    let stack = &raw const STACKS.0[stack];
    stack.addr() as u64 + 8192
}

/// Serves the startup event; the portal's identity is the message page of the serving context.
extern "C" fn start(page: u64) {
    let (entry, stack) = if page == LOCAL.page {
        (local_entry as *const () as u64, stack_top(LOCAL.stack + 1))
    } else {
        (remote_entry as *const () as u64, stack_top(REMOTE.stack + 1))
    };
    word(page, 4).store((Mtd::RIP_LEN | Mtd::RSP).bits(), SeqCst);
    word(page, 6).store(entry, SeqCst);
    word(page, 14).store(stack, SeqCst);
}

/// Wakes the thread of higher priority, which calls here as well and finds the server busy.
extern "C" fn serve(_: u64) {
    if SERVED.fetch_add(1, SeqCst) == 0 {
        up(TO_LOCAL);
    }
}

extern "C" fn local() {
    for _ in 0..=ROUNDS {
        down(TO_LOCAL, 0);
        LOCAL_ROUNDS.fetch_add(1, SeqCst);
        up(FROM_LOCAL);
    }
    down(TO_LOCAL, 0);
    HELPED.store(call(SERVICE), SeqCst);
    loop {
        down(TO_LOCAL, 0);
    }
}

extern "C" fn remote() {
    loop {
        down(TO_REMOTE, 0);
        REMOTE_ROUNDS.fetch_add(1, SeqCst);
        up(FROM_REMOTE);
    }
}

/// Creates a thread, and what serves its startup event.
fn spawn(checks: &mut Checks, thread: &Thread, scheduling: u64, priority: u8) {
    let &Thread { base, starter, context, page, stack, core } = thread;
    let create =
        |at, page, stack, flags| hypercall(Hypercall::CreateContext, flags, at, [32, page | core, stack, base]);
    let portal = base + 0x1E;
    let entry = start_entry as *const () as u64;
    checks.check("context for the start", create(starter, page, stack_top(stack), 0), 0);
    checks.check("startup portal", hypercall(Hypercall::CreatePortal, 0, portal, [32, starter, 0, entry]), 0);
    checks.check("its identity", hypercall(Hypercall::ControlPortal, 0, portal, [page, 0, 0, 0]), 0);
    checks.check("thread", create(context, page + 0x1000, 0, 1), 0);
    let quantum = Qpd::new(priority, 10_000).map_or(0, Qpd::word);
    let run = |context| hypercall(Hypercall::CreateScheduling, 0, scheduling, [32, context, quantum, 0]);
    checks.check("scheduling context for a serving context", run(starter), 4);
    checks.check("scheduling context", run(context), 0);
}

fn main(environment: &Environment) -> ExitStatus {
    demos::announce("threads", "threads and semaphores on two cores");
    let mut checks = Checks::new("threads");
    for semaphore in [TO_LOCAL, FROM_LOCAL, TO_REMOTE, FROM_REMOTE] {
        checks.check("semaphore", hypercall(Hypercall::CreateSemaphore, 0, semaphore, [32, 0, 0, 0]), 0);
    }
    deadlines(&mut checks);
    one_core(&mut checks);
    if environment.hip().cpus().filter(|(_, cpu)| cpu.is_enabled()).count() > 1 {
        two_cores(&mut checks);
    }
    checks.finish()
}

fn deadlines(checks: &mut Checks) {
    checks.check("down without up, deadline past", down(TO_LOCAL, 1), 1);
    let deadline = time_stamp() + 3_000_000;
    checks.check("down without up, deadline ahead", down(TO_LOCAL, deadline), 1);
    checks.check("the deadline has passed then", u64::from(time_stamp() >= deadline), 1);
    checks.check("up", up(TO_LOCAL), 0);
    checks.check("up again", up(TO_LOCAL), 0);
    checks.check("down to zero", hypercall(Hypercall::ControlSemaphore, 3, TO_LOCAL, [0; 4]), 0);
    checks.check("nothing is left", down(TO_LOCAL, 1), 1);
    checks.check("up of no semaphore", up(33), 4);
    checks.check("yield", hypercall(Hypercall::ControlContext, 1, 0, [0; 4]), 0);
    checks.check("reschedule", hypercall(Hypercall::ControlContext, 3, 0, [0; 4]), 0);
}

fn one_core(checks: &mut Checks) {
    checks.check("up before the thread is there", up(TO_LOCAL), 0);
    spawn(checks, &LOCAL, 0x60, 2);
    checks.check("the higher priority has run at once", LOCAL_ROUNDS.load(SeqCst), 1);
    checks.check("its answer is there", down(FROM_LOCAL, 1), 0);
    for _ in 0..ROUNDS {
        up(TO_LOCAL);
        down(FROM_LOCAL, 0);
    }
    checks.check("rounds on one core", LOCAL_ROUNDS.load(SeqCst), ROUNDS + 1);
    let create = [32, SERVER_PAGE, stack_top(4), 0x200];
    checks.check("server", hypercall(Hypercall::CreateContext, 0, SERVER, create), 0);
    let entry = serve_entry as *const () as u64;
    checks.check("service", hypercall(Hypercall::CreatePortal, 0, SERVICE, [32, SERVER, 0, entry]), 0);
    checks.check("call", call(SERVICE), SERVICE << 8);
    checks.check("both calls were served", SERVED.load(SeqCst), 2);
    checks.check("the one that found the server busy", HELPED.load(SeqCst), SERVICE << 8);
}

fn two_cores(checks: &mut Checks) {
    spawn(checks, &REMOTE, 0x61, 1);
    for _ in 0..ROUNDS {
        up(TO_REMOTE);
        down(FROM_REMOTE, 0);
    }
    checks.check("rounds on two cores", REMOTE_ROUNDS.load(SeqCst), ROUNDS);
}
