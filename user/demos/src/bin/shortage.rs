//! A domain without kernel memory asks for more.
//!
//! Purpose: what the kernel does when a quota is exhausted: in a hypercall, in a call, and in a reply; with a portal for
//! that, and without.
//! Written straight against the interface. Ends with success if every check holds.
//! Concurrency: the program's thread and contexts that serve it take turns.
// UNSAFETY: raw hypercalls, message pages at fixed addresses, and code that the kernel enters in another domain.
#![expect(unsafe_code, reason = "raw hypercalls")]
#![no_std]
#![no_main]

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use abi::hip::ROOT_UTCB_ADDRESS;
use abi::item::ItemFlags;
use abi::rights::MemoryRights;
use abi::{Crd, Hypercall, Request, Rights, Selector, TypedItem};
use demos::raw::{Checks, call, hypercall, up, word};
use rt::{Environment, ExitStatus};

rt::entry!(main);

const SELF: u64 = 32;
const POOR: u64 = 0x70;
/// The poor domain's server, which has the portal after it to ask through.
const SERVER: u64 = 0x80;
const ASK: u64 = 0x81;
const SERVE: u64 = 0x82;
/// The context that gives memory, and a semaphore to send about.
const GIVER: u64 = 0x90;
const SEMAPHORE: u64 = 0x91;
/// A server of the poor domain without such a portal.
const MUTE: u64 = 0xA0;
const MUTE_SERVE: u64 = 0xA2;
/// Replies with an item.
const TELLER: u64 = 0xA8;
const TELL: u64 = 0xA9;
/// Selectors of the poor domain: itself, and the portal to the teller.
const OWN: u64 = 1;
const TOLD: u64 = 2;
/// Of the portal through which it asks.
const IDENTITY: u64 = 0xA5A5;
/// Message pages.
const PAGE: u64 = 0x4000_0000;
const MUTE_PAGE: u64 = 0x4001_0000;
const GIVER_PAGE: u64 = 0x4100_0000;
const TELLER_PAGE: u64 = 0x4101_0000;
/// Where the poor domain receives: every time another page of its object space.
const WINDOW: u64 = 0x10_0000;

#[repr(align(4096))]
struct Stacks([[AtomicU64; 1024]; 4]);
static STACKS: Stacks = Stacks([const { [const { AtomicU64::new(0) }; 1024] }; 4]);
/// How often memory was asked for, and with what.
static ASKED: AtomicU64 = AtomicU64::new(0);
static SAID: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

global_asm!(
    // The portal's identity is the message page. The first word is a hypercall to make, with two arguments, whose status is
    // the answer; or 0, and the second word is the window to receive in.
    "serve_entry:", "mov rbx, rdi", "mov rdi, [rbx + 32]", "mov rsi, [rbx + 40]", "test rdi, rdi", "jnz 1f",
    "mov [rbx + 16], rsi", "jmp 2f",
    "1:", "mov rdx, [rbx + 48]", "syscall", "mov [rbx + 32], rdi",
    "2:", "mov qword ptr [rbx], 1", "mov edi, 1", "syscall",
    "give_entry:", "call {give}", "mov edi, 1", "syscall",
    "tell_entry:", "call {tell}", "mov edi, 1", "syscall",
    give = sym give, tell = sym tell,
);

// SAFETY: defined above; only their addresses are used.
unsafe extern "C" {
    fn serve_entry();
    fn give_entry();
    fn tell_entry();
}

/// Gives the poor domain eight pages, and notes who asked why.
extern "C" fn give(identity: u64, source: u64, reason: u64) {
    for (word, value) in SAID.iter().zip([identity, source, reason]) {
        word.store(value, Relaxed);
    }
    ASKED.fetch_add(1, Relaxed);
    let _ = hypercall(Hypercall::ControlDomain, 0, SELF, [POOR, 8, 0, 0]);
}

/// Replies with the semaphore as an item.
extern "C" fn tell(page: u64) {
    item(page);
}

fn stack(index: usize) -> u64 {
    let stack: *const [AtomicU64; 1024] = &STACKS.0[index];
    stack.addr() as u64 + 8192 - 8
}

/// Limit and usage of the poor domain.
fn quota() -> [u64; 2] {
    let (mut rdi, mut rsi, mut rdx) = (15 | 2 << 4 | POOR << 8, 0, 0);
    // SAFETY: asks for two numbers.
    unsafe { asm!("syscall", inout("rdi") rdi, inout("rsi") rsi, inout("rdx") rdx, out("rcx") _, out("r11") _) };
    if rdi == 0 { [rsi, rdx] } else { [0, 0] }
}

