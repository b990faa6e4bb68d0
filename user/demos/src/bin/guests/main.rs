//! Guests of a few instructions, one for each reason to leave a virtual CPU: what the monitor is told, and what becomes of
//! what it answers.
//!
//! Written straight against the interface. Ends with success if every check holds, and at once where there are no virtual
//! CPUs. Concurrency: see `monitor`.
// UNSAFETY: entry points in assembly, and code of guests as labels.
#![expect(unsafe_code, reason = "entry points in assembly")]
#![no_std]
#![no_main]

mod code;
mod intel;
mod monitor;
mod scenes;

use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use abi::counter::Counter;
use abi::hip::{CpuFlags, Features, HipReader, MemoryDescriptor, MemoryKind, ROOT_UTCB_ADDRESS};
use abi::item::ItemFlags;
use abi::operation::ContextControl;
use abi::qpd::Qpd;
use abi::rights::MemoryRights;
use abi::{Crd, Hypercall, Mtd, Rights, Selector, TypedItem};
use demos::devices::take;
use demos::raw::{Checks, PATIENCE, answer, down, hypercall, time_stamp, up, word};
use demos::servers::{SELF, portal, server};
use monitor::{DONE, PARK, Scene, exits, field, seen};
use rt::{Environment, ExitStatus, println};
use scenes::{
    CPUID, HLT, INTERRUPTS, INVALID, MSR, NESTED, PORT, RECALL, SEGMENTS, SHUTDOWN, STARTUP, TABLES, VMMCALL, WINDOW,
};

rt::entry!(main);

/// Selectors: the guests' domain, the virtual CPU, its time; the portals here, and there.
const DOMAIN: u64 = 0x60;
const VCPU: u64 = 0x61;
/// What moving it takes: a portal of a handler there, and its time.
const THERE: u64 = VCPU + 1;
const TIME: u64 = VCPU + 2;
static CORE: AtomicU64 = AtomicU64::new(0);
const PORTALS: u64 = 0x2000;
const EVENTS: u64 = 0x100;
/// States without sense that are tried.
const GARBAGE: u32 = 200;
/// CPUID, leaf 1, ecx: the kernel manages extended states; AVX.
const AVX: u32 = 1 << 27 | 1 << 28;
/// Where this program sees the guests' memory: pages that they have, and as many more, of which one is given on demand.
const MEMORY: u64 = 0x6000_0000;
const ORDER: u32 = 4;
/// Number of that page.
pub const PAGED: u64 = 1 << ORDER;

/// Number of page `index` of the guests' memory in this program's space.
pub const fn memory_page(index: u64) -> u64 {
    (MEMORY >> 12) + index
}

/// Word at a guest-physical address.
fn guest(address: u64) -> &'static AtomicU64 {
    word(MEMORY + (address & !0xFFF), address as usize >> 3 & 511)
}

/// Takes memory that nobody uses and that may be executed, which this program's own may not.
fn take_memory(hip: &HipReader<'_>) -> u64 {
    let size = 0x1000 << (ORDER + 1);
    let free = hip.memory().filter(|range| range.kind == MemoryKind::AVAILABLE).find_map(|range| {
        let places = (range.address.next_multiple_of(size)..).step_by(size as usize);
        let inside = places.take_while(|start| start + size <= range.address + range.size);
        inside.filter(|&start| start >= 1 << 20).find(|start| {
            let taken = |other: &MemoryDescriptor| other.address < start + size && *start < other.address + other.size;
            !hip.memory().any(|other| other.kind.is_occupied() && taken(&other))
        })
    });
    let page = |address: u64| Crd::memory(address >> 12, ORDER + 1, MemoryRights::all());
    take(page(free.unwrap_or(0)), page(MEMORY))
}

/// Delegates one item from this domain to the guests'.
fn delegate(item: TypedItem, window: Crd) -> u64 {
    let [range, control] = item.words();
    word(ROOT_UTCB_ADDRESS, 510).store(range, SeqCst);
    word(ROOT_UTCB_ADDRESS, 511).store(control, SeqCst);
    word(ROOT_UTCB_ADDRESS, 0).store(1 << 16, SeqCst);
    hypercall(Hypercall::Misc, 1, SELF, [window.word(), DOMAIN, 0, 0])
}

