//! Guests that run on several cores lose a page: row S11 of the acceptance matrix of revocations.
//!
//! A virtual CPU on each of the cores 1 and 2, as far as there are any, loads from one page without an end. The page is lent,
//! used, taken and filled with something else, again and again: exactly these cores are interrupted, each virtual CPU
//! faults, and none has loaded what was written after the revocation had returned.
//! Written straight against the interface. Ends with success if every check holds, and at once where there are no virtual
//! CPUs. Concurrency: each virtual CPU has a context that handles its exits, on its core; atomics.
// UNSAFETY: entry points in assembly, and code of guests as labels.
#![expect(unsafe_code, reason = "entry points in assembly")]
#![no_std]
#![no_main]

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use abi::arch_state::{ArchState, STATE_OFFSET};
use abi::counter::Counter;
use abi::event::{VCPU_EVENTS, VCPU_STARTUP, VCPU_SVM_NESTED_FAULT};
use abi::hip::{Features, ROOT_UTCB_ADDRESS};
use abi::item::ItemFlags;
use abi::qpd::Qpd;
use abi::rights::MemoryRights;
use abi::{Crd, Hypercall, Mtd, Rights, Selector, TypedItem};
use demos::raw::{Checks, PATIENCE, answer, down, give, hypercall, time_stamp, up, word};
use demos::servers::{SELF, portal, server};
use rt::{Environment, ExitStatus, println};

rt::entry!(main);

/// Selectors: the guests' domain; a semaphore that is upped at each exit, and one for each virtual CPU to wait at; virtual
/// CPUs and their time; portals here, and there.
const DOMAIN: u64 = 0x60;
const DONE: u64 = 0x61;
const PARK: u64 = 0x62;
const VCPUS: u64 = 0x70;
const PORTALS: u64 = 0x2000;
const EVENTS: u64 = 0x1000;
/// Virtual CPUs at most.
const MOST: u64 = 2;
const ROUNDS: u64 = 30;
/// VMX's event for an access to a page that is not there.
const VMX_VIOLATION: u64 = 48;

/// Guest-physical pages: code, two tables of pages, counters, and the page that comes and goes.
const CODE: u64 = 1;
const TABLE: u64 = 2;
const DIRECTORY: u64 = 3;
const COUNTERS: u64 = 4;
const SHARED: u64 = 0x20;

#[repr(align(4096))]
struct Frame([AtomicU64; 512]);
impl Frame {
    const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; 512])
    }

    fn page(&self) -> u64 {
        (&raw const *self).addr() as u64 >> 12
    }
}
static TABLE_FRAME: Frame = Frame::new();
static DIRECTORY_FRAME: Frame = Frame::new();
/// For each virtual CPU how often it has loaded, and what.
static COUNTER_FRAME: Frame = Frame::new();
static SHARED_FRAME: Frame = Frame::new();
/// Each one's message page, and how often it faulted; exits that are not expected.
static MESSAGES: [AtomicU64; MOST as usize] = [const { AtomicU64::new(0) }; MOST as usize];
static FAULTS: [AtomicU64; MOST as usize] = [const { AtomicU64::new(0) }; MOST as usize];
static OTHERS: AtomicU64 = AtomicU64::new(0);
static INTEL: AtomicU64 = AtomicU64::new(0);

global_asm!(
    "revoke_entry:", "call {handle}", "mov rdi, rax", "syscall",
    ".section .text.guest, \"ax\"",
    ".balign 4096",
    "revoke_guest:", "mov rax, [rbx]", "mov [rcx + 8], rax", "inc qword ptr [rcx]", "jmp revoke_guest",
    ".balign 4096",
    ".text",
    handle = sym handle,
);
// SAFETY: defined above; only their addresses are used.
unsafe extern "C" {
    safe static revoke_entry: u8;
    safe static revoke_guest: u8;
}

macro_rules! field {
    ($name:ident) => {
        (STATE_OFFSET + core::mem::offset_of!(ArchState, $name)) / 8
    };
}

/// Handles an exit of virtual CPU `identity / 256`; the word of the hypercall that replies.
extern "C" fn handle(identity: u64) -> u64 {
    let (number, event) = (identity >> 8, identity & 0xFF);
    let page = MESSAGES[number as usize & 1].load(SeqCst);
    word(page, field!(mtd)).store(0, SeqCst);
    if event == u64::from(VCPU_STARTUP) {
        begin(page, number);
        return 1;
    }
    if event == VMX_VIOLATION || event == u64::from(VCPU_SVM_NESTED_FAULT) {
        FAULTS[number as usize & 1].fetch_add(1, SeqCst);
    } else {
        OTHERS.fetch_add(1, SeqCst);
    }
    up(DONE);
    1 | (PARK + number) << 8
}

