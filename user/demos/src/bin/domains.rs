//! Two domains: delegation of memory and capabilities, calls between them, and taking back what was given.
//!
//! Written straight against the interface, without the runtime's typed capabilities: what it shows is the kernel.
//! Ends with success if every check holds. Concurrency: the program's thread and the contexts that serve it take turns.
// UNSAFETY: raw hypercalls, message pages at fixed addresses, and code that the kernel enters in another domain.
#![expect(unsafe_code, reason = "raw hypercalls")]
#![no_std]
#![no_main]

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use abi::hip::ROOT_UTCB_ADDRESS;
use abi::item::ItemFlags;
use abi::rights::MemoryRights;
use abi::{Crd, Hypercall, Mtd, Rights, Selector, TypedItem};
use demos::raw::{Checks, call, down, hypercall, up, word};
use rt::{Environment, ExitStatus};

rt::entry!(main);

/// Selectors of this domain.
const OTHER: u64 = 0x70;
const SEMAPHORE: u64 = 0x80;
const PAGER: u64 = 0x90;
const PAGER_PORTAL: u64 = 0x91;
/// First selector of the contexts and portals of the other domain.
const SERVERS: u64 = 0xA0;
/// Selectors of the other domain: what it was made with, and where it receives.
const GIVEN: u64 = 0;
const RECEIVED: u64 = 0x55;
/// Message pages: in the other domain, and of the pager.
const PAGES: u64 = 0x4000_0000;
const PAGER_PAGE: u64 = 0x4100_0000;
/// Where the other domain sees a page of this one.
const SHARED: u64 = 0x5000_0000;
/// Where it sees a page that the pager gives it.
const PAGED: u64 = 0x6000_0000;
/// Event base of the contexts of the other domain.
const EVENTS: u64 = 0x100;

/// What a server is asked to do: the first word; the second is an argument. The answer is the first word.
const ADD: u64 = 0;
const LOAD: u64 = 1;
const UP: u64 = 2;
const WINDOW: u64 = 3;

#[repr(align(4096))]
struct Stacks([[AtomicU64; 1024]; 4]);
static STACKS: Stacks = Stacks([const { [const { AtomicU64::new(0) }; 1024] }; 4]);
#[repr(align(4096))]
struct Data([AtomicU64; 512]);
static DATA: Data = Data([const { AtomicU64::new(0) }; 512]);

global_asm!(
    "serve_entry:", "call {serve}", "mov edi, 1", "syscall",
    "page_entry:", "call {page}", "mov edi, 1", "syscall",
    serve = sym serve, page = sym page,
);

// SAFETY: defined above, and by the linker script; only their addresses are used.
unsafe extern "C" {
    fn serve_entry();
    fn page_entry();
}

/// In the other domain: does what the message asks. The portal's identity is the server's message page.
extern "C" fn serve(page: u64) {
    let [ask, argument] = [4, 5].map(|index| word(page, index).load(Relaxed));
    let answer = match ask {
        ADD => argument + 1,
        LOAD => load(argument),
        UP => up(argument),
        _ => {
            let window = Crd::objects(Selector::new(argument), 0, Rights::ALL).unwrap_or(Crd::NULL);
            word(page, 2).store(window.word(), Relaxed);
            0
        }
    };
    word(page, 4).store(answer, Relaxed);
    word(page, 0).store(1, Relaxed);
}

fn load(address: u64) -> u64 {
    let value;
    // SAFETY: the address is mapped, or the kernel ends this context, which is the point.
    unsafe { asm!("mov {}, [{}]", out(reg) value, in(reg) address, options(nostack, readonly)) };
    value
}

