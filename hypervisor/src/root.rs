//! The root program: from a module of the boot loader to a context in ring 3.
//!
//! Purpose: map the program's segments in place with their own rights, write the information page, start.
//! Invariants: nothing is copied; what the program may not have (kernel memory) is not mapped; a bad module is
//! explained in words.
//! Concurrency: boot core, once, after all cores are up.
//! Source: interface §7; design plan §3.
use crate::create::{new_domain, publish_new};
use crate::domain::{self, map_user};
use crate::information::{self, Facts};
use crate::log::info;
use crate::mapping::lock;
use crate::slots::named;
use crate::stop::give_up;
use crate::tables::HARDWARE;
use crate::{accounts, cache, contexts, cores, interrupt, lifetime, mapping, pool, power, scheduler};
use abi::address::{PAGE_BITS, PAGE_SIZE, PHYS_BITS};
use abi::hip::{HIP_ADDRESS, HIP_SIZE, ROOT_UTCB_ADDRESS};
use abi::item::ItemFlags;
use abi::rights::{ContextRights, DomainRights, MemoryRights, SchedulingRights, SemaphoreRights};
use abi::{PhysAddr, Rights, Selector, Status, VirtAddr};
use arch::window::View;
use capability::tree::Span;
use core::sync::atomic::{AtomicU64, Ordering};
use firmware::elf::{Image, Segment};
use memory::format::Attributes;
use memory::frames::{Order, OutOfMemory};
use memory::plan;
use memory::quota::{self, Quota};
use memory::region::Region;
use objects::{Context, Continuation, Domain, Identity, Ref, Scheduling, Semaphore, Slab, Store};

/// Priority of the root program's scheduling context.
const ROOT_PRIORITY: u8 = 1;
/// Pages of the root domain's quota that it cannot hand on: 1 MiB (interface §7).
const NOT_TRANSFERABLE: u32 = 256;
/// Pages that the kernel's account keeps, for the information page.
const KEPT: u32 = HIP_SIZE.div_ceil(PAGE_SIZE as usize).next_power_of_two() as u32;
/// Pages for the objects and tree nodes of the hypervisor's own space.
const HYPERVISOR_PAGES: u32 = 128;

/// Starts the root program, or gives up in words.
pub fn start(facts: &Facts<'_>) -> ! {
    let module = facts.boot.modules().next();
    let module = module.unwrap_or_else(|| give_up!("no module: give GRUB a `module2` line with a root program"));
    let place = Region { start: module.start, end: module.end.next_multiple_of(PAGE_SIZE) };
    let mut runs = plan::usable_runs(pool::entries(&facts.boot), &[], u64::MAX);
    if place.overlaps(&arch::boot::image()) || !runs.any(|run| run.covers(&place)) {
        let Region { start, end } = place;
        give_up!("the module at {start:#x}-{end:#x} does not lie in free memory: the boot information is broken");
    }
    let (start, length) = (PhysAddr::truncate(module.start), module.end - module.start);
    let header = View::new(start, length.clamp(1, PAGE_SIZE) as usize, Attributes::READ);
    let header = header.filter(|_| start.is_aligned(PAGE_SIZE)).unwrap_or_else(|| {
        give_up!("the boot loader put the module at {start}, not at a page boundary, or out of reach")
    });
    // SAFETY: the module's memory; the boot loader is done with it and nobody else runs.
    let image = Image::parse(unsafe { header.bytes() }, length);
    let image = image.unwrap_or_else(|problem| give_up!("root program: {problem}"));
    // SAFETY: in the kernel, interrupts off; this function does not return to anybody who could use a store.
    let store = unsafe { arch::pool::store() };
    match make(&store, facts, start, &image) {
        Ok(scheduling) => {
            info!("root program: {length} bytes at {start}, entry {:#x}", image.entry);
            drop(header);
            scheduler::wake(&store, scheduling);
            scheduler::enter(&store)
        }
        Err(Status::QuotaExhausted) => give_up!("no kernel memory for the root program; raise kernel-memory="),
        Err(status) => give_up!("root program: {}", status.words()),
    }
}

