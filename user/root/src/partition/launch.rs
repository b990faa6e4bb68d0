//! A program's life: a domain of its own with exactly what the configuration lists, and its end.
//!
//! Invariants: memory is given with the rights of its part of the image, never to be written and executed; pages go back
//! only when nobody has them any more.
//! Concurrency: the manager's thread.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use abi::address::PAGE_SIZE;
use abi::item::ItemFlags;
use abi::qpd::Qpd;
use abi::rights::{DomainRights, MemoryRights, SemaphoreRights};
use abi::{Crd, Rights, Selector, Status, TypedItem};
use boot_config::{Program, Right};
use root::frames::{Frames, Pages};
use rt::capability::{Context, Scheduling, Semaphore, Slot};
use rt::domain::Domain;
use rt::image::Image;
use rt::message::Text;
use rt::startup::{CONSOLE_LOCK, Cores, DOMAIN, EVENTS, FILES, File, GUEST, HEAP, INTERRUPTS, MAX_FILES, PAGE};
use rt::{Startup, item};

use super::agents::{Agent, Desk};
use super::memory;

/// Quantum of every thread in microseconds.
const QUANTUM: u64 = 10_000;
/// Bytes of the pages that a guest's memory is made of where possible.
const LARGE_PAGE: u64 = 2 << 20;
/// Most threads of a program.
const THREADS: usize = 256;
/// Milliseconds to wait until something that was destroyed is gone.
const GRACE: u64 = 1000;
/// Ports of the console: COM1, and the emulators' debug port.
const CONSOLE_PORTS: [(u16, u16); 2] = [(0x3F8, 0x3FF), (0xE9, 0xE9)];

/// A thread of a program.
pub struct Thread {
    pub number: u64,
    pub context: Context,
    scheduling: Scheduling,
    /// Its stack pointer at the start, by which its startup event is known.
    pub record: u64,
    pub entry: u64,
}

/// A program that runs.
pub struct Life {
    pub domain: Domain,
    pub agents: Vec<Agent>,
    pub threads: Vec<Thread>,
    /// Address of its first instruction.
    pub entry: u64,
    /// The core of its first thread.
    pub core: u32,
    /// All its cores.
    pub cores: Cores,
    pages: Vec<Pages>,
    /// The memory of its guest: first page and count; and the guest's domain, once there is one.
    guest: Option<(u64, u64)>,
    populated: Option<Domain>,
    next_thread: u64,
}

/// What a launch needs.
pub struct Surroundings<'a> {
    pub frames: &'a mut Frames,
    pub manager: &'static Semaphore,
    pub tsc_khz: u32,
    /// See [`Startup::date`].
    pub date: u64,
    /// Features of the information page.
    pub features: u32,
    /// The modules: name, and where the contents are in physical memory.
    pub files: Vec<(String, &'static [u8], u64)>,
    /// First selector of the interrupts in the hypervisor's space.
    pub interrupts: u64,
    pub console_lock: &'static AtomicU64,
    pub console_page: u64,
    /// What agents leave for others.
    pub desks: Vec<&'static Desk>,
}

/// Starts `program` from `image` on `cores`, of which there is at least one.
///
/// # Errors
/// Why it does not run, in words.
pub fn launch(program: &Program, image: &[u8], cores: &[u32], around: &mut Surroundings<'_>) -> Result<Life, String> {
    let image = Image::new(image).map_err(|defect| format!("its image is not usable: {defect}"))?;
    let kernel = |what: &'static str| move |status: Status| format!("{what}: {status}");
    let domain = Domain::new(program.quota).map_err(kernel("no domain"))?;
    let core = cores.first().copied().unwrap_or(0);
    let cores = cores.iter().copied().collect();
    let mut life = Life {
        domain,
        agents: Vec::new(),
        threads: Vec::new(),
        entry: image.entry,
        core,
        cores,
        pages: Vec::new(),
        guest: None,
        populated: None,
        next_thread: 1,
    };
    let result = furnish(&mut life, program, image, around)
        .and_then(|()| life.start(program.priority).map_err(kernel("no thread")));
    match result {
        Ok(()) => Ok(life),
        Err(why) => {
            life.end(around);
            Err(why)
        }
    }
}