/// Takes back what the poor domain has not used, but for `left` pages.
fn impoverish(left: u64) {
    let [limit, usage] = quota();
    let spare = limit.saturating_sub(usage).saturating_sub(left);
    let _ = hypercall(Hypercall::ControlDomain, 0, POOR, [SELF, spare, 0, 0]);
}

/// A context of the poor domain and a portal to it.
fn server(context: u64, portal: u64, page: u64, stack_index: usize) -> u64 {
    let entry = (serve_entry as *const ()).addr() as u64;
    hypercall(Hypercall::CreateContext, 0, context, [POOR, page, stack(stack_index), 0x200])
        | hypercall(Hypercall::CreatePortal, 0, portal, [SELF, context, 0, entry])
        | hypercall(Hypercall::ControlPortal, 0, portal, [page, 0, 0, 0])
}

/// Puts one item into the message in `page`: the semaphore, delegated.
fn item(page: u64) {
    let range = Crd::objects(Selector::new(SEMAPHORE), 0, Rights::ALL).unwrap_or(Crd::NULL);
    put(page, TypedItem::delegate(range, ItemFlags::empty(), 0));
}

fn put(page: u64, item: TypedItem) {
    let words = item.words();
    let header = word(page, 0).load(Relaxed) & 0xFFFF;
    word(page, 0).store(header | 1 << 16, Relaxed);
    word(page, 510).store(words[0], Relaxed);
    word(page, 511).store(words[1], Relaxed);
}

/// Delegates an object of this domain to the poor one.
fn delegate(from: u64, to: u64) -> u64 {
    let range = Crd::objects(Selector::new(from), 0, Rights::ALL).unwrap_or(Crd::NULL);
    let window = Crd::objects(Selector::new(to), 0, Rights::ALL).unwrap_or(Crd::NULL);
    word(ROOT_UTCB_ADDRESS, 0).store(0, Relaxed);
    put(ROOT_UTCB_ADDRESS, TypedItem::delegate(range, ItemFlags::empty(), 0));
    hypercall(Hypercall::Misc, 1, SELF, [window.word(), POOR, 0, 0])
}

/// Calls a server of the poor domain with three words, and an item if asked for. Status and answer.
fn ask(portal: u64, words: [u64; 3], with_item: bool) -> [u64; 2] {
    word(ROOT_UTCB_ADDRESS, 0).store(3, Relaxed);
    for (index, value) in (4..).zip(words) {
        word(ROOT_UTCB_ADDRESS, index).store(value, Relaxed);
    }
    if with_item {
        item(ROOT_UTCB_ADDRESS);
    }
    let status = call(portal) & 0xFF;
    [status, word(ROOT_UTCB_ADDRESS, 4).load(Relaxed)]
}

/// The word of a hypercall.
fn request(hypercall: Hypercall, flags: u8, selector: u64) -> u64 {
    Request::new(hypercall, flags, Selector::new(selector)).word()
}

/// Lets a server receive at a selector whose page of the object space does not exist yet.
fn receive_at(portal: u64, selector: u64) -> u64 {
    let window = Crd::objects(Selector::new(selector), 0, Rights::ALL).unwrap_or(Crd::NULL);
    ask(portal, [0, window.word(), 0], false)[0]
}

/// What the giver was told last, and how often it was asked since.
fn said() -> [u64; 4] {
    let [identity, source, reason] = [0, 1, 2].map(|index: usize| SAID[index].swap(0, Relaxed));
    [ASKED.swap(0, Relaxed), identity, source, reason]
}

