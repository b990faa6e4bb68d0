//! Threads on any core and in any domain, servers, and domains: everything does what it is told.
//!
//! Selectors come in blocks of 64, of which a thread uses one: its events, from 32 on a semaphore for what it is told and
//! one for its answer, its execution context, the place of its out-of-memory portal, its scheduling context. A block has
//! the same numbers in every domain. Ending a world revokes its blocks, so that the next one finds everything empty;
//! stacks and mailboxes are used again only once the kernel's memory is back, because what dies may still run for a moment.
use core::sync::atomic::Ordering::SeqCst;

use abi::Hypercall;
use abi::event::{RECALL, STARTUP};
use abi::qpd::Qpd;
use abi::rights::MemoryRights;
use rt::println;

use crate::agent::{
    AGENTS, ANSWER, MAIL, Mailbox, REQUEST, USED, keeper_entry, registers_of, server_entry, stack_top, store,
};
use crate::sys::{
    ROOT, Registers, delegate, domain_usage, down, give, hypercall, memory, objects, revoke, time_stamp, up,
};

pub use crate::agent::{NO_ANSWER, ask};

const BLOCK_BITS: u32 = 6;
const BLOCK: u64 = 1 << BLOCK_BITS;
const FIRST: u64 = 0x1000;
const PAGES: u64 = 0x4000_0000;
const CORES: usize = 4;
/// Events that a keeper handles: what a thread may run into.
const EVENTS: [u8; 5] = [6, 13, 14, STARTUP, RECALL];

/// How long a thread is waited for, in ticks of the TSC.
pub const PATIENCE: u64 = 60_000_000_000;

/// Within a block.
const CONTEXT: u64 = 34;
const SCHEDULING: u64 = 36;

/// A thread with a scheduling context.
#[derive(Clone, Copy, Debug)]
pub struct Thread {
    index: usize,
    block: u64,
}

impl Thread {
    /// Its execution context.
    #[must_use]
    pub const fn context(self) -> u64 {
        self.block + CONTEXT
    }

    /// Its scheduling context.
    #[must_use]
    pub const fn scheduling(self) -> u64 {
        self.block + SCHEDULING
    }

    /// Its event base.
    #[must_use]
    pub const fn events(self) -> u64 {
        self.block
    }

    /// Its message page.
    #[must_use]
    pub fn page(self) -> u64 {
        MAIL[self.index].page.load(SeqCst)
    }

    /// How many events it had, and the last one.
    #[must_use]
    pub fn had(self) -> (u64, u64) {
        (MAIL[self.index].events.load(SeqCst), MAIL[self.index].event.load(SeqCst))
    }

    /// Tells it to make a hypercall.
    pub fn start(self, registers: Registers) {
        store(&MAIL[self.index], registers);
        up(self.block + REQUEST);
    }

    /// What it will do when its semaphore for requests is upped, and how often.
    pub fn prepare(self, registers: Registers, times: u64) {
        store(&MAIL[self.index], registers);
        MAIL[self.index].repeat.store(times, SeqCst);
    }

    /// The semaphore that makes it begin.
    #[must_use]
    pub const fn request(self) -> u64 {
        self.block + REQUEST
    }

    /// How many hypercalls it has made.
    #[must_use]
    pub fn count(self) -> u64 {
        MAIL[self.index].count.load(SeqCst)
    }

    /// At the end of what it does it is to note how many hypercalls `other` has made.
    pub fn watch(self, other: Self) {
        MAIL[self.index].watches.store(other.index as u64, SeqCst);
    }

    /// What it noted.
    #[must_use]
    pub fn watched(self) -> u64 {
        MAIL[self.index].watched.load(SeqCst)
    }

    /// Waits for it to be back, at most until `deadline`.
    #[must_use]
    pub fn wait(self, deadline: u64) -> Option<Registers> {
        (down(self.block + ANSWER, deadline).status() == 0).then(|| registers_of(&MAIL[self.index]))
    }

    /// Tells it to make a hypercall and waits for the end; [`NO_ANSWER`] as the status if that does not come.
    #[must_use]
    pub fn does(self, registers: Registers) -> Registers {
        let lost = Registers { rdi: NO_ANSWER, ..Registers::default() };
        let mail = &MAIL[self.index];
        if mail.lost.load(SeqCst) != 0 {
            return lost;
        }
        self.start(registers);
        self.wait(time_stamp() + PATIENCE).unwrap_or_else(|| {
            mail.lost.store(1, SeqCst);
            println!("effect FAIL a thread does not answer; it had {:?} events", self.had());
            lost
        })
    }

