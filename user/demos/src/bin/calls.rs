//! Calls through portals within one domain, faults as calls, and the statuses of the hypercalls involved.
//!
//! Written straight against the interface, without the runtime's typed capabilities: what it shows is the kernel.
//! Ends with success if every check holds. Concurrency: the program's thread and the contexts that serve it take turns.
// UNSAFETY: raw hypercalls, message pages at fixed addresses, and code that the kernel enters.
#![expect(unsafe_code, reason = "raw hypercalls")]
#![no_std]
#![no_main]

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use abi::counter::Counter;
use abi::hip::ROOT_UTCB_ADDRESS;
use abi::{Hypercall, Mtd};
use demos::raw::{Checks, answer, hypercall, word};
use rt::{Environment, ExitStatus};

rt::entry!(main);

/// Selectors: serving contexts and portals.
const SERVER: u64 = 0x40;
const ECHO: u64 = 0x41;
const HANDLER: u64 = 0x42;
const EMPTY: u64 = 0x100;
/// Message pages of the serving contexts.
const SERVER_PAGE: u64 = 0x4000_0000;
const HANDLER_PAGE: u64 = 0x4000_1000;
/// Events.
const UNDEFINED: u64 = 6;
const PAGE_FAULT: u64 = 14;
/// What the echo portal is told.
const IDENTITY: u64 = 0x1234;
/// An address that nothing is mapped at.
const NOWHERE: u64 = 0x5000_0123;

#[repr(align(4096))]
struct Stacks([[AtomicU64; 1024]; 2]);
static STACKS: Stacks = Stacks([const { [const { AtomicU64::new(0) }; 1024] }; 2]);

// The kernel enters with the stack pointer of the last reply, which is the one of the entry: the call is balanced.
global_asm!(
    "echo_entry:", "call {echo}", "mov edi, 1", "syscall",
    "skip_entry:", "call {skip}", "mov edi, 1", "syscall",
    echo = sym echo, skip = sym skip,
);

// SAFETY: defined above; only their addresses are used.
unsafe extern "C" {
    fn echo_entry();
    fn skip_entry();
}

/// Adds the portal's identity to every word of the message.
extern "C" fn echo(identity: u64) {
    let count = word(SERVER_PAGE, 0).load(Relaxed) & 0xFFFF;
    for index in 0..count as usize {
        word(SERVER_PAGE, 4 + index).fetch_add(identity, Relaxed);
    }
}

/// Notes why the fault came and lets the faulter go on behind the instruction, whose length is the portal's identity.
extern "C" fn skip(length: u64) {
    word(HANDLER_PAGE, 6).fetch_add(length, Relaxed);
    word(HANDLER_PAGE, 4).store(Mtd::RIP_LEN.bits(), Relaxed);
    FAULT[0].store(word(HANDLER_PAGE, 26).load(Relaxed), Relaxed);
    FAULT[1].store(word(HANDLER_PAGE, 27).load(Relaxed), Relaxed);
    FAULTS.fetch_add(1, Relaxed);
}

static FAULTS: AtomicU64 = AtomicU64::new(0);
static FAULT: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

fn create_context(at: u64, page: u64, stack: usize) -> u64 {
    let stack = &raw const STACKS.0[stack];
    hypercall(Hypercall::CreateContext, 0, at, [32, page, stack.addr() as u64 + 8192, 0x200])
}

fn create_portal(at: u64, context: u64, entry: u64, mtd: Mtd) -> u64 {
    hypercall(Hypercall::CreatePortal, 0, at, [32, context, mtd.bits(), entry])
}

fn main(_: &Environment) -> ExitStatus {
    demos::announce("calls", "calls and faults within one domain");
    let mut checks = Checks::new("calls");
    creation(&mut checks);
    messages(&mut checks);
    faults(&mut checks);
    checks.finish()
}