fn main(environment: &Environment) -> ExitStatus {
    demos::announce("guests", "virtual CPUs leave for every reason");
    let mut checks = Checks::new("guests");
    let header = environment.hip().header();
    let core = u64::from(environment.hip().cpus().filter(|(_, cpu)| cpu.flags.contains(CpuFlags::ENABLED)).count() > 1);
    if header.features.intersects(Features::VMX) {
        intel::set();
    }
    if !header.features.intersects(Features::SVM | Features::VMX) {
        checks.check(
            "virtual CPU without the feature",
            hypercall(Hypercall::CreateContext, 1, VCPU, [SELF, 0, 0, 0]),
            6,
        );
        println!("guests: no virtual CPUs here");
        return checks.finish();
    }
    prepare(&mut checks, environment.hip(), core);
    instructions(&mut checks);
    counted(&mut checks, core);
    memory(&mut checks);
    interrupts(&mut checks, core);
    state(&mut checks, core);
    end(&mut checks);
    checks.finish()
}

/// Pages of kernel memory that this domain and those that it pays for use.
fn usage() -> u64 {
    answer(Hypercall::ControlDomain, 2, SELF, [0; 4])[2]
}

/// The guests' domain goes while its virtual CPU runs, with all that it has paid for; and so does one that never ran.
fn end(checks: &mut Checks) {
    let gone = |at: u64| {
        let range = Crd::objects(Selector::new(at), 2, Rights::ALL).unwrap_or(Crd::NULL);
        hypercall(Hypercall::Revoke, 1, DONE, [range.word(), 0, 0, 0]) | down(DONE, time_stamp() + PATIENCE)
    };
    start(checks, scenes::spin);
    down(DONE, time_stamp() + 10_000_000);
    checks.check("all of it goes", gone(DOMAIN), 0);
    let mut before = 0;
    for round in 0..4 {
        checks.check("another domain", hypercall(Hypercall::CreateDomain, 0, DOMAIN, [SELF, 0, 64 << 32, 0]), 0);
        let all = Crd::memory(0, 31, MemoryRights::all()).unwrap_or(Crd::NULL);
        let pages = Crd::memory(memory_page(0), ORDER, MemoryRights::all()).unwrap_or(Crd::NULL);
        checks.check("its memory", delegate(TypedItem::delegate(pages, ItemFlags::GUEST, 0), all), 0);
        let port = TypedItem::delegate(Crd::ports(0x80, 0).unwrap_or(Crd::NULL), ItemFlags::GUEST, 0);
        checks.check("its port", delegate(port, Crd::ALL_PORTS), 0);
        checks.check("its virtual CPU", hypercall(Hypercall::CreateContext, 1, VCPU, [DOMAIN, 0, 0, EVENTS]), 0);
        // It has no portal, and dies of that.
        let quantum = Qpd::new(1, 10_000).map_or(0, Qpd::word);
        checks.check("time", hypercall(Hypercall::CreateScheduling, 0, TIME, [SELF, VCPU, quantum, 0]), 0);
        checks.check("goes as well", gone(DOMAIN), 0);
        // Another core gives back what it has to when it has the time: from here on it can only become less.
        if round == 0 {
            before = usage();
        }
    }
    checks.check("pages are missing", u64::from(usage() > before), 0);
}