/// Makes the root domain with the program `image`, whose file is at `file`, and all that it starts with.
fn make(store: &Store<'_>, facts: &Facts<'_>, file: PhysAddr, image: &Image<'_>) -> Result<Ref<Scheduling>, Status> {
    let hypervisor = claim_machine(store, facts)?;
    // What is left but for what cores have of domains' tables.
    let free = pool::free();
    let reserve = (free / 8).max(64 * cores::running().len() as u32).min(free / 2);
    let (kernel, granted) = (pool::kernel().ok_or(OutOfMemory::Pool)?, free - reserve);
    quota::transfer(kernel, &store.get(hypervisor).quota, granted).or(Err(OutOfMemory::Quota))?;
    cache::fund(kernel, (kernel.limit() - kernel.usage()).saturating_sub(KEPT))?;
    let domain = new_domain(store, hypervisor, NOT_TRANSFERABLE, granted)?;
    HYPERVISOR.store(hypervisor.to_word(), Ordering::Relaxed);
    ROOT.store(domain.to_word(), Ordering::Relaxed);
    for segment in image.segments() {
        give_segment(store, hypervisor, domain, file, &segment)?;
    }
    let mut page = pool::zeroed(Order::covering(HIP_SIZE as u64).unwrap_or(Order::MAX))?;
    arch::pool::with_bytes(&mut page, |bytes| information::write(facts, bytes)).ok_or(OutOfMemory::Pool)?;
    let utcb = pool::page(&store.get(domain).quota)?;
    let read_write = MemoryRights::READ | MemoryRights::WRITE;
    give_page(store, domain, HIP_ADDRESS, pool::address(page), HIP_SIZE as u64, MemoryRights::READ)?;
    give_page(store, domain, ROOT_UTCB_ADDRESS, utcb, PAGE_SIZE, read_write)?;

    let core = percpu::this().local.id.get();
    let message = arch::pool::words(utcb).ok_or(OutOfMemory::Pool)?;
    let identity =
        Identity { domain, message, message_at: 0, core, event_base: 0, global: true, proxy: false, guest: false };
    let _ = store.get(domain).uses.acquire();
    let context = Context::new(identity, HIP_ADDRESS);
    context.frame().rip.set(image.entry);
    context.frame().rdi.set(u64::from(core));
    context.set_continuation(Continuation::Run);
    let context = lifetime::add(store, domain, || context)?;
    contexts::set_root(context);
    let _ = store.get(context).count.acquire();
    let budget = scheduler::default_budget();
    let scheduling = lifetime::add(store, domain, || Scheduling::new(context, core, ROOT_PRIORITY, budget))?;
    power::start(facts.machine.fadt.as_ref());
    for (selector, key) in [(Selector::ROOT_SUSPEND, Key::Suspend), (Selector::ROOT_MSR, Key::Msr)] {
        let semaphore = lifetime::add(store, domain, || Semaphore::new(0))?;
        // It stands for something even when no capability to it is left.
        let _ = store.get(semaphore).references.acquire();
        KEYS[key as usize].store(semaphore.to_word(), Ordering::Relaxed);
        publish_new(store, domain, selector, SemaphoreRights::all().into(), semaphore)?;
    }
    let rights = SchedulingRights::all().into();
    publish_new(store, domain, Selector::ROOT_SCHEDULING, rights, scheduling)?;
    publish_new(store, domain, Selector::ROOT_CONTEXT, ContextRights::all().into(), context)?;
    publish_new(store, domain, Selector::ROOT_DOMAIN, DomainRights::all().into(), domain)?;
    Ok(scheduling)
}

static HYPERVISOR: AtomicU64 = AtomicU64::new(0);
static ROOT: AtomicU64 = AtomicU64::new(0);

/// What the root program may do because it has a certain capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Put the machine to sleep.
    Suspend = 0,
    /// Use model-specific registers.
    Msr = 1,
}

static KEYS: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

/// Whether the semaphore at `selector` is the one that stands for `key`.
///
/// # Errors
/// [`Status::BadCapability`] if not.
pub fn require(store: &Store<'_>, key: Key, selector: u64) -> Result<(), Status> {
    let semaphore = named::<Semaphore>(store, selector, Rights::NONE)?;
    let known = KEYS[key as usize].load(Ordering::Relaxed);
    if semaphore.to_word() == known { Ok(()) } else { Err(Status::BadCapability) }
}

/// The domain that holds what the kernel does not keep, until the root domain takes it.
pub fn hypervisor(store: &Store<'_>) -> Option<Ref<Domain>> {
    store.reference(HYPERVISOR.load(Ordering::Relaxed))
}