    /// Whether it is in a hypercall.
    #[must_use]
    pub fn is_busy(self) -> bool {
        MAIL[self.index].busy.load(SeqCst) != 0
    }
}

/// A context that is called.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    index: usize,
    /// Its execution context.
    pub context: u64,
    /// Its portal.
    pub portal: u64,
    /// Its message page, in its domain.
    pub page: u64,
}

impl Server {
    /// From now on it answers every call by nothing, and the first one after making this hypercall.
    pub fn remember(self, registers: Registers) {
        let mail = &MAIL[self.index];
        let Registers { rdi, rsi, rdx, rax, r8 } = registers;
        for (slot, value) in mail.order[1..].iter().zip([rdi, rsi, rdx, rax, r8]) {
            slot.store(value, SeqCst);
        }
        store(mail, Registers { rdi: NO_ANSWER, ..Registers::default() });
        mail.order[0].store(2, SeqCst);
    }

    /// What the hypercall answered.
    #[must_use]
    pub fn remembered(self) -> Registers {
        registers_of(&MAIL[self.index])
    }

    /// The first item of the last message as it arrived; stale if there was none.
    #[must_use]
    pub fn received(self) -> [u64; 2] {
        MAIL[self.index].item.each_ref().map(|word| word.load(SeqCst))
    }

    /// How many calls reached it.
    #[must_use]
    pub fn served(self) -> u64 {
        MAIL[self.index].served.load(SeqCst)
    }
}

/// Everything that a group of checks made.
#[derive(Debug)]
pub struct World {
    next: u64,
    pages: u64,
    /// Execution context and message page of the keeper of each core.
    keepers: [Option<(u64, u64)>; CORES],
}

impl World {
    /// Nothing yet.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "there is one at a time")]
    pub const fn new() -> Self {
        Self { next: FIRST, pages: 0, keepers: [None; CORES] }
    }

    /// A block of 64 empty selectors, aligned to its size.
    pub const fn block(&mut self) -> u64 {
        let block = self.next;
        self.next += BLOCK;
        block
    }

    /// An address for a message page.
    pub const fn page(&mut self) -> u64 {
        let page = PAGES + self.pages * 4096;
        self.pages += 1;
        page
    }

    fn must(what: &str, found: Registers) {
        if found.status() != 0 {
            println!("effect FAIL cannot prepare: {what}: status {}", found.status());
        }
    }

    fn mail() -> (usize, &'static Mailbox) {
        let index = USED.fetch_add(1, SeqCst);
        if index >= AGENTS {
            println!("effect FAIL cannot prepare: no stack is left");
        }
        let index = index.min(AGENTS - 1);
        let mail = &MAIL[index];
        for word in [&mail.busy, &mail.events, &mail.served, &mail.lost, &mail.order[0], &mail.repeat, &mail.count] {
            word.store(0, SeqCst);
        }
        (index, mail)
    }

    /// Lets stacks and mailboxes be used again: nothing of earlier worlds runs any more.
    pub fn forget() {
        USED.store(0, SeqCst);
    }

    fn keeper(&mut self, core: usize) -> (u64, u64) {
        if let Some(keeper) = self.keepers[core] {
            return keeper;
        }
        let (context, page) = (self.block(), self.page());
        let (index, _) = Self::mail();
        let create = [ROOT, page | core as u64, stack_top(index), 0];
        Self::must("keeper", hypercall(Hypercall::CreateContext, 0, context, create));
        self.keepers[core] = Some((context, page));
        (context, page)
    }

    /// A thread of `domain` at `core`, with a priority; it waits to be told.
    pub fn thread(&mut self, domain: u64, core: usize, priority: u8) -> Thread {
        let thread = self.prepared(domain, core);
        let word = Qpd::new(priority, 10_000).map_or(0, Qpd::word);
        let create = [ROOT, thread.context(), word, 0];
        Self::must("scheduling", hypercall(Hypercall::CreateScheduling, 0, thread.scheduling(), create));
        thread
    }

