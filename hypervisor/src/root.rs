//! The root program: from a module of the boot loader to a context in ring 3.
//!
//! Purpose: map the program's segments in place with their own rights, write the information page, start.
//! Invariants: nothing is copied; what the program may not have (kernel memory) is not mapped; a bad module is
//! explained in words.
//! Concurrency: boot core, once, after all cores are up.
//! Source: interface §7; design plan §3.
use crate::domain::{self, map_user};
use crate::information::{self, Facts};
use crate::log::{info, warning};
use crate::slots::put;
use crate::tables::{Error, HARDWARE};
use crate::{pool, scheduler};
use abi::hip::{HIP_ADDRESS, HIP_SIZE, ROOT_UTCB_ADDRESS};
use abi::rights::{ContextRights, DomainRights, SchedulingRights};
use abi::{PhysAddr, Selector, VirtAddr, address::PAGE_SIZE};
use arch::window::View;
use capability::word::{Capability, Kind};
use firmware::Problem;
use firmware::elf::{Image, Rights, Segment};
use memory::format::{Attributes, Host};
use memory::frames::{Order, OutOfMemory};
use memory::plan;
use memory::region::Region;
use memory::table::{MapError, Table};
use objects::{Context, Continuation, Domain, Identity, Scheduling};

/// Priority of the root program's scheduling context.
const ROOT_PRIORITY: u8 = 1;

/// Why there is no root program.
#[derive(Debug)]
pub enum RootError {
    /// The boot loader passed no module.
    NoModule,
    /// The module does not start at a page boundary, or lies beyond the processor's reach.
    Placement(u64),
    /// The module lies outside usable memory, or over the kernel.
    NotMemory(u64, u64),
    /// It is not a program that can be mapped.
    Elf(Problem),
    /// Tables or pages could not be had.
    Memory(Error),
}

impl core::fmt::Display for RootError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoModule => f.write_str("no module: give GRUB a `module2` line with a root program"),
            Self::Placement(start) => write!(f, "the boot loader put the module at {start:#x}, not at a page boundary"),
            Self::NotMemory(start, end) => {
                write!(
                    f,
                    "the module at {start:#x}-{end:#x} does not lie in free memory: the boot information is broken"
                )
            }
            Self::Elf(error) => write!(f, "root program: {error}"),
            Self::Memory(MapError::Occupied(page)) => {
                write!(f, "root program: two segments want the page at {page}; align segments to pages")
            }
            Self::Memory(error) => write!(f, "no kernel memory for the root program ({error:?}); raise kernel-memory="),
        }
    }
}

impl From<Error> for RootError {
    fn from(error: Error) -> Self {
        Self::Memory(error)
    }
}

impl From<OutOfMemory> for RootError {
    fn from(error: OutOfMemory) -> Self {
        Self::Memory(MapError::NoTable(error))
    }
}

/// Starts the root program, which does not return.
///
/// # Errors
/// See [`RootError`].
pub fn start(facts: &Facts<'_>) -> Result<core::convert::Infallible, RootError> {
    let module = facts.boot.modules().next().ok_or(RootError::NoModule)?;
    let place = PhysAddr::new(module.start).filter(|start| start.is_aligned(PAGE_SIZE));
    let start = place.ok_or(RootError::Placement(module.start))?;
    let length = module.end - module.start;
    let place = Region { start: module.start, end: module.end.next_multiple_of(PAGE_SIZE) };
    let mut runs = plan::usable_runs(pool::entries(&facts.boot), &[], u64::MAX);
    let image = arch::boot::image();
    let [first, last] = [image.start, image.end].map(|virt| arch::boot::image_phys(virt).get());
    if place.overlaps(&Region { start: first, end: last }) || !runs.any(|run| run.covers(&place)) {
        return Err(RootError::NotMemory(module.start, module.end));
    }
    let shown = length.clamp(1, PAGE_SIZE) as usize;
    let header = View::new(start, shown, Attributes::READ).ok_or(RootError::Placement(module.start))?;
    // SAFETY: the module's memory; the boot loader is done with it and nobody else runs.
    let image = Image::parse(unsafe { header.bytes() }, length).map_err(RootError::Elf)?;
    for shared in image.shared_frames() {
        warning!("root program: {shared}");
    }

    let master = Table::<Host>::new(pool::table()?);
    for segment in image.segments() {
        map_segment(&master, start, &segment)?;
    }
    let entry = image.entry;
    drop(header);
    let mut page = pool::zeroed(Order::covering(HIP_SIZE as u64).unwrap_or(Order::MAX))?;
    if arch::pool::with_bytes(&mut page, |bytes| information::write(facts, bytes)).is_none() {
        warning!("the information page is not in the pool");
    }
    map_user(&master, HIP_ADDRESS, pool::address(page), HIP_SIZE as u64, Attributes::READ)?;
    let utcb = pool::table()?;
    map_user(&master, ROOT_UTCB_ADDRESS, utcb, PAGE_SIZE, Attributes::READ | Attributes::WRITE)?;

    // SAFETY: in the kernel, interrupts off; this function does not return to anybody who could use a store.
    let store = unsafe { arch::pool::store() };
    let views = arch::pool::words(pool::table()?).ok_or(OutOfMemory::Pool)?;
    let domain = domain::add_domain(&store, Domain::new(master.root(), views, pool::table()?))?;
    let core = percpu::this().local.id.get();
    let message = arch::pool::words(utcb).ok_or(OutOfMemory::Pool)?;
    let identity = Identity { domain, message, core, event_base: 0, global: true };
    let context = Context::new(identity, HIP_ADDRESS);
    context.frame().rip.set(entry);
    context.frame().rdi.set(u64::from(core));
    context.set_continuation(Continuation::Run);
    let context = domain::add_context(&store, context)?;
    domain::set_root(context);
    let budget = scheduler::default_budget();
    let scheduling = domain::add_scheduling(&store, Scheduling::new(context, core, ROOT_PRIORITY, budget))?;
    let initial = [
        (Selector::ROOT_DOMAIN, Capability::new(Kind::Domain, DomainRights::all().into(), domain.to_word())),
        (Selector::ROOT_CONTEXT, Capability::new(Kind::Context, ContextRights::all().into(), context.to_word())),
        (
            Selector::ROOT_SCHEDULING,
            Capability::new(Kind::Scheduling, SchedulingRights::all().into(), scheduling.to_word()),
        ),
    ];
    for (selector, capability) in initial {
        put(store.get(domain), selector, capability)?;
    }
    info!("root program: {length} bytes at {start}, entry {entry:#x}");
    scheduler::start(&store, scheduling)
}

fn map_segment(master: &Table<Host>, file: PhysAddr, segment: &Segment) -> Result<(), Error> {
    let ((virt, end), (offset, _)) = (segment.pages(), segment.file_pages());
    let Rights { write, execute, .. } = segment.rights;
    let mut rights = Attributes::READ;
    rights.set(Attributes::WRITE, write);
    rights.set(Attributes::EXECUTE, execute);
    // A page in which one segment of these rights ends and the next begins is mapped already.
    let (mut virt, mut file) = (virt, file.offset(offset));
    if let Some((shown, attributes, _)) = master.lookup(&HARDWARE, VirtAddr::new(virt))
        && shown == file
        && attributes == rights | Attributes::USER
    {
        (virt, file) = (virt + PAGE_SIZE, file.offset(PAGE_SIZE));
    }
    map_user(master, virt, file, end - virt, rights)
}