/// The state that virtual CPU `number` starts with: 64-bit mode.
fn begin(page: u64, number: u64) {
    let intel = INTEL.load(SeqCst) != 0;
    let (code, data) = (0xFFFF_FFFF << 32 | 0xA9B << 16 | 8, 0xFFFF_FFFF << 32 | 0xC93 << 16 | 0x10);
    let segments = [
        (field!(cs), code),
        (field!(ss), data),
        (field!(ds), data),
        (field!(es), data),
        (field!(fs), data),
        (field!(gs), data),
        (field!(tr), 0xFFFF << 32 | 0x8B << 16),
        (field!(ldtr), 0xFFFF << 32 | 0x82 << 16),
    ];
    let registers = [
        (field!(rip), CODE << 12),
        (field!(rflags), 2),
        (field!(rbx), SHARED << 12),
        (field!(rcx), (COUNTERS << 12) + 64 * number),
        (field!(cr0), 0x8000_0031),
        (field!(cr3), TABLE << 12),
        (field!(cr4), 0x6A0),
        (field!(efer), if intel { 0x500 } else { 0x1500 }),
        // VMRUN exits: the processor insists.
        (field!(ctrl), if intel { 0 } else { 1 << 32 }),
    ];
    let groups = Mtd::GPR | Mtd::RIP_LEN | Mtd::RFLAGS | Mtd::CS_SS | Mtd::DS_ES | Mtd::FS_GS | Mtd::TR | Mtd::LDTR;
    (STATE_OFFSET / 8..512).for_each(|index| word(page, index).store(0, SeqCst));
    segments.into_iter().chain(registers).for_each(|(field, value)| word(page, field).store(value, SeqCst));
    let groups = groups | Mtd::GDTR | Mtd::IDTR | Mtd::CR | Mtd::EFER | Mtd::CTRL | Mtd::INJ | Mtd::STA;
    word(page, field!(mtd)).store(groups.bits(), SeqCst);
}

/// Gives the guests a page of this program as page `to` of theirs.
fn lend(page: u64, rights: MemoryRights, to: u64) -> u64 {
    let page = Crd::memory(page, 0, rights).unwrap_or(Crd::NULL);
    let all = Crd::memory(0, 31, MemoryRights::all()).unwrap_or(Crd::NULL);
    give(ROOT_UTCB_ADDRESS, SELF, TypedItem::delegate(page, ItemFlags::GUEST, to), (DOMAIN, all))
}

/// How often a virtual CPU has loaded, and what it loaded last.
fn loads(number: u64) -> [u64; 2] {
    [0, 1].map(|more| COUNTER_FRAME.0[8 * number as usize + more].load(SeqCst))
}

fn interrupted(core: u64) -> u64 {
    answer(Hypercall::Misc, 3, core, [Counter::InterruptsTaken as u64, 0, 0, 0])[1]
}

fn main(environment: &Environment) -> ExitStatus {
    demos::announce("guest-revoke", "guests on several cores lose a page");
    let mut checks = Checks::new("guest-revoke");
    let features = environment.hip().header().features;
    let cores = environment.hip().enabled_cpus() as u64;
    if !features.intersects(Features::SVM | Features::VMX) || cores < 2 {
        println!("guest-revoke: no virtual CPUs here, or no other core");
        return checks.finish();
    }
    INTEL.store(u64::from(features.intersects(Features::VMX)), SeqCst);
    let count = (cores - 1).min(MOST);
    prepare(&mut checks, count);
    for number in 0..count {
        checks.check("all fault at once", down(DONE, time_stamp() + PATIENCE), 0);
        checks.check("each", FAULTS[number as usize].load(SeqCst) & !1, 0);
    }
    for round in 1..=ROUNDS {
        take_away(&mut checks, round, count, cores);
    }
    for number in 0..count {
        checks.check("faults", FAULTS[number as usize].load(SeqCst), ROUNDS + 1);
    }
    checks.check("and no other exits", OTHERS.load(SeqCst), 0);
    checks.finish()
}