/// The pager of the other domain: gives the page of data for any fault.
extern "C" fn page(_: u64) {
    word(PAGER_PAGE, 4).store(0, Relaxed);
    let data = Crd::memory(DATA.0.as_ptr().addr() as u64 >> 12, 0, MemoryRights::READ).unwrap_or(Crd::NULL);
    let [range, control] = TypedItem::delegate(data, ItemFlags::empty(), PAGED >> 12).words();
    word(PAGER_PAGE, 510).store(range, Relaxed);
    word(PAGER_PAGE, 511).store(control, Relaxed);
    word(PAGER_PAGE, 0).store(1 << 16, Relaxed);
}

/// Delegates one item from this domain to the other.
fn delegate(item: TypedItem, window: Crd) -> u64 {
    let [range, control] = item.words();
    word(ROOT_UTCB_ADDRESS, 510).store(range, Relaxed);
    word(ROOT_UTCB_ADDRESS, 511).store(control, Relaxed);
    word(ROOT_UTCB_ADDRESS, 0).store(1 << 16, Relaxed);
    hypercall(Hypercall::Misc, 1, 32, [window.word(), OTHER, 0, 0])
}

fn memory(page: u64, order: u32, rights: MemoryRights) -> Crd {
    Crd::memory(page, order, rights).unwrap_or(Crd::NULL)
}

/// A new server in the other domain; its portal is the selector after its own. It uses stack `index`.
fn server(checks: &mut Checks, index: u64) -> u64 {
    let (context, portal, page) = (SERVERS + 2 * index, SERVERS + 2 * index + 1, PAGES + index * 4096);
    let stack = &raw const STACKS.0[index as usize];
    let create = [OTHER, page, stack.addr() as u64 + 8192, EVENTS];
    checks.check("server", hypercall(Hypercall::CreateContext, 0, context, create), 0);
    let entry = serve_entry as *const () as u64;
    checks.check("its portal", hypercall(Hypercall::CreatePortal, 0, portal, [OTHER, context, 0, entry]), 0);
    checks.check("its identity", hypercall(Hypercall::ControlPortal, 0, portal, [page, 0, 0, 0]), 0);
    portal
}

/// Calls a server; with an item if there is one. Returns status and answer.
fn ask(portal: u64, question: u64, argument: u64, item: Option<TypedItem>) -> (u64, u64) {
    word(ROOT_UTCB_ADDRESS, 4).store(question, Relaxed);
    word(ROOT_UTCB_ADDRESS, 5).store(argument, Relaxed);
    if let Some([range, control]) = item.map(TypedItem::words) {
        word(ROOT_UTCB_ADDRESS, 510).store(range, Relaxed);
        word(ROOT_UTCB_ADDRESS, 511).store(control, Relaxed);
    }
    word(ROOT_UTCB_ADDRESS, 0).store(2 | u64::from(item.is_some()) << 16, Relaxed);
    let status = call(portal);
    (status, word(ROOT_UTCB_ADDRESS, 4).load(Relaxed))
}

fn main(_: &Environment) -> ExitStatus {
    demos::announce("domains", "two domains give and take");
    let mut checks = Checks::new("domains");
    creation(&mut checks);
    let portal = server(&mut checks, 0);
    checks.check("call into the other domain", ask(portal, ADD, 41, None).1, 42);
    capabilities(&mut checks, portal);
    pages(&mut checks, portal);
    checks.finish()
}

fn creation(checks: &mut Checks) {
    let semaphore = hypercall(Hypercall::CreateSemaphore, 0, SEMAPHORE, [32, 0, 0, 0]);
    checks.check("semaphore", semaphore, 0);
    let given = Crd::objects(Selector::new(SEMAPHORE), 0, Rights::ALL).unwrap_or(Crd::NULL).word();
    checks.check("limits the wrong way round", hypercall(Hypercall::CreateDomain, 0, OTHER, [32, 0, 2, 0]), 5);
    checks.check("domain of nobody", hypercall(Hypercall::CreateDomain, 0, OTHER, [SEMAPHORE, 0, 0, 0]), 4);
    checks.check("domain", hypercall(Hypercall::CreateDomain, 0, OTHER, [32, given, 64 << 32, 0]), 0);
    checks.check("domain where there is one", hypercall(Hypercall::CreateDomain, 0, OTHER, [32, 0, 64 << 32, 0]), 4);
    // The whole program, at the same addresses, with the rights that its segments have here.
    let all = memory(0, 10, MemoryRights::all());
    checks.check(
        "program",
        delegate(TypedItem::delegate(all, ItemFlags::empty(), 0), memory(0, 31, MemoryRights::all())),
        0,
    );
}