/// Whether `domain` is the root domain.
pub fn is_root(domain: Ref<Domain>) -> bool {
    domain.to_word() == ROOT.load(Ordering::Relaxed)
}

/// The domain of the hypervisor's own space, which is the first: it pays for none of its pages.
fn first_domain(store: &Store<'_>) -> Result<Ref<Domain>, OutOfMemory> {
    let kernel = pool::kernel().ok_or(OutOfMemory::Pool)?;
    let pages = domain::pages(kernel)?;
    let views = arch::pool::words(pages[1]).ok_or(OutOfMemory::Pool)?;
    let quota = Quota::funded_by(kernel, 0, HYPERVISOR_PAGES).map_err(|_| OutOfMemory::Quota)?;
    let page = pool::dirty(Order::PAGE, kernel)?.into_number();
    let mut slab = Slab::default();
    // SAFETY: the page was just handed out to us and is given to the slab for good.
    unsafe { slab.grow(store, page, 0) };
    let slot = slab.reserve(store).ok_or(OutOfMemory::Pool)?;
    Ok(store.write(slot, Domain::new(pages[0], views, quota, None)))
}

/// Makes the domain of the hypervisor's own space: all ports, and all memory that the kernel does not keep.
fn claim_machine(store: &Store<'_>, facts: &Facts<'_>) -> Result<Ref<Domain>, Status> {
    let hypervisor = first_domain(store)?;
    let claim = |kind, base, end, rights| {
        mapping::enter(store, &mapping::piece(hypervisor, kind, Span::between(base, end), base, rights))
    };
    claim(abi::Kind::Ports, 0, capability::port::PORTS, Rights::ALL)?;
    let page = |start| Region::from_length(start, PAGE_SIZE);
    let mut kept = [
        arch::boot::image(),
        facts.plan.pool,
        page(facts.plan.trampoline),
        page(arch::apic::base()),
        page(1 << PHYS_BITS),
    ];
    kept.sort_unstable_by_key(|region| region.start);
    let mut next = 0;
    for Region { start, end } in kept {
        let (from, to) = (next, start >> PAGE_BITS);
        if from < to {
            claim(abi::Kind::Memory, from, to, MemoryRights::all().into())?;
        }
        next = end.div_ceil(PAGE_SIZE);
    }
    interrupt::claim(store, hypervisor)?;
    accounts::claim(store, hypervisor)?;
    Ok(hypervisor)
}

/// Enters a range of kernel memory into the root domain's space, and maps it.
fn give_page(
    store: &Store<'_>,
    domain: Ref<Domain>,
    virt: u64,
    phys: PhysAddr,
    size: u64,
    rights: MemoryRights,
) -> Result<(), Status> {
    let span = Span { base: virt >> PAGE_BITS, count: size >> PAGE_BITS };
    mapping::enter(store, &mapping::piece(domain, abi::Kind::Memory, span, phys.page(), rights.into()))?;
    let _region = lock::of(store.get(domain), store.get(domain));
    map_user(store.get(domain), virt, phys, size, mapping::attributes(rights.into()))
        .map_err(|_| Status::QuotaExhausted)
}

/// Delegates the memory of a segment, in place, from the hypervisor's space.
fn give_segment(
    store: &Store<'_>,
    hypervisor: Ref<Domain>,
    domain: Ref<Domain>,
    file: PhysAddr,
    segment: &Segment,
) -> Result<(), Status> {
    let ((virt, end), (offset, _)) = (segment.pages(), segment.file_pages());
    let mut rights = MemoryRights::READ;
    rights.set(MemoryRights::WRITE, segment.write);
    rights.set(MemoryRights::EXECUTE, segment.execute);
    let mut span = Span::between(virt >> PAGE_BITS, end >> PAGE_BITS);
    let mut first = file.offset(offset).page();
    // A page in which one segment of these rights ends and the next begins is mapped already.
    if store.get(domain).master().lookup(&HARDWARE, VirtAddr::new(virt)).is_some() {
        (span, first) = (Span::between(span.base + 1, span.end()), first + 1);
    }
    let range = Span { base: first, count: span.count };
    mapping::delegate(
        store,
        (hypervisor, abi::Kind::Memory),
        range,
        (domain, span.base),
        (rights.into(), ItemFlags::empty(), 0),
        &mut None,
    )
}