    /// A thread without a scheduling context.
    pub fn prepared(&mut self, domain: u64, core: usize) -> Thread {
        let (keeper, keeper_page) = self.keeper(core);
        let (block, page) = (self.block(), self.page());
        let (index, mail) = Self::mail();
        mail.page.store(page, SeqCst);
        mail.block.store(block, SeqCst);
        mail.keeper.store(keeper_page, SeqCst);
        for event in EVENTS.map(u64::from) {
            let portal = self::portal(block + event, keeper, keeper_entry(), index as u64 | event << 8);
            Self::must("portal of an event", portal);
        }
        for at in [REQUEST, ANSWER] {
            Self::must("semaphore", hypercall(Hypercall::CreateSemaphore, 0, block + at, [ROOT, 0, 0, 0]));
        }
        if domain != ROOT {
            let all = objects(block, BLOCK_BITS, 0x1F);
            Self::must("events in the other domain", delegate(ROOT, &[give(all, 0)], all, domain));
        }
        let create = [domain, page | core as u64, 0, block];
        Self::must("thread", hypercall(Hypercall::CreateContext, 1, block + CONTEXT, create));
        Thread { index, block }
    }

    /// A server of `domain` at `core`, without events: a fault ends it.
    pub fn server(&mut self, domain: u64, core: usize) -> Server {
        let (block, page) = (self.block(), self.page());
        let (index, mail) = Self::mail();
        mail.page.store(page, SeqCst);
        let create = [domain, page | core as u64, stack_top(index), block];
        Self::must("server", hypercall(Hypercall::CreateContext, 0, block + CONTEXT, create));
        let server = Server { index, context: block + CONTEXT, portal: block + REQUEST, page };
        Self::must("its portal", self.door(server, server.portal));
        server
    }

    /// A further portal to a server, at a selector.
    pub fn door(&self, server: Server, at: u64) -> Registers {
        portal(at, server.context, server_entry(), server.index as u64)
    }

    /// Lets a server of the same core handle an event of a thread of the root domain.
    pub fn replace_event(&self, thread: Thread, event: u8, server: Server) {
        let at = thread.events() + u64::from(event);
        revoke(1, objects(at, 0, 0x1F), 0);
        Self::must("portal of an event", self.door(server, at));
    }

    /// A domain with this program in it, with `pages` of quota, and its selector.
    pub fn domain(&mut self, pages: u64) -> u64 {
        self.bounded_domain(2, pages)
    }

    /// The same with both limits: the domain never passes `lower` of its `upper` pages on.
    pub fn bounded_domain(&mut self, lower: u64, upper: u64) -> u64 {
        let domain = self.block();
        let create = [ROOT, 0, upper << 32 | lower, 0];
        Self::must("domain", hypercall(Hypercall::CreateDomain, 0, domain, create));
        let (all, anywhere) = (memory(0x100, 8, MemoryRights::all()), memory(0, 31, MemoryRights::all()));
        Self::must("program", delegate(ROOT, &[give(all, 0x100)], anywhere, domain));
        domain
    }

    /// A semaphore with a count, and its selector.
    pub fn semaphore(&mut self, count: u64) -> u64 {
        let at = self.block();
        Self::must("semaphore", hypercall(Hypercall::CreateSemaphore, 0, at, [ROOT, count, 0, 0]));
        at
    }

    /// Hands the capability at `at` to another domain, with rights, at a selector there.
    pub fn hand(&self, at: u64, rights: u8, domain: u64, there: u64) {
        Self::must("hand over", delegate(ROOT, &[give(objects(at, 0, rights), 0)], objects(there, 0, 0x1F), domain));
    }

    /// Ends everything: later blocks first, so that threads go before what they wait for.
    pub fn end(self) {
        let mut block = self.next;
        while block > FIRST {
            block -= BLOCK;
            revoke(1, objects(block, BLOCK_BITS, 0x1F), 0);
        }
    }
}

/// A portal of the root domain to `context`.
#[must_use]
pub fn portal(at: u64, context: u64, entry: u64, identity: u64) -> Registers {
    let created = hypercall(Hypercall::CreatePortal, 0, at, [ROOT, context, 0, entry]);
    if created.status() != 0 {
        return created;
    }
    hypercall(Hypercall::ControlPortal, 0, at, [identity, 0, 0, 0])
}

/// Takes pages from a domain until it has `left` free ones. Its lower limit must be 0.
pub fn drain(domain: u64, left: u64) {
    if let Some((limit, usage)) = domain_usage(domain) {
        let spare = limit.saturating_sub(usage).saturating_sub(left);
        World::must("drain", hypercall(Hypercall::ControlDomain, 0, domain, [ROOT, spare, 0, 0]));
    }
}
