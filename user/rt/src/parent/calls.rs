//! The calls behind the requests.
//!
//! Invariants: made by programs only, not by a root program.
//! Concurrency: each thread calls the portal of its own core.

use abi::utcb::Header;
use abi::{Crd, Selector, TypedItem};
use spin::Once;

use super::{Reply, Request};
use crate::arch::utcb::{Utcb, current as record};
use crate::capability::{Portal, Slot};
use crate::message::{Decode, Encode, Reader, Text, Writer};
use crate::serial::COM1;
use crate::startup::{EVENTS, PARENT, Startup};
use crate::{ExitStatus, arch, console, heap, ports, time};

static STARTUP: Once<Startup> = Once::new();

/// Makes the program's surroundings out of what it was told.
pub(crate) fn adopt(startup: &Startup) {
    time::set_frequency(startup.tsc_khz);
    heap::adopt(startup);
    if startup.ports {
        let ports = ports::granted();
        if startup.console {
            console::open(ports, COM1);
        }
    }
    STARTUP.call_once(|| startup.clone());
}

/// What the program was told at its start; `None` in a root program.
#[must_use]
pub fn startup() -> Option<&'static Startup> {
    STARTUP.get()
}

/// The core of the calling thread.
pub(crate) fn current() -> u32 {
    record().core
}

/// Asks the root partition.
#[must_use]
pub fn request(request: &Request) -> Reply {
    request_with(request, None, Crd::NULL)
}

/// The same, with a capability to hand over, and a place for one to come.
#[must_use]
pub fn request_with(request: &Request, item: Option<TypedItem>, window: Crd) -> Reply {
    let mut utcb = Utcb::current();
    let mut to = Writer::new(&mut utcb);
    request.encode(&mut to);
    let Some(words) = to.finish() else { return Reply::Refused() };
    if let Some(item) = item {
        utcb.set_item(0, item);
    }
    utcb.set_header(Header::new(words, item.is_some().into()));
    utcb.set_window(window);
    let portal = Portal::from_slot(Slot::fixed(Selector::new(EVENTS * u64::from(current()) + PARENT)));
    let called = portal.call();
    utcb.set_window(Crd::NULL);
    let words = utcb.header().words();
    match called {
        Ok(()) => Reply::decode(&mut Reader::new(&utcb, words)).unwrap_or(Reply::Refused()),
        Err(_) => Reply::Refused(),
    }
}

/// Ends the program.
pub fn exit(status: ExitStatus) -> ! {
    let _ = request(&Request::Exit(status.number().into()));
    arch::cpu::undefined()
}

/// Says that the program has done its work; it goes on serving others.
pub fn done() {
    let _ = request(&Request::Done());
}

/// Prints a line by way of the root partition: slow, but there when nothing else is.
pub fn report(line: &str) {
    let _ = request(&Request::Report(Text::new(line)));
}

/// The name of the client with this identity; `None` if there is none.
#[must_use]
pub fn name_of(identity: u64) -> Option<Text<32>> {
    match request(&Request::NameOf(identity)) {
        Reply::Name(name) => Some(name),
        _ => None,
    }
}