fn furnish(life: &mut Life, program: &Program, image: Image<'_>, around: &mut Surroundings<'_>) -> Result<(), String> {
    let read = MemoryRights::READ;
    for part in image.parts() {
        let more = match (part.write, part.execute) {
            (true, _) => MemoryRights::WRITE,
            (_, true) => MemoryRights::EXECUTE,
            _ => MemoryRights::empty(),
        };
        life.memory(around.frames, part.address, part.bytes.len() as u64, read | more, |bytes| {
            for (slot, byte) in bytes.iter_mut().zip(part.bytes) {
                *slot = *byte;
            }
        })?;
    }
    life.memory(around.frames, HEAP, program.memory, read | MemoryRights::WRITE, |_| ())?;
    let files = files(life, program, around)?;
    let guest = guest(life, program, around)?;
    let console = program.rights.contains(&Right::Console);
    let startup = Startup {
        name: Text::new(&program.name),
        arguments: Text::new(&program.arguments),
        core: life.core,
        cores: life.cores,
        tsc_khz: around.tsc_khz,
        date: around.date,
        heap: program.memory,
        ports: console || program.rights.iter().any(|right| matches!(right, Right::Ports(..))),
        console,
        features: around.features,
        guest,
        files,
    };
    let mut written = false;
    life.memory(around.frames, PAGE, PAGE_SIZE, read, |bytes| written = startup.write(bytes))?;
    if !written {
        return Err("its name and arguments are too long".into());
    }
    rights(life, program, around).map_err(|status| format!("its rights cannot be given: {status}"))?;
    if console {
        let items = memory::items(around.console_page, CONSOLE_LOCK / PAGE_SIZE, 1, read | MemoryRights::WRITE);
        life.give(items).map_err(|status| format!("no console: {status}"))?;
    }
    for core in life.cores.iter() {
        let agent = Agent::new(around.manager, &mut around.desks, &life.domain, core);
        life.agents.push(agent.map_err(|status| format!("no agent on core {core}: {status}"))?);
    }
    Ok(())
}

/// The modules that it may read.
fn files(life: &Life, program: &Program, around: &Surroundings<'_>) -> Result<[File; MAX_FILES], String> {
    let mut files = [File::default(); MAX_FILES];
    let (mut slots, mut next) = (files.iter_mut(), FILES);
    for right in &program.rights {
        let Right::Read(name) = right else { continue };
        let known = around.files.iter().find(|(known, ..)| known == name);
        let (Some((_, contents, physical)), Some(slot)) = (known, slots.next()) else {
            return Err(format!("there is no module `{name}`, or it may read too many"));
        };
        let (offset, size) = (physical % PAGE_SIZE, contents.len() as u64);
        let count = (offset + size).div_ceil(PAGE_SIZE);
        *slot = File { name: Text::new(name), address: next + offset, size };
        let items = memory::items(physical / PAGE_SIZE, next / PAGE_SIZE, count, MemoryRights::READ);
        life.give(items).map_err(|status| format!("the module `{name}` cannot be given: {status}"))?;
        next += (count + 1) * PAGE_SIZE;
    }
    Ok(files)
}

/// The memory of its guest, in pages as large as possible; its size.
fn guest(life: &mut Life, program: &Program, around: &mut Surroundings<'_>) -> Result<u64, String> {
    let size = program.rights.iter().find_map(|right| if let Right::Guest(size) = right { Some(*size) } else { None });
    let Some(size) = size else { return Ok(0) };
    let count = size / PAGE_SIZE;
    let taken = around.frames.take_aligned(count, LARGE_PAGE / PAGE_SIZE);
    let mut pages = taken.ok_or_else(|| format!("no {} MiB of memory left for its guest", size >> 20))?;
    memory::bytes(&mut pages).fill(0);
    // The guest executes what it likes in its own memory; its monitor nothing of it.
    let items = memory::items(pages.first(), GUEST / PAGE_SIZE, count, MemoryRights::READ | MemoryRights::WRITE);
    life.guest = Some((pages.first(), count));
    life.pages.push(pages);
    life.give(items).map_err(|status| format!("its guest's memory cannot be given: {status}"))?;
    Ok(size)
}

/// Ports, interrupts, and the right to make objects.
fn rights(life: &Life, program: &Program, around: &Surroundings<'_>) -> Result<(), Status> {
    let mut make = DomainRights::CREATE_CONTEXT | DomainRights::CREATE_PORTAL | DomainRights::CREATE_SEMAPHORE;
    if program.rights.iter().any(|right| matches!(right, Right::Guest(_) | Right::Domains)) {
        make |= DomainRights::CREATE_DOMAIN | DomainRights::CREATE_SCHEDULING;
    }
    life.domain.give_itself(Selector::new(DOMAIN), make)?;
    let mut interrupts = INTERRUPTS..;
    for right in &program.rights {
        match right {
            Right::Console => CONSOLE_PORTS.iter().try_for_each(|&(first, last)| life.ports(first, last))?,
            Right::Ports(first, last) => life.ports(*first, *last)?,
            Right::Interrupt(number) => {
                let from = Selector::new(around.interrupts + u64::from(*number));
                let rights = SemaphoreRights::UP | SemaphoreRights::DOWN;
                let range = Crd::objects(from, 0, rights.into()).unwrap_or(Crd::NULL);
                let at = Selector::new(interrupts.next().unwrap_or(INTERRUPTS));
                life.domain.give(item::window(at), &[TypedItem::delegate(range, ItemFlags::HYPERVISOR, 0)])?;
            }
            Right::Use(_) | Right::Read(_) | Right::Guest(_) | Right::Domains => {}
        }
    }
    Ok(())
}