fn capabilities(checks: &mut Checks, portal: u64) {
    let down = || down(SEMAPHORE, 1);
    checks.check("up of what it was made with", ask(portal, UP, GIVEN, None).1, 0);
    checks.check("it was this semaphore", down(), 0);
    checks.check("up of what it does not have", ask(portal, UP, RECEIVED, None).1, 4);
    let range = Crd::objects(Selector::new(SEMAPHORE), 0, Rights::ALL).unwrap_or(Crd::NULL);
    let item = TypedItem::delegate(range, ItemFlags::empty(), 0);
    ask(portal, ADD, 0, Some(item));
    checks.check("nothing is received without a window", ask(portal, UP, RECEIVED, None).1, 4);
    ask(portal, WINDOW, RECEIVED, None);
    ask(portal, ADD, 0, Some(item));
    checks.check("up of what it received", ask(portal, UP, RECEIVED, None).1, 0);
    checks.check("it was this semaphore as well", down(), 0);
    let range = range.masked(Rights::new(1));
    checks.check("take up back", hypercall(Hypercall::Revoke, 0, 0, [range.word(), 0, 0, 0]), 0);
    checks.check("up of what was taken back", ask(portal, UP, RECEIVED, None).1, 4);
    checks.check("and of what it was made with", ask(portal, UP, GIVEN, None).1, 4);
    checks.check("the owner has it still", up(SEMAPHORE), 0);
}

fn pages(checks: &mut Checks, portal: u64) {
    DATA.0[3].store(0xFACE, Relaxed);
    let data = DATA.0.as_ptr().addr() as u64 >> 12;
    let give = TypedItem::delegate(memory(data, 0, MemoryRights::READ), ItemFlags::empty(), SHARED >> 12);
    checks.check("page", delegate(give, memory(0, 31, MemoryRights::all())), 0);
    checks.check("the other reads it", ask(portal, LOAD, SHARED + 24, None).1, 0xFACE);
    let all = memory(data, 0, MemoryRights::all());
    checks.check("take it back", hypercall(Hypercall::Revoke, 0, 0, [all.word(), 0, 0, 0]), 0);
    checks.check("the other dies of reading it, and the call aborts", ask(portal, LOAD, SHARED + 24, None).0, 2);
    checks.check("a call to the dead", ask(portal, ADD, 0, None).0, 1);

    let stack = &raw const STACKS.0[3];
    let create = [32, PAGER_PAGE, stack.addr() as u64 + 8192, 0];
    checks.check("pager", hypercall(Hypercall::CreateContext, 0, PAGER, create), 0);
    let entry = page_entry as *const () as u64;
    let create = [32, PAGER, (Mtd::QUAL | Mtd::RIP_LEN).bits(), entry];
    checks.check("its portal", hypercall(Hypercall::CreatePortal, 0, PAGER_PORTAL, create), 0);
    let range = Crd::objects(Selector::new(PAGER_PORTAL), 0, Rights::ALL).unwrap_or(Crd::NULL);
    let window = Crd::objects(Selector::new(EVENTS + 14), 0, Rights::ALL).unwrap_or(Crd::NULL);
    checks.check("page-fault portal", delegate(TypedItem::delegate(range, ItemFlags::empty(), 0), window), 0);
    let portal = server(checks, 1);
    checks.check("the pager resolves a fault", ask(portal, LOAD, PAGED + 24, None).1, 0xFACE);
    checks.check("and the page stays", ask(portal, LOAD, PAGED + 24, None).1, 0xFACE);
}
