//! What operations need: selectors, message pages, serving contexts, portals, a second domain.
//!
//! Invariants: no selector and no page is handed out twice.
//! Concurrency: one user.

use super::enter::{self, Entry};
use abi::address::PAGE_SIZE;
use abi::hip::Features;
use abi::item::{ItemFlags, ItemKind};
use abi::qpd::Qpd;
use abi::rights::MemoryRights;
use abi::utcb::Header;
use abi::{Crd, Hypercall, Mtd, Request, Selector, TypedItem};
use bench::line::Refusal;
use rt::Environment;

/// Behind the capabilities that the kernel hands to a root program, and those that the runtime makes for threads.
const FIRST_SELECTOR: u64 = 0x1_0000;
/// Selector of the domain, as an argument.
pub const DOMAIN: u64 = Selector::ROOT_DOMAIN.number();

/// Pages of the kernel's memory for another domain.
const NEIGHBOUR: u64 = 256;
/// A message of one typed item.
pub const WITH_ITEM: Header = Header::new(0, 1);
/// Sub-operation of `misc`.
const DELEGATE: u8 = 1;
/// Words of a message page where the first typed item is.
const FIRST_ITEM: usize = 510;

/// Physical memory for stacks of threads, 4 MiB, and where the program has it.
const STACKS: u64 = 0xC00_0000;
const STACKS_ORDER: u32 = 10;
const HEAP: u64 = 0x1F_C000_0000;

/// Selectors of a context's events.
const EVENTS: u64 = 0x20;
/// Flag of a context with a scheduling context of its own.
pub const GLOBAL: u8 = 1;

/// Hands out what operations need.
pub struct Resources {
    core: u64,
    intel: bool,
    message: u64,
    selector: u64,
    page: u64,
    handler: Option<u64>,
    starter: Option<u64>,
    neighbour: Option<u64>,
    note: bool,
    guest: Option<u64>,
    heap: bool,
    setting: Setting,
}

/// What the program runs on, and how it measures.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setting {
    /// Cores that run.
    pub cores: u64,
    /// Whether ticks are instructions of all cores together.
    pub counting: bool,
    /// Whether interrupts beyond those that are due are refused.
    pub exact: bool,
}

impl Resources {
    /// Everything is free at the start.
    pub fn new(environment: &Environment, setting: Setting) -> Self {
        let message = environment.hip_address().wrapping_sub(PAGE_SIZE);
        let core = u64::from(environment.cpu());
        Self {
            core,
            intel: environment.hip().header().features.contains(Features::VMX),
            message,
            selector: FIRST_SELECTOR,
            page: enter::FREE_PAGES,
            handler: None,
            starter: None,
            neighbour: None,
            note: false,
            guest: None,
            heap: false,
            setting,
        }
    }

    /// Whether virtual CPUs are those of Intel's processors.
    pub const fn intel(&self) -> bool {
        self.intel
    }

    /// The core that the program runs on.
    pub const fn core(&self) -> u64 {
        self.core
    }

    /// What the program runs on.
    pub const fn setting(&self) -> Setting {
        self.setting
    }

    /// Gives memory for stacks to the heap, once.
    pub fn heap(&mut self) -> Result<(), Refusal> {
        if core::mem::replace(&mut self.heap, true) {
            return Ok(());
        }
        let item = TypedItem::new(memory(STACKS, STACKS_ORDER), ItemKind::Delegate, ItemFlags::HYPERVISOR, HEAP >> 12);
        match enter::hypercall(self.offer(item), [window(), DOMAIN, 0, 0]) {
            0 => enter::heap(HEAP, PAGE_SIZE << STACKS_ORDER),
            status => return Err(Refusal { step: "heap", status }),
        }
        Ok(())
    }

    /// The first of `count` fresh selectors.
    pub const fn selectors(&mut self, count: u64) -> u64 {
        self.selector += count;
        self.selector - count
    }

    /// The first of `count` fresh pages: virtual addresses that nothing is mapped at.
    pub const fn pages(&mut self, count: u64) -> u64 {
        self.page += count * PAGE_SIZE;
        self.page - count * PAGE_SIZE
    }

    /// Makes the program's next calls carry `words` message words.
    pub fn message(&self, words: usize) {
        enter::write_word(self.message, 0, Header::new(words, 0).word());
    }

    /// The program's own message page.
    pub const fn message_page(&self) -> u64 {
        self.message
    }

    /// Another domain, which can execute what the kernel enters.
    pub fn neighbour(&mut self) -> Result<u64, Refusal> {
        if let Some(neighbour) = self.neighbour {
            return Ok(neighbour);
        }
        let at = self.selectors(1);
        create(Hypercall::CreateDomain, 0, at, [DOMAIN, 0, NEIGHBOUR << 32, 0], "create_pd")?;
        let request = self.offer_code();
        match enter::hypercall(request, [window(), at, 0, 0]) {
            0 => Ok(*self.neighbour.insert(at)),
            status => Err(Refusal { step: "delegate", status }),
        }
    }

    /// Puts an item into the message page that delegates the page of [`Entry`]'s code to where it is here; the first
    /// register of the hypercall that does. Window and domain go into RSI and RDX.
    pub fn offer_code(&mut self) -> u64 {
        let page = Entry::Echo.address() / PAGE_SIZE;
        let code = Crd::memory(page, 0, MemoryRights::READ | MemoryRights::EXECUTE).unwrap_or(Crd::NULL);
        self.offer(TypedItem::delegate(code, ItemFlags::empty(), page))
    }

