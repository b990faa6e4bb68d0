//! What operations need: selectors, message pages, serving contexts, portals.
//!
//! Invariants: no selector and no page is handed out twice.
//! Concurrency: one user.

use super::enter::{self, Entry};
use abi::qpd::Qpd;
use abi::utcb::Header;
use abi::{Hypercall, Mtd, Request, Selector};
use bench::line::Refusal;
use rt::Environment;

/// Behind the capabilities that the kernel hands to a root program.
const FIRST_SELECTOR: u64 = 0x1000;
/// Selector of the domain, as an argument.
pub const DOMAIN: u64 = Selector::ROOT_DOMAIN.number();

/// Selectors of a context's events.
const EVENTS: u64 = 0x20;
/// Flag of a context with a scheduling context of its own.
pub const GLOBAL: u8 = 1;

/// Hands out what operations need.
pub struct Resources {
    core: u64,
    message: u64,
    selector: u64,
    page: u64,
    handler: Option<u64>,
    starter: Option<u64>,
}

impl Resources {
    /// Everything is free at the start.
    pub fn new(environment: &Environment) -> Self {
        let message = environment.hip_address().wrapping_sub(abi::address::PAGE_SIZE);
        let core = u64::from(environment.cpu());
        Self { core, message, selector: FIRST_SELECTOR, page: enter::FREE_PAGES, handler: None, starter: None }
    }

    /// The core that the program runs on.
    pub const fn core(&self) -> u64 {
        self.core
    }

    /// The first of `count` fresh selectors.
    pub const fn selectors(&mut self, count: u64) -> u64 {
        self.selector += count;
        self.selector - count
    }

    /// The first of `count` fresh pages: virtual addresses that nothing is mapped at.
    pub const fn pages(&mut self, count: u64) -> u64 {
        self.page += count * abi::address::PAGE_SIZE;
        self.page - count * abi::address::PAGE_SIZE
    }

    /// Makes the program's next calls carry `words` message words.
    pub fn message(&self, words: usize) {
        enter::write_header(self.message, Header::new(words, 0));
    }

    /// A context on this core that serves portals.
    pub fn server(&mut self) -> Result<u64, Refusal> {
        let page = self.pages(1);
        self.context(page)
    }

    /// The context that handles faults, whose message page is where its entry expects it.
    pub fn handler(&mut self) -> Result<u64, Refusal> {
        match self.handler {
            Some(handler) => Ok(handler),
            None => {
                let handler = self.context(enter::HANDLER_PAGE)?;
                Ok(*self.handler.insert(handler))
            }
        }
    }

    fn context(&mut self, page: u64) -> Result<u64, Refusal> {
        let at = self.selectors(1);
        // No entry uses a stack.
        create(Hypercall::CreateContext, 0, at, [DOMAIN, page | self.core, 0, 0], "create_ec")?;
        Ok(at)
    }

    /// An event base for threads that start at `entry`.
    pub fn events(&mut self, entry: Entry) -> Result<u64, Refusal> {
        let starter = match self.starter {
            Some(starter) => starter,
            None => {
                let starter = self.context(enter::STARTER_PAGE)?;
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
            let arguments = [DOMAIN, page + index * abi::address::PAGE_SIZE, 0, events];
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

fn create(call: Hypercall, flags: u8, at: u64, arguments: [u64; 4], step: &'static str) -> Result<(), Refusal> {
    let request = Request::new(call, flags, Selector::new(at)).word();
    match enter::hypercall(request, arguments) {
        0 => Ok(()),
        status => Err(Refusal { step, status }),
    }
}