/// The guests' memory: code, page tables that map 1 GiB to itself, interrupt table.
fn fill() {
    let source = core::ptr::with_exposed_provenance::<u8>(code::start() as usize);
    // SAFETY: within the page of code, which is not empty.
    let byte = |index: u64| u64::from(unsafe { *source.add(index as usize) });
    for index in 0..code::length() {
        let call =
            index >= 2 && [2, 1, 0].iter().fold(0, |all, back| all << 8 | byte(index - 2 + back)) == intel::CALL.0;
        let byte = if call && intel::is_intel() { intel::CALL.1 >> 16 } else { byte(index) };
        guest(code::CODE + index).fetch_or(byte << (index % 8 * 8), SeqCst);
    }
    guest(TABLES).store((TABLES + 0x1000) | 3, SeqCst);
    guest(TABLES + 0x1000).store((TABLES + 0x2000) | 3, SeqCst);
    guest(TABLES + 0x2000).store(0x83, SeqCst);
    guest(SEGMENTS + 8).store(0x00AF_9B00_0000_FFFF, SeqCst);
    guest(SEGMENTS + 16).store(0x00CF_9300_0000_FFFF, SeqCst);
    let handler = code::at::handler();
    for vector in [0x40, 1] {
        guest(INTERRUPTS + vector * 16).store(handler & 0xFFFF | 0x08 << 16 | 0x8E << 40 | handler >> 16 << 48, SeqCst);
    }
}

fn prepare(checks: &mut Checks, hip: &HipReader<'_>, core: u64) {
    checks.check("memory of nobody", take_memory(hip), 0);
    fill();
    let objects = Crd::objects(Selector::new(PORTALS), 8, Rights::ALL).unwrap_or(Crd::NULL);
    for semaphore in [DONE, PARK] {
        checks.check("semaphore", hypercall(Hypercall::CreateSemaphore, 0, semaphore, [SELF, 0, 0, 0]), 0);
    }
    checks.check("domain", hypercall(Hypercall::CreateDomain, 0, DOMAIN, [SELF, 0, 64 << 32, 0]), 0);
    let all = Crd::memory(0, 31, MemoryRights::all()).unwrap_or(Crd::NULL);
    let pages = Crd::memory(memory_page(0), ORDER, MemoryRights::all()).unwrap_or(Crd::NULL);
    checks.check("memory", delegate(TypedItem::delegate(pages, ItemFlags::GUEST, 0), all), 0);

    let (handler, status) = server(core, monitor::entry());
    checks.check("monitor", status, 0);
    monitor::start(handler.page());
    let every = Mtd::all().difference(Mtd::FPU | Mtd::PDPTE | Mtd::TPR);
    let made = (0..256).fold(0, |all, event| {
        let mtd = if intel::event(event) == HLT { every | Mtd::FPU } else { every };
        all | portal(PORTALS + event, handler.context(), monitor::entry(), mtd, event)
    });
    checks.check("portals", made, 0);
    CORE.store(core, SeqCst);
    checks.check("a portal of its core", portal(THERE, handler.context(), monitor::entry(), every, 0), 0);
    let window = Crd::objects(Selector::new(EVENTS), 8, Rights::ALL).unwrap_or(Crd::NULL);
    checks.check(
        "portals of the virtual CPU",
        delegate(TypedItem::delegate(objects, ItemFlags::empty(), 0), window),
        0,
    );

    checks.check("on no core", hypercall(Hypercall::CreateContext, 1, VCPU, [DOMAIN, 0xFFF, 0, EVENTS]), 7);
    checks.check("virtual CPU", hypercall(Hypercall::CreateContext, 1, VCPU, [DOMAIN, core, 0, EVENTS]), 0);
    checks.check("portal of a virtual CPU", hypercall(Hypercall::CreatePortal, 0, TIME, [SELF, VCPU, 0, 0x1000]), 4);
    monitor::play(scenes::cpuid);
    let quantum = Qpd::new(1, 10_000).map_or(0, Qpd::word);
    checks.check("its time", hypercall(Hypercall::CreateScheduling, 0, TIME, [SELF, VCPU, quantum, 0]), 0);
    over(checks, "cpuid", &[STARTUP, CPUID, HLT]);
    checks.check("it starts with nothing", seen(0, field!(rip)) | seen(0, field!(cr0)) | seen(0, field!(rax)), 0);
    checks.check("leaf", seen(1, field!(rax)), 0x1234);
    checks.check("where", seen(1, field!(rip)), code::at::cpuid() + 5);
    let four = [field!(rax), field!(rbx), field!(rcx), field!(rdx)].map(|register| seen(2, register));
    checks.check("answer", four.iter().fold(0, |all, part| all << 8 | part), 0x1122_3344);
}

