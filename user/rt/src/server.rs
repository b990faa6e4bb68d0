//! Services: what programs offer each other.
//!
//! A [`Service`] names the messages; a [`Handler`] answers them. [`serve`] makes a serving context on each core, so that
//! calls never leave the caller's core. The root partition makes one portal per client and core; its identity tells
//! the handler who calls, and nobody can forge it: a session is what a handler keeps under that number.
//! Invariants: words that are no request are answered with no words at all, which the client sees as an error.
//! Concurrency: a handler is called on several cores at once, on each core by one client at a time. It runs on the
//! client's time; if the client dies, it stands still until the next call, so it must not hold a lock for long.

use alloc::boxed::Box;

use abi::rights::ContextRights;
use abi::utcb::Header;
use abi::{Crd, Mtd, Selector, Status};

use crate::arch::contexts::{Place, create_server, portal_to};
use crate::arch::start::serve_entry;
use crate::arch::utcb::Utcb;
use crate::capability::{Context, Slot};
use crate::item;
use crate::message::{Decode, Encode, Reader, Text, Writer};
use crate::parent::{self, Reply, Request};
use crate::service::Service;
use crate::startup::Startup;
use crate::sync::Mutex;

/// Who calls: the identity that the root partition gave the client for the time of its life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Client(pub u64);

impl Client {
    /// The program's name; asks the root partition. `None` if the client is gone.
    #[must_use]
    pub fn name(self) -> Option<Text<32>> {
        parent::name_of(self.0)
    }
}

/// Who answers.
pub trait Handler: Sync {
    /// What is answered.
    type Service: Service;

    /// Answers one request.
    fn handle(&self, client: Client, request: <Self::Service as Service>::Request)
    -> <Self::Service as Service>::Reply;

    /// Takes the capability that came with a request, before that is answered. Unless the handler keeps it, it is dropped.
    fn receive(&self, client: Client, capability: Slot) {
        let _ = (client, capability);
    }
}

/// A handler behind the words of a UTCB: for calls that are no requests of a [`Service`], and for events.
pub trait Serve: Sync {
    /// Answers the message in `utcb`, header and all; `identity` is that of the portal.
    fn serve(&self, identity: u64, utcb: &mut Utcb);
}

/// A context of this program that serves portals.
#[derive(Debug)]
pub struct Server {
    context: Context,
    place: Place,
}

impl Server {
    /// One on `core` that serves with `handler`; the first message may put capabilities into `window`. When it is dropped
    /// its stack stays; [`Server::destroy`] gets it back.
    ///
    /// # Errors
    /// What the kernel answered, or there is no memory.
    pub fn new(core: u32, handler: &'static dyn Serve, window: Crd) -> Result<Self, Status> {
        let (context, place) = create_server(core, handler, window)?;
        Ok(Self { context, place })
    }

    /// Makes a portal to it, at `at`, that a call through carries `identity`, and an event the registers of `state`.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn portal(&self, at: Selector, state: Mtd, identity: u64) -> Result<(), Status> {
        portal_to(&self.context, at, state, identity)
    }

    /// The capability to the context.
    #[must_use]
    pub const fn slot(&self) -> &Slot {
        self.context.slot()
    }

    /// Destroys the context, and waits until nobody can see it any more, at most `milliseconds`. Whether that is so:
    /// then the handler is not called again.
    #[must_use]
    pub fn destroy(self, milliseconds: u64) -> bool {
        let gone = self.context.into_slot().destroy(milliseconds);
        if gone {
            // SAFETY: the context is destroyed.
            unsafe { self.place.recycle() };
        }
        gone
    }
}

/// A handler on one core, and where a capability lands there.
struct Adapter<H: 'static> {
    handler: &'static H,
    incoming: Mutex<Slot>,
}

impl<H: Handler> Adapter<H> {
    /// Takes the capability that has arrived; the next one lands elsewhere.
    fn arrived(&self, utcb: &mut Utcb) -> Option<Slot> {
        if utcb.item(0).range.is_null() {
            return None;
        }
        // Nobody else is here: a context serves one client at a time.
        let mut incoming = self.incoming.try_lock()?;
        let next = Slot::new().ok()?;
        utcb.set_window(item::window(next.selector()));
        Some(core::mem::replace(&mut incoming, next))
    }
}

impl<H: Handler> Serve for Adapter<H> {
    fn serve(&self, client: u64, utcb: &mut Utcb) {
        if let Some(capability) = self.arrived(utcb) {
            self.handler.receive(Client(client), capability);
        }
        let words = utcb.header().words();
        let request = Decode::decode(&mut Reader::new(utcb, words));
        let words = match request {
            Some(request) => {
                let reply = self.handler.handle(Client(client), request);
                let mut to = Writer::new(utcb);
                reply.encode(&mut to);
                to.finish().unwrap_or(0)
            }
            None => 0,
        };
        utcb.set_header(Header::new(words, 0));
    }
}

/// Offers `handler` as the service `name` on every core of the program.
///
/// # Errors
/// [`Status::BadCapability`] if the boot configuration does not say that this program provides it; else what the kernel
/// answered.
pub fn serve<H: Handler>(startup: &Startup, name: &str, handler: &'static H) -> Result<(), Status> {
    for core in startup.cores.iter() {
        let incoming = Slot::new()?;
        let window = item::window(incoming.selector());
        let adapter = Box::leak(Box::new(Adapter { handler, incoming: Mutex::new(incoming) }));
        let context = Server::new(core, adapter, window)?;
        let item = context.slot().delegated(ContextRights::BIND_PORTAL);
        let request = Request::Register(Text::new(name), core, serve_entry());
        match parent::request_with(&request, Some(item), Crd::NULL) {
            Reply::Done() => core::mem::forget(context), // It serves as long as the program lives.
            Reply::Exhausted() => return Err(Status::QuotaExhausted),
            _ => return Err(Status::BadCapability),
        }
    }
    Ok(())
}