fn prepare(checks: &mut Checks, count: u64) {
    TABLE_FRAME.0[0].store(DIRECTORY << 12 | 3, SeqCst);
    // 1 GiB to itself.
    DIRECTORY_FRAME.0[0].store(0x83, SeqCst);
    checks.check("domain", hypercall(Hypercall::CreateDomain, 0, DOMAIN, [SELF, 0, 128 << 32, 0]), 0);
    let (both, code) = (MemoryRights::READ | MemoryRights::WRITE, (&raw const revoke_guest).addr() as u64 >> 12);
    let pages = [
        lend(code, MemoryRights::READ | MemoryRights::EXECUTE, CODE),
        lend(TABLE_FRAME.page(), both, TABLE),
        lend(DIRECTORY_FRAME.page(), both, DIRECTORY),
        lend(COUNTER_FRAME.page(), both, COUNTERS),
    ];
    checks.check("memory", pages.iter().sum(), 0);
    let entry = (&raw const revoke_entry).addr() as u64;
    let quantum = Qpd::new(1, 10_000).map_or(0, Qpd::word);
    checks.check("semaphore", hypercall(Hypercall::CreateSemaphore, 0, DONE, [SELF, 0, 0, 0]), 0);
    for number in 0..count {
        let (core, vcpu) = (number + 1, VCPUS + 2 * number);
        checks.check("semaphore", hypercall(Hypercall::CreateSemaphore, 0, PARK + number, [SELF, 0, 0, 0]), 0);
        let (handler, status) = server(core, entry);
        MESSAGES[number as usize].store(handler.page(), SeqCst);
        let first = PORTALS + VCPU_EVENTS * number;
        let portals = (0..VCPU_EVENTS).fold(status, |all, event| {
            all | portal(first + event, handler.context(), entry, Mtd::QUAL, number << 8 | event)
        });
        checks.check("handler", portals, 0);
        let objects = |at| Crd::objects(Selector::new(at), 8, Rights::ALL).unwrap_or(Crd::NULL);
        let base = EVENTS + VCPU_EVENTS * number;
        let item = TypedItem::delegate(objects(first), ItemFlags::empty(), 0);
        checks.check("portals", give(ROOT_UTCB_ADDRESS, SELF, item, (DOMAIN, objects(base))), 0);
        checks.check("virtual CPU", hypercall(Hypercall::CreateContext, 1, vcpu, [DOMAIN, core, 0, base]), 0);
        checks.check("time", hypercall(Hypercall::CreateScheduling, 0, vcpu + 1, [SELF, vcpu, quantum, 0]), 0);
    }
}

/// Lends the page, has all use it, takes it, and looks who was interrupted and what was loaded.
fn take_away(checks: &mut Checks, round: u64, count: u64, cores: u64) {
    const POISON: u64 = 0xDEAD << 32;
    SHARED_FRAME.0[0].store(round, SeqCst);
    checks.check("lend", lend(SHARED_FRAME.page(), MemoryRights::READ, SHARED), 0);
    let before = [0, 1].map(loads);
    (0..count).for_each(|number| _ = up(PARK + number));
    let end = time_stamp() + PATIENCE;
    let used = |number: u64| loads(number)[0] >= before[number as usize][0] + 200;
    while !(0..count).all(used) && time_stamp() < end {
        core::hint::spin_loop();
    }
    checks.check("all use it", u64::from((0..count).all(used)), 1);
    let taken = [1, 2, 3].map(interrupted);
    let page = Crd::memory(SHARED_FRAME.page(), 0, MemoryRights::all()).unwrap_or(Crd::NULL);
    checks.check("take it", hypercall(Hypercall::Revoke, 0, 0, [page.word(), 0, 0, 0]), 0);
    SHARED_FRAME.0[0].store(POISON, SeqCst);
    let after = [0, 1].map(loads);
    for _ in 0..count {
        checks.check("it faults", down(DONE, time_stamp() + PATIENCE), 0);
    }
    // Who was in the kernel has forgotten it before it took the interrupt, but has taken that before it ran on.
    for core in 1..cores.min(4) {
        let more = interrupted(core) - taken[core as usize - 1];
        checks.check("interrupts", more, u64::from(core <= count));
    }
    for number in 0..count {
        let [times, what] = loads(number);
        checks.check("loaded last", what, round);
        // One that was loaded before may be counted after.
        checks.check("loads after that", u64::from(times > after[number as usize][0] + 1), 0);
    }
}