/// Moves the virtual CPU to its own core, if that is possible; the status.
fn migrate() -> u64 {
    let to = [CORE.load(SeqCst), Crd::objects(Selector::new(0), 0, Rights::ALL).map_or(0, Crd::word), 0, 0];
    hypercall(Hypercall::ControlContext, ContextControl::Migrate.flags(), VCPU, to)
}

/// Waits until a scene is over, and compares the exits that it had.
fn over(checks: &mut Checks, what: &str, events: &[u64]) {
    checks.check(what, down(DONE, time_stamp() + PATIENCE), 0);
    checks.check("exits", exits(), events.len() as u64);
    for (step, &event) in events.iter().enumerate() {
        checks.check(what, seen(step, field!(exit_reason)), event);
    }
}

/// Recalls the virtual CPU, which waits, for a scene.
fn start(checks: &mut Checks, scene: Scene) {
    monitor::play(scene);
    checks.check("recall", hypercall(Hypercall::ControlContext, 0, VCPU, [0; 4]), 0);
    checks.check("go on", up(PARK), 0);
}

fn play(checks: &mut Checks, what: &str, scene: Scene, events: &[u64]) {
    start(checks, scene);
    over(checks, what, events);
}

fn instructions(checks: &mut Checks) {
    play(checks, "ports", scenes::ports, &[RECALL, PORT, PORT, HLT]);
    // Port, size of 8 bits; port, size of 16 bits, in.
    checks.check("out", seen(1, field!(qual)) & 0xFFFF_007D, 0x0080_0010);
    checks.check("in", seen(2, field!(qual)) & 0xFFFF_007D, 0x03F8_0021);
    checks.check("byte", seen(1, field!(rax)), 0xAB);
    checks.check("word", seen(3, field!(rax)), 0xBEEF);
    let own = Crd::ports(0x80, 0).unwrap_or(Crd::NULL);
    checks.check("port", delegate(TypedItem::delegate(own, ItemFlags::GUEST, 0), Crd::ALL_PORTS), 0);
    play(checks, "a port of its own", scenes::own_port, &[RECALL, PORT, HLT]);
    checks.check("the other exits", seen(1, field!(qual)) >> 16, 0x3F8);
    checks.check("take it back", hypercall(Hypercall::Revoke, 0, 0, [own.word(), 0, 0, 0]), 0);
    play(checks, "a port that was its own", scenes::ports, &[RECALL, PORT, PORT, HLT]);

    play(checks, "registers of the model", scenes::msr, &[RECALL, MSR, HLT]);
    checks.check("read", seen(1, field!(qual)), 0);
    checks.check("its number", seen(1, field!(rcx)), 0x10);
    checks.check("it cannot be moved", scenes::MOVED.load(SeqCst), 5);
    checks.check("the guest's own", seen(2, field!(rax)), 0x5678);
    checks.check("shown as a segment", seen(2, field!(fs) + 1), 0x5678);
    play(checks, "two bases", scenes::swapgs, &[RECALL, HLT, HLT]);
    let bases = |step| seen(step, field!(gs) + 1) << 32 | seen(step, field!(kernel_gs_base));
    checks.check("exchanged", bases(1), 0x22_0000_0011);
    checks.check("and back", bases(2), 0x11_0000_0022);
    play(checks, "vmmcall", scenes::vmmcall, &[RECALL, VMMCALL, HLT]);
    play(checks, "shutdown", scenes::shutdown, &[RECALL, SHUTDOWN]);
    play(checks, "time", scenes::tsc, &[RECALL, HLT]);
    checks.check("it is moved", seen(1, field!(rax)) >> 60, 1);
    checks.check("by this much", seen(1, field!(tsc_off)), 1 << 60);
    play(checks, "real mode", scenes::real, &[RECALL, HLT]);
    checks.check("segment", seen(1, field!(ds) + 1), 0x7000);
}

/// How often virtual CPUs left core `core` for the reason of one of the scenes' events.
fn left(core: u64, event: u64) -> u64 {
    answer(Hypercall::Misc, 3, core, [Counter::EXITS + intel::number(event), 0, 0, 0])[1]
}

