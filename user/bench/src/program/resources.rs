//! What operations need: selectors, message pages, serving contexts, portals.
//!
//! Invariants: no selector and no page is handed out twice.
//! Concurrency: one user.

use super::enter::{self, Entry};
use abi::utcb::Header;
use abi::{Hypercall, Mtd, Request, Selector};
use bench::line::Refusal;
use rt::Environment;

/// Behind the capabilities that the kernel hands to a root program.
const FIRST_SELECTOR: u64 = 0x1000;
/// Far from the program's image; the first page is the one that the fault handler's entry is written for.
const FIRST_PAGE: u64 = enter::HANDLER_PAGE + abi::address::PAGE_SIZE;
/// Selector of the domain, as an argument.
pub const DOMAIN: u64 = Selector::ROOT_DOMAIN.number();

/// Hands out what operations need.
pub struct Resources {
    core: u64,
    message: u64,
    selector: u64,
    page: u64,
    handler: Option<u64>,
}

impl Resources {
    /// Everything is free at the start.
    pub fn new(environment: &Environment) -> Self {
        let message = environment.hip_address().wrapping_sub(abi::address::PAGE_SIZE);
        let core = u64::from(environment.cpu());
        Self { core, message, selector: FIRST_SELECTOR, page: FIRST_PAGE, handler: None }
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
        if let Some(handler) = self.handler {
            return Ok(handler);
        }
        let handler = self.context(enter::HANDLER_PAGE)?;
        self.handler = Some(handler);
        Ok(handler)
    }

    fn context(&mut self, page: u64) -> Result<u64, Refusal> {
        let at = self.selectors(1);
        // Neither entry uses a stack.
        create(Hypercall::CreateContext, at, [DOMAIN, page | self.core, 0, 0], "create_ec")?;
        Ok(at)
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
    create(Hypercall::CreatePortal, at, [DOMAIN, context, transfer.bits(), entry.address()], "create_pt")
}

/// Tells the portal at `at` its identity.
pub fn identify(at: u64, identity: u64) -> Result<(), Refusal> {
    create(Hypercall::ControlPortal, at, [identity, 0, 0, 0], "pt_ctrl")
}

fn create(call: Hypercall, at: u64, arguments: [u64; 4], step: &'static str) -> Result<(), Refusal> {
    let request = Request::new(call, 0, Selector::new(at)).word();
    match enter::hypercall(request, arguments) {
        0 => Ok(()),
        status => Err(Refusal { step, status }),
    }
}