    /// Puts an item into the message page; the first register of the hypercall that delegates it.
    pub fn offer(&self, item: TypedItem) -> u64 {
        let [range, hotspot] = item.words();
        for (index, word) in [(0, WITH_ITEM.word()), (FIRST_ITEM, range), (FIRST_ITEM + 1, hotspot)] {
            enter::write_word(self.message, index, word);
        }
        Request::new(Hypercall::Misc, DELEGATE, Selector::ROOT_DOMAIN).word()
    }

    /// Makes the semaphore that tells when what was destroyed is given back.
    pub fn note(&mut self) -> Result<(), Refusal> {
        if !self.note {
            semaphore_at(enter::NOTE, 0)?;
            self.note = true;
        }
        Ok(())
    }

    /// The first of four selectors, at a multiple of that, for a guest; and that of the last one's.
    pub const fn guest(&mut self) -> (u64, Option<u64>) {
        let at = self.selectors(8).next_multiple_of(4);
        (at, self.guest.replace(at))
    }

    /// A context of `domain` on this core that serves portals.
    pub fn server(&mut self, domain: u64) -> Result<u64, Refusal> {
        let page = self.pages(1);
        self.context(domain, page)
    }

    /// The context that handles faults, whose message page is where its entry expects it.
    pub fn handler(&mut self) -> Result<u64, Refusal> {
        match self.handler {
            Some(handler) => Ok(handler),
            None => {
                let handler = self.context(DOMAIN, enter::HANDLER_PAGE)?;
                Ok(*self.handler.insert(handler))
            }
        }
    }

    /// A context of `domain` on this core whose message page is `page`.
    pub fn context(&mut self, domain: u64, page: u64) -> Result<u64, Refusal> {
        let at = self.selectors(1);
        // No entry uses a stack.
        create(Hypercall::CreateContext, 0, at, [domain, page | self.core, 0, 0], "create_ec")?;
        Ok(at)
    }

    /// An event base for threads that start at `entry`.
    pub fn events(&mut self, entry: Entry) -> Result<u64, Refusal> {
        let starter = match self.starter {
            Some(starter) => starter,
            None => {
                let starter = self.context(DOMAIN, enter::STARTER_PAGE)?;
                *self.starter.insert(starter)
            }
        };
        let base = self.selectors(EVENTS);
        let portal = base + u64::from(abi::event::STARTUP);
        portal_at(portal, starter, Entry::Start, Mtd::RIP_LEN)?;
        identify(portal, entry.address())?;
        Ok(base)
    }

    /// `count` threads that start at `entry` once they have a scheduling context: the first of their selectors.
    pub fn threads(&mut self, entry: Entry, count: u64) -> Result<u64, Refusal> {
        let events = self.events(entry)?;
        let (first, page) = (self.selectors(count), self.pages(count) | self.core);
        for index in 0..count {
            let arguments = [DOMAIN, page + index * PAGE_SIZE, 0, events];
            create(Hypercall::CreateContext, GLOBAL, first + index, arguments, "create_ec")?;
        }
        Ok(first)
    }

    /// A portal of `context` at a fresh selector.
    pub fn portal(&mut self, context: u64, entry: Entry) -> Result<u64, Refusal> {
        let at = self.selectors(1);
        portal_at(at, context, entry, Mtd::empty())?;
        Ok(at)
    }
}

/// Memory from `address` on, 2^`order` pages.
pub fn memory(address: u64, order: u32) -> Crd {
    Crd::memory(address / PAGE_SIZE, order, MemoryRights::all()).unwrap_or(Crd::NULL)
}

/// A window for all memory, as an argument.
pub fn window() -> u64 {
    Crd::memory(0, abi::crd::MAX_ORDER, MemoryRights::all()).unwrap_or(Crd::NULL).word()
}

/// A portal of `context` at the selector `at`.
pub fn portal_at(at: u64, context: u64, entry: Entry, transfer: Mtd) -> Result<(), Refusal> {
    create(Hypercall::CreatePortal, 0, at, [DOMAIN, context, transfer.bits(), entry.address()], "create_pt")
}

/// Tells the portal at `at` its identity.
pub fn identify(at: u64, identity: u64) -> Result<(), Refusal> {
    create(Hypercall::ControlPortal, 0, at, [identity, 0, 0, 0], "pt_ctrl")
}

/// A scheduling context for the thread `context`, which is as urgent as the program's own.
pub fn run(resources: &mut Resources, context: u64) -> Result<(), Refusal> {
    let at = resources.selectors(1);
    create(Hypercall::CreateScheduling, 0, at, [DOMAIN, context, Qpd::ROOT.word(), 0], "create_sc")
}

/// A semaphore at the selector `at`.
pub fn semaphore_at(at: u64, count: u64) -> Result<(), Refusal> {
    create(Hypercall::CreateSemaphore, 0, at, [DOMAIN, count, 0, 0], "create_sm")
}

/// A hypercall that makes or changes an object.
pub fn create(call: Hypercall, flags: u8, at: u64, arguments: [u64; 4], step: &'static str) -> Result<(), Refusal> {
    let request = Request::new(call, flags, Selector::new(at)).word();
    match enter::hypercall(request, arguments) {
        0 => Ok(()),
        status => Err(Refusal { step, status }),
    }
}
