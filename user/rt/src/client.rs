//! Clients: calls to services of other programs.
//!
//! A call that fails because the server is gone is tried again with a new portal, for a while: a request may therefore
//! be served twice, by the server that died and by the one that came after it.
//! Invariants: a client keeps one selector per core for good, so a selector never names another service's portal.
//! Concurrency: any thread; each core has its own portal. Threads that find it stale at the same time may each ask for a
//! new one, of which one stays.

use core::fmt;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicU64, Ordering};

use abi::utcb::Header;
use abi::{Selector, Status, TypedItem};

use crate::arch::utcb::Utcb;
use crate::capability::{Portal, Slot};
use crate::message::{Decode, Encode, Reader, Text, Writer};
use crate::parent::{self, Reply, Request};
use crate::service::Service;
use crate::{item, thread, time};

/// How long a call waits for a server to come (back), in milliseconds.
const PATIENCE: u64 = 5_000;
/// Milliseconds between attempts.
const PAUSE: u64 = 5;
/// Cores with a portal of their own; the others share those.
const CORES: usize = 256;

/// Why a call has no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallError {
    /// The boot configuration does not let this program use the service.
    Refused,
    /// No server came in time.
    Absent,
    /// The request is too long, or the server did not understand it, or this program its answer.
    Garbled,
    /// What the kernel answered.
    Kernel(Status),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("the boot configuration does not allow the service"),
            Self::Absent => f.write_str("nobody serves it"),
            Self::Garbled => f.write_str("the message was not understood"),
            Self::Kernel(status) => f.write_str(status.words()),
        }
    }
}

/// A service that this program uses.
#[derive(Debug)]
pub struct Remote<S> {
    name: Text<32>,
    /// Selectors of the portals, by core; 0 before the first use.
    portals: [AtomicU64; CORES],
    /// Calls that had to be made again.
    retries: AtomicU64,
    service: PhantomData<fn() -> S>,
}

impl<S: Service> Default for Remote<S> {
    fn default() -> Self {
        Self::new(S::NAME)
    }
}

impl<S: Service> Remote<S> {
    /// The service of this name; connects when first called.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let portals = [const { AtomicU64::new(0) }; CORES];
        Self { name: Text::new(name), portals, retries: AtomicU64::new(0), service: PhantomData }
    }

    /// Calls that had to be made again because a server was gone.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Asks the service; waits for a server if there is none.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn call(&self, request: &S::Request) -> Result<S::Reply, CallError> {
        self.call_with(request, None)
    }

    /// The same, and hands a capability over.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn call_with(&self, request: &S::Request, item: Option<TypedItem>) -> Result<S::Reply, CallError> {
        let give_up = time::after(PATIENCE);
        let (portal, mut fresh) = self.portal()?;
        loop {
            let connected = if fresh { self.connect(&portal)? } else { true };
            if connected {
                match Self::once(&portal, request, item) {
                    Err(CallError::Kernel(Status::Timeout | Status::Aborted | Status::BadCapability)) => {
                        self.retries.fetch_add(1, Ordering::Relaxed);
                        fresh = true;
                    }
                    result => return result,
                }
            }
            if time::now() > give_up {
                return Err(CallError::Absent);
            }
            if !connected {
                time::sleep(PAUSE);
            }
        }
    }

    /// The portal of this core, and whether it has to be connected first.
    fn portal(&self) -> Result<(Portal, bool), CallError> {
        let cell = &self.portals[thread::core() as usize % CORES];
        let mut selector = cell.load(Ordering::Acquire);
        let fresh = selector == 0;
        if fresh {
            let slot = Slot::new().map_err(CallError::Kernel)?;
            let mine = slot.selector().number();
            selector = match cell.compare_exchange(0, mine, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    core::mem::forget(slot);
                    mine
                }
                Err(theirs) => theirs,
            };
        }
        Ok((Portal::from_slot(Slot::fixed(Selector::new(selector))), fresh))
    }

    /// Asks the root partition for the portal; whether there is one.
    fn connect(&self, portal: &Portal) -> Result<bool, CallError> {
        // What is stale is in the way.
        portal.slot().clear();
        let request = Request::Connect(self.name, thread::core());
        match parent::request_with(&request, None, item::window(portal.slot().selector())) {
            Reply::Done() => Ok(true),
            Reply::NotYet() | Reply::Exhausted() => Ok(false),
            _ => Err(CallError::Refused),
        }
    }

    fn once(portal: &Portal, request: &S::Request, item: Option<TypedItem>) -> Result<S::Reply, CallError> {
        let mut utcb = Utcb::current();
        let mut to = Writer::new(&mut utcb);
        request.encode(&mut to);
        let words = to.finish().ok_or(CallError::Garbled)?;
        if let Some(item) = item {
            utcb.set_item(0, item);
        }
        utcb.set_header(Header::new(words, item.is_some().into()));
        portal.call().map_err(CallError::Kernel)?;
        let words = utcb.header().words();
        S::Reply::decode(&mut Reader::new(&utcb, words)).ok_or(CallError::Garbled)
    }
}