fn main(_: &Environment) -> ExitStatus {
    demos::announce("shortage", "a domain asks for kernel memory");
    let mut checks = Checks::new("shortage");
    let mut wrong = hypercall(Hypercall::CreateDomain, 0, POOR, [SELF, 0, 64 << 32, 0]);
    wrong |= hypercall(Hypercall::CreateSemaphore, 0, SEMAPHORE, [SELF, 0, 0, 0]);
    wrong |= hypercall(Hypercall::CreateContext, 0, GIVER, [SELF, GIVER_PAGE, stack(2), 0x200]);
    wrong |= hypercall(Hypercall::CreatePortal, 0, ASK, [SELF, GIVER, 0, (give_entry as *const ()).addr() as u64]);
    wrong |= hypercall(Hypercall::ControlPortal, 0, ASK, [IDENTITY, 0, 0, 0]);
    wrong |= hypercall(Hypercall::CreateContext, 0, TELLER, [SELF, TELLER_PAGE, stack(3), 0x200]);
    wrong |= hypercall(Hypercall::CreatePortal, 0, TELL, [SELF, TELLER, 0, (tell_entry as *const ()).addr() as u64]);
    wrong |= hypercall(Hypercall::ControlPortal, 0, TELL, [TELLER_PAGE, 0, 0, 0]);
    wrong |= server(SERVER, SERVE, PAGE, 0) | server(MUTE, MUTE_SERVE, MUTE_PAGE, 1);
    wrong |= delegate(POOR, OWN) | delegate(TELL, TOLD);
    checks.check("set-up", wrong, 0);

    // The code is where it is here.
    let all = Crd::memory(0, 31, MemoryRights::all()).unwrap_or(Crd::NULL);
    let code = Crd::memory((serve_entry as *const ()).addr() as u64 >> 12, 0, MemoryRights::all()).unwrap_or(Crd::NULL);
    word(ROOT_UTCB_ADDRESS, 0).store(0, Relaxed);
    put(ROOT_UTCB_ADDRESS, TypedItem::delegate(code, ItemFlags::empty(), code.base()));
    checks.check("code", hypercall(Hypercall::Misc, 1, SELF, [all.word(), POOR, 0, 0]), 0);
    let refused = request(Hypercall::Misc, 15, 0);
    checks.check("a call", u64::from(ask(SERVE, [refused, 0, 0], false) == [0, 5]), 1);

    // What goes to the poor domain runs out of its memory: who gives has enough, and is just told.
    impoverish(0);
    checks.check("delegation to who has nothing", delegate(SEMAPHORE, WINDOW), 9);
    checks.check("creation at its cost", hypercall(Hypercall::CreateSemaphore, 0, 0xB0, [POOR, 0, 0, 0]), 9);
    checks.check("nobody was asked", u64::from(said() == [0, 0, 0, 0]), 1);

    // A hypercall of the poor domain that may need memory.
    let gives = request(Hypercall::Misc, 1, OWN);
    checks.check("its own hypercall", u64::from(ask(SERVE, [gives, 0, OWN], false) == [0, 0]), 1);
    checks.check("it asked", u64::from(said() == [1, IDENTITY, IDENTITY, 4]), 1);
    impoverish(0);
    checks.check("without a portal", u64::from(ask(MUTE_SERVE, [gives, 0, OWN], false) == [0, 9]), 1);
    checks.check("nobody could be asked", u64::from(said() == [0, 0, 0, 0]), 1);

    // An item in a call.
    wrong = receive_at(SERVE, WINDOW) | receive_at(MUTE_SERVE, WINDOW + 0x1_0000);
    impoverish(0);
    checks.check("a call with an item", u64::from(ask(SERVE, [refused, 0, 0], true) == [0, 5]) | wrong, 1);
    checks.check("the callee asked", u64::from(said() == [1, IDENTITY, u64::MAX, 1]), 1);
    checks.check("it has the item", ask(SERVE, [request(Hypercall::ControlSemaphore, 0, WINDOW), 0, 0], false)[1], 0);
    impoverish(0);
    checks.check("a callee without a portal", ask(MUTE_SERVE, [refused, 0, 0], true)[0], 9);

    // An item in a reply.
    wrong = receive_at(SERVE, WINDOW + 0x2_0000) | receive_at(MUTE_SERVE, WINDOW + 0x3_0000);
    impoverish(0);
    let told = request(Hypercall::Call, 0, TOLD);
    checks.check("a reply with an item", u64::from(ask(SERVE, [told, 0, 0], false) == [0, told]) | wrong, 1);
    checks.check("the caller asked", u64::from(said() == [1, IDENTITY, u64::MAX, 2]), 1);
    let held = request(Hypercall::ControlSemaphore, 0, WINDOW + 0x2_0000);
    checks.check("it has the item", ask(SERVE, [held, 0, 0], false)[1], 0);
    impoverish(0);
    checks.check("a caller without a portal", ask(MUTE_SERVE, [told, 0, 0], false)[1], 9);

    // A page for where the receiver has its message page: no memory is lacking, and none would help.
    let there = Crd::memory(PAGE >> 12, 0, MemoryRights::all()).unwrap_or(Crd::NULL);
    wrong = ask(SERVE, [0, there.word(), 0], false)[0];
    impoverish(0);
    let before = quota();
    word(ROOT_UTCB_ADDRESS, 0).store(3, Relaxed);
    word(ROOT_UTCB_ADDRESS, 4).store(refused, Relaxed);
    put(ROOT_UTCB_ADDRESS, TypedItem::delegate(code, ItemFlags::empty(), 0));
    checks.check("a call with a page for where something is", call(SERVE) & 0xFF | wrong, 0);
    checks.check("the callee has made its hypercall", word(ROOT_UTCB_ADDRESS, 4).load(Relaxed), 5);
    checks.check("it did not ask", u64::from(said() == [0, 0, 0, 0] && quota() == before), 1);
    checks.check("the sender is well", up(SEMAPHORE), 0);
    checks.finish()
}