fn creation(checks: &mut Checks) {
    let echo = echo_entry as *const () as u64;
    checks.check("call of nothing", hypercall(Hypercall::Call, 0, EMPTY, [0; 4]), 4);
    let null = (0..1 << 16).filter(|step| hypercall(Hypercall::Call, 0, step * 0x400 + 0x80, [0; 4]) == 4).count();
    checks.check("null capabilities all over the space", null as u64, 1 << 16);
    checks.check("portal without a context", create_portal(ECHO, SERVER, echo, Mtd::empty()), 4);
    checks.check("context in no domain", hypercall(Hypercall::CreateContext, 0, SERVER, [EMPTY, SERVER_PAGE, 0, 0]), 4);
    checks.check(
        "context on no core",
        hypercall(Hypercall::CreateContext, 0, SERVER, [32, SERVER_PAGE | 0xFFF, 0, 0]),
        7,
    );
    checks.check("page beyond the user range", create_context(SERVER, 0x7FFF_C000_0000, 0), 5);
    checks.check("context", create_context(SERVER, SERVER_PAGE, 0), 0);
    checks.check("context where there is one", create_context(SERVER, HANDLER_PAGE, 0), 4);
    checks.check("portal entry beyond the user range", create_portal(ECHO, SERVER, 0x7FFF_C000_0000, Mtd::empty()), 5);
    checks.check("portal to the global context", create_portal(ECHO, 33, echo, Mtd::empty()), 4);
    checks.check("portal", create_portal(ECHO, SERVER, echo, Mtd::empty()), 0);
    checks.check("identity of no portal", hypercall(Hypercall::ControlPortal, 0, SERVER, [0; 4]), 4);
    checks.check("identity", hypercall(Hypercall::ControlPortal, 0, ECHO, [IDENTITY, 0, 0, 0]), 0);
    checks.check("aliased selector", hypercall(Hypercall::ControlPortal, 0, ECHO + (1 << 26), [IDENTITY, 0, 0, 0]), 0);
}

fn messages(checks: &mut Checks) {
    for count in [0, 1, 8, 64, 508] {
        for index in 0..508 {
            word(ROOT_UTCB_ADDRESS, 4 + index).store(index as u64, Relaxed);
        }
        word(ROOT_UTCB_ADDRESS, 0).store(count, Relaxed);
        let status = hypercall(Hypercall::Call, 0, ECHO, [0; 4]);
        checks.check("a successful call leaves the register as it was", status, ECHO << 8);
        let right = (0..508).filter(|&index| {
            let expected = if index < count { index + IDENTITY } else { index };
            word(ROOT_UTCB_ADDRESS, 4 + index as usize).load(Relaxed) == expected
        });
        checks.check("words of a call", right.count() as u64, 508);
    }
}

/// Calls and events that this core, the first, has had served.
fn served() -> u64 {
    answer(Hypercall::Misc, 3, 0, [Counter::Calls as u64, 0, 0, 0])[1]
}

fn faults(checks: &mut Checks) {
    let skip = skip_entry as *const () as u64;
    let mtd = Mtd::RIP_LEN | Mtd::QUAL;
    checks.check("handler context", create_context(HANDLER, HANDLER_PAGE, 1), 0);
    checks.check("portal for #UD", create_portal(UNDEFINED, HANDLER, skip, mtd), 0);
    checks.check("portal for #PF", create_portal(PAGE_FAULT, HANDLER, skip, mtd), 0);
    checks.check("length of UD2", hypercall(Hypercall::ControlPortal, 0, UNDEFINED, [2, 0, 0, 0]), 0);
    checks.check("length of the load", hypercall(Hypercall::ControlPortal, 0, PAGE_FAULT, [3, 0, 0, 0]), 0);
    let before = served();
    let registers: u64;
    // SAFETY: the handler goes on behind the instruction; registers other than RIP are as they were.
    unsafe { asm!("mov r12, 77", "ud2", "mov {}, r12", out(reg) registers, out("r12") _) };
    checks.check("registers across a fault", registers, 77);
    checks.check("faults handled", FAULTS.load(Relaxed), 1);
    // SAFETY: as above; nothing is read.
    unsafe { asm!("mov rax, [rcx]", in("rcx") NOWHERE, out("rax") _) };
    checks.check("faults handled", FAULTS.load(Relaxed), 2);
    checks.check("error code of a load from nowhere", FAULT[0].load(Relaxed), 4);
    checks.check("address of the fault", FAULT[1].load(Relaxed), NOWHERE);
    checks.check("the kernel has counted both", served() - before, 2);
}