/// The kernel counts exits by reason on the core where they happen.
fn counted(checks: &mut Checks, core: u64) {
    let all = || [CPUID, HLT, PORT, INVALID, NESTED].map(|event| left(core, event));
    let before = all();
    let mut events = [CPUID; 12];
    (events[0], events[11]) = (RECALL, HLT);
    play(checks, "cpuid again and again", scenes::often, &events);
    let after = all();
    for (found, (before, expected)) in after.into_iter().zip(before.into_iter().zip([10, 1, 0, 0, 0])) {
        checks.check("exits that are counted", found - before, expected);
    }
    if core != 0 {
        checks.check("on the core where they are", left(0, CPUID), 0);
    }
}

fn memory(checks: &mut Checks) {
    guest(0x1_0008).store(0xFACE, SeqCst);
    play(checks, "a missing page", scenes::memory, &[RECALL, NESTED, HLT]);
    checks.check("where", seen(1, field!(qual) + 1), 0x2_0008);
    checks.check("load of nothing", seen(1, field!(qual)) & 7, 4);
    checks.check("loaded", seen(2, field!(rax)), 0xFACE);
    checks.check("stored", guest(0x1_0010).load(SeqCst), 0xFACE);
    let page = Crd::memory(memory_page(PAGED), 0, MemoryRights::all()).unwrap_or(Crd::NULL);
    checks.check("take it back", hypercall(Hypercall::Revoke, 0, 0, [page.word(), 0, 0, 0]), 0);
    guest(0x1_0008).store(0xF00D, SeqCst);
    play(checks, "a page that was there", scenes::memory_again, &[RECALL, NESTED, HLT]);
    checks.check("loaded again", seen(2, field!(rax)), 0xF00D);

    // While the guest loads from it, on another core if there is one, or stopped at any instruction.
    let counter = || guest(0x7000).load(SeqCst);
    guest(0x7000).store(0, SeqCst);
    checks.check("take it back once more", hypercall(Hypercall::Revoke, 0, 0, [page.word(), 0, 0, 0]), 0);
    start(checks, scenes::reader);
    let end = time_stamp() + PATIENCE;
    while counter() < 1000 && time_stamp() < end {
        down(DONE, time_stamp() + 1_000_000);
    }
    checks.check("take it from one who uses it", hypercall(Hypercall::Revoke, 0, 0, [page.word(), 0, 0, 0]), 0);
    let after = counter();
    over(checks, "a page that goes", &[RECALL, NESTED, NESTED]);
    checks.check("it used it", u64::from(after >= 1000), 1);
    checks.check("and not after that", u64::from(counter() > after + 1), 0);
}

fn interrupts(checks: &mut Checks, core: u64) {
    play(checks, "an interrupt", scenes::interrupt, &[RECALL, HLT, HLT]);
    checks.check("it is taken", seen(2, field!(r8_r15) + 7), 1);
    play(checks, "an interrupt without a stack", scenes::stackless, &[RECALL, HLT, NESTED, HLT]);
    checks.check("what was on its way", seen(2, field!(inj_info)) & 0x8000_07FF, 0x8000_0040);
    checks.check("it is taken once", seen(3, field!(r8_r15) + 7), 1);
    let page = Crd::memory(memory_page(PAGED), 0, MemoryRights::all()).unwrap_or(Crd::NULL);
    checks.check("take the stack back", hypercall(Hypercall::Revoke, 0, 0, [page.word(), 0, 0, 0]), 0);
    play(checks, "a window", scenes::window, &[RECALL, VMMCALL, WINDOW, HLT]);
    checks.check("after the shadow", seen(2, field!(rbx)), 2);
    checks.check("and then the interrupt", seen(3, field!(r8_r15) + 7), 1);
    play(checks, "a single step", scenes::step, &[RECALL, HLT]);
    checks.check("traps in the guest", u64::from(seen(1, field!(r8_r15) + 7) > 0), 1);
    // An interrupt of the host; Intel's own timer, which ends each entry after a while.
    let interrupted = || if intel::is_intel() { left(core, 1) + left(core, 52) } else { left(core, 0x60) };
    let before = interrupted();
    start(checks, scenes::spin);
    // The semaphore is not upped meanwhile.
    let wait = || down(DONE, time_stamp() + 10_000_000);
    let end = time_stamp() + PATIENCE;
    // At the latest when its time is up it is interrupted; a busy host may take that long to let it run at all.
    while (exits() == 0 || interrupted() == before) && time_stamp() < end {
        wait();
    }
    checks.check("it goes on alone", wait(), 1);
    checks.check("recall of one that runs", hypercall(Hypercall::ControlContext, 0, VCPU, [0; 4]), 0);
    over(checks, "spinning", &[RECALL, RECALL]);
    checks.check("it ran", u64::from(seen(1, field!(rbx)) > 1000), 1);
    checks.check("interrupted, which no monitor was told", u64::from(interrupted() > before), 1);
}