impl Life {
    /// Gives it `size` bytes of fresh memory at `address`, zeroed and then filled.
    fn memory(
        &mut self,
        frames: &mut Frames,
        address: u64,
        size: u64,
        rights: MemoryRights,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<(), String> {
        let count = size.div_ceil(PAGE_SIZE);
        let mut pages = frames.take(count).ok_or_else(|| format!("no {} KiB of memory left", size >> 10))?;
        let bytes = memory::bytes(&mut pages);
        bytes.fill(0);
        fill(bytes);
        let items = memory::items(pages.first(), address / PAGE_SIZE, count, rights);
        self.pages.push(pages);
        self.give(items).map_err(|status| format!("its memory cannot be given: {status}"))
    }

    /// Gives it memory of the hypervisor's space.
    fn give(&self, items: impl Iterator<Item = TypedItem>) -> Result<(), Status> {
        items.into_iter().try_for_each(|item| self.domain.give(item::all_memory(), &[item]))
    }

    /// Gives the memory of its guest to the guest's domain, once.
    ///
    /// # Errors
    /// [`Status::BadParameter`] if it has no guest, or the guest has its memory; else what the kernel answered.
    pub fn populate(&mut self, domain: Slot) -> Result<(), Status> {
        let domain = Domain::from_slot(domain);
        let (first, count) = self.guest.filter(|_| self.populated.is_none()).ok_or(Status::BadParameter)?;
        let domain = self.populated.insert(domain);
        item::pieces(first, 0, count).try_for_each(|(frame, page, order)| {
            let range = Crd::memory(frame, order, MemoryRights::all()).ok_or(Status::BadParameter)?;
            let flags = ItemFlags::HYPERVISOR | ItemFlags::GUEST;
            domain.give(item::all_memory(), &[TypedItem::delegate(range, flags, page)])
        })
    }

    fn ports(&self, first: u16, last: u16) -> Result<(), Status> {
        let count = u64::from(last - first) + 1;
        item::pieces(first.into(), first.into(), count).try_for_each(|(first, _, order)| {
            let range = Crd::ports(first as u16, order).unwrap_or(Crd::NULL);
            self.domain.give(Crd::ALL_PORTS, &[TypedItem::delegate(range, ItemFlags::HYPERVISOR, 0)])
        })
    }

    /// Starts its first thread.
    fn start(&mut self, priority: u8) -> Result<(), Status> {
        // A stack pointer of 0 tells its startup event from those of other threads.
        self.thread(self.core, PAGE - PAGE_SIZE, 0, self.entry, priority).map(drop)
    }

    /// Starts a thread; gives its number.
    ///
    /// # Errors
    /// [`Status::BadCpu`] for a core that it may not run on, or if it has [`THREADS`]; else what the kernel answered.
    pub fn thread(&mut self, core: u32, utcb: u64, record: u64, entry: u64, priority: u8) -> Result<u64, Status> {
        if !self.cores.contains(core) || !utcb.is_multiple_of(PAGE_SIZE) || self.threads.len() >= THREADS {
            return Err(Status::BadCpu);
        }
        let context = self.domain.thread(core, utcb, record, EVENTS * u64::from(core))?;
        let parameters = Qpd::new(priority, QUANTUM).ok_or(Status::BadParameter)?;
        let scheduling = self.domain.run(&context, parameters)?;
        let number = self.next_thread;
        self.next_thread += 1;
        self.threads.push(Thread { number, context, scheduling, record, entry });
        Ok(number)
    }

    /// Takes everything back from it.
    pub fn end(self, around: &mut Surroundings<'_>) {
        let Self { domain, agents, threads, pages, populated, .. } = self;
        // Its memory goes only when none of its threads runs any more.
        for Thread { context, scheduling, .. } in threads {
            let _ = scheduling.into_slot().destroy(GRACE);
            let _ = context.into_slot().destroy(GRACE);
        }
        let objects = Crd::objects(Selector::new(0), abi::selector::SELECTOR_BITS, Rights::ALL).unwrap_or(Crd::NULL);
        // Even if the kernel refuses one of these, the domain itself goes.
        let _ = domain.strip(objects);
        around.desks.extend(agents.into_iter().filter_map(|agent| agent.dismiss(GRACE)));
        if let Some(guest) = populated {
            let _ = guest.strip(item::all_memory());
        }
        let _ = domain.strip(item::all_memory());
        let _ = domain.strip(Crd::ALL_PORTS);
        let _ = domain.into_slot().destroy(GRACE);
        pages.into_iter().for_each(|page| around.frames.give(page));
    }

    /// Frees the console for others.
    pub fn release(lock: &AtomicU64) {
        lock.store(0, Ordering::Release);
    }
}
