//! Agents: on each core of a program, a context that takes the program's events and requests to the manager.
//!
//! An agent runs on the time of the thread it serves. It writes down what came, wakes the manager, and waits for the
//! answer. A fault is never answered: the agent waits until it is destroyed together with the program.
//! Invariants: an agent belongs to one program for its life, so a program cannot hold up another.
//! Concurrency: between [`Agent::pending`] and the answer the exchange belongs to the manager, else to the agent.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use abi::event::{Exception, STARTUP};
use abi::rights::PortalRights;
use abi::utcb::Header;
use abi::{Crd, Mtd, Selector, Status, TypedItem};
use rt::arch::utcb::Utcb;
use rt::capability::{Semaphore, Slot};
use rt::domain::Domain;
use rt::event::{Event, Resume};
use rt::item;
use rt::message::{Decode, Encode, Reader, Words, Writer};
use rt::parent::{Reply, Request};
use rt::server::{Serve, Server};
use rt::startup::{EVENTS, PARENT};
use rt::sync::Mutex;

/// Words of a message that are looked at.
const WORDS: usize = 80;
const NOTHING: u64 = u64::MAX;

/// What an agent and the manager tell each other.
struct Exchange {
    words: [u64; WORDS],
    count: usize,
    item: Option<TypedItem>,
    window: Crd,
}

/// Where an agent and the manager meet.
pub struct Desk {
    manager: &'static Semaphore,
    answered: Semaphore,
    /// The event that waits for the manager, or [`NOTHING`].
    event: AtomicU64,
    exchange: Mutex<Exchange>,
}

impl Desk {
    fn new(manager: &'static Semaphore) -> Result<&'static Self, Status> {
        let exchange = Mutex::new(Exchange { words: [0; WORDS], count: 0, item: None, window: Crd::NULL });
        let answered = Semaphore::new(0)?;
        Ok(Box::leak(Box::new(Self { manager, answered, event: AtomicU64::new(NOTHING), exchange })))
    }
}

impl Serve for Desk {
    fn serve(&self, event: u64, utcb: &mut Utcb) {
        {
            let mut exchange = self.exchange.lock();
            exchange.count = utcb.header().words().min(WORDS);
            for index in 0..WORDS {
                let word = utcb.get(index).unwrap_or(0);
                Words::set(&mut exchange.words, index, word);
            }
        }
        self.event.store(event, Ordering::Release);
        // The manager's semaphore, and this one, last as long as the agent.
        let _ = self.manager.up();
        let _ = self.answered.down();
        let exchange = self.exchange.lock();
        for (index, word) in exchange.words.iter().enumerate() {
            utcb.set(index, *word);
        }
        if let Some(item) = exchange.item {
            utcb.set_item(0, item);
        }
        utcb.set_header(Header::new(exchange.count, exchange.item.is_some().into()));
        utcb.set_window(exchange.window);
    }
}

/// What came.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "made and taken apart at once")]
pub enum Incoming {
    /// A request.
    Request(Request),
    /// Words that are no request.
    Nonsense,
    /// A thread starts.
    Start(Event),
    /// A thread faulted.
    Fault(Event),
}

/// The manager's side of an agent.
pub struct Agent {
    /// The core that it is on.
    pub core: u32,
    desk: &'static Desk,
    server: Server,
    portals: Slot,
    /// Where a capability in the next request lands.
    incoming: Slot,
}

impl Agent {
    /// One for a program, on `core`, which wakes `manager`; its portals are in `domain` then.
    ///
    /// # Errors
    /// What the kernel answered, or there is no memory.
    pub fn new(
        manager: &'static Semaphore,
        desks: &mut Vec<&'static Desk>,
        domain: &Domain,
        core: u32,
    ) -> Result<Self, Status> {
        let incoming = Slot::new()?;
        let window = item::window(incoming.selector());
        let desk = match desks.pop() {
            Some(desk) => desk,
            None => Desk::new(manager)?,
        };
        desk.event.store(NOTHING, Ordering::Relaxed);
        let server = Server::new(core, desk, window)?;
        let portals = Slot::run(EVENTS.ilog2())?;
        let delivered = (0..EVENTS as u8).filter(|event| Exception::new(*event).is_some_and(Exception::is_delivered));
        for event in delivered.chain([STARTUP]) {
            server.portal(portals.nth(event.into()), Event::STATE, event.into())?;
        }
        server.portal(portals.nth(PARENT), Mtd::empty(), PARENT)?;
        let there = EVENTS * u64::from(core);
        let window = Crd::objects(Selector::new(there), EVENTS.ilog2(), abi::Rights::ALL).unwrap_or(Crd::NULL);
        domain.give(window, &[portals.delegated(PortalRights::CALL)])?;
        Ok(Self { core, desk, server, portals, incoming })
    }

    /// What waits for an answer, if anything.
    pub fn pending(&self) -> Option<Incoming> {
        let number = self.desk.event.swap(NOTHING, Ordering::Acquire);
        let number = u8::try_from(number).ok()?;
        let exchange = self.desk.exchange.try_lock()?;
        let words = &exchange.words;
        Some(match u64::from(number) {
            PARENT => match Request::decode(&mut Reader::new(words, exchange.count)) {
                Some(request) => Incoming::Request(request),
                None => Incoming::Nonsense,
            },
            event if event == u64::from(STARTUP) => Incoming::Start(Event::read(number, words)),
            _ => Incoming::Fault(Event::read(number, words)),
        })
    }

    /// The capability that came with the request; the next one lands elsewhere.
    ///
    /// # Errors
    /// There is no selector left.
    pub fn received(&mut self) -> Result<Slot, Status> {
        Ok(core::mem::replace(&mut self.incoming, Slot::new()?))
    }

    /// Answers a request, with a capability if there is one.
    pub fn reply(&self, reply: &Reply, item: Option<TypedItem>) {
        self.answer(item, |words| {
            let mut to = Writer::new(words);
            reply.encode(&mut to);
            to.finish().unwrap_or(0)
        });
    }

    /// Lets a thread start.
    pub fn resume(&self, place: Resume) {
        self.answer(None, |words| {
            place.write(words);
            WORDS
        });
    }

    fn answer(&self, item: Option<TypedItem>, write: impl FnOnce(&mut dyn Words) -> usize) {
        let Some(mut exchange) = self.desk.exchange.try_lock() else { return };
        exchange.words = [0; WORDS];
        exchange.count = write(&mut exchange.words);
        exchange.item = item;
        exchange.window = item::window(self.incoming.selector());
        drop(exchange);
        let _ = self.desk.answered.up();
    }

    /// Takes everything back that it consists of; gives its desk once it is certain that it has left that, which may take
    /// `milliseconds`.
    pub fn dismiss(self, milliseconds: u64) -> Option<&'static Desk> {
        self.portals.clear();
        let gone = self.server.destroy(milliseconds);
        // An agent that was ended between the lock and its release leaves the lock taken: such a desk is of no use.
        let usable = gone && self.desk.exchange.try_lock().is_some();
        // Nor must an answer wait that it did not take.
        let _ = self.desk.answered.drain_until(1);
        usable.then_some(self.desk)
    }
}