fn state(checks: &mut Checks, core: u64) {
    play(checks, "a state that no processor takes", scenes::invalid, &[RECALL, INVALID]);
    play(checks, "vector registers", scenes::vector, &[RECALL, HLT, HLT]);
    checks.check("they stay", seen(2, field!(rbx)), 0x1122_3344_5566_7788);
    if rt::arch::cpu::identification(1, 0)[2] & AVX == AVX {
        play(checks, "wide vector registers", scenes::wide, &[RECALL, HLT, HLT]);
        checks.check("they stay", seen(2, field!(rbx)), 0x1122_3344_5566_7788);
        checks.check("all of them", seen(2, field!(rax)) & 7, 7);
        checks.check("the monitor sees its own", scenes::FOUND.load(SeqCst), 0);
        play(checks, "fewer of them", scenes::narrow, &[RECALL, HLT]);
        checks.check("no wide ones", seen(1, field!(rax)), 3);
        play(checks, "and again", scenes::wide, &[RECALL, HLT, HLT]);
        checks.check("the monitor's stay, too", scenes::FOUND.load(SeqCst), u64::MAX);
    }
    play(checks, "breakpoints", scenes::debug, &[RECALL, HLT, HLT]);
    checks.check("they stay as well", seen(2, field!(rbx)), 0x4711);

    for _ in 0..GARBAGE {
        start(checks, scenes::garbage);
        let end = time_stamp() + PATIENCE;
        let mut back = down(DONE, time_stamp() + 2_000_000) == 0;
        // Before its first exit a recall would be one with that which it starts with.
        while !back && exits() == 0 && time_stamp() < end {
            back = down(DONE, time_stamp() + 2_000_000) == 0;
        }
        if !back {
            hypercall(Hypercall::ControlContext, 0, VCPU, [0; 4]);
            checks.check("garbage comes back", down(DONE, time_stamp() + PATIENCE), 0);
        } else {
            checks.check("garbage comes back", 0, 0);
        }
    }
    play(checks, "and makes sense again", scenes::debug, &[RECALL, HLT, HLT]);

    let ask = |flags, argument| hypercall(Hypercall::ControlContext, flags, VCPU, [argument, 0, 0, 0]);
    let mtd = Mtd::ACDB | Mtd::RIP_LEN;
    if core != 0 {
        checks.check("state from another core", ask(6, mtd.bits()), 7);
        checks.check("likewise", ask(7, 0), 7);
        return;
    }
    checks.check("state", ask(6, mtd.bits()), 0);
    checks.check("register", word(ROOT_UTCB_ADDRESS, field!(rbx)).load(SeqCst), 0x4711);
    word(ROOT_UTCB_ADDRESS, field!(rbx)).store(0x42, SeqCst);
    word(ROOT_UTCB_ADDRESS, field!(mtd)).store(Mtd::ACDB.bits(), SeqCst);
    monitor::play(scenes::shutdown);
    checks.check("other state", ask(7, 1), 0);
    checks.check("go on", up(PARK), 0);
    over(checks, "after that", &[RECALL, SHUTDOWN]);
    checks.check("it is there", seen(0, field!(rbx)), 0x42);
}
