//! Threads of a root program, which has nobody above it to give them time.
//!
//! Invariants: each thread has events of its own, and a context that serves nothing but its start.
//! Concurrency: any thread.
//! Source: classic interface, "Events" (startup).

use alloc::boxed::Box;

use abi::event::STARTUP;
use abi::qpd::Qpd;
use abi::utcb::Header;
use abi::{Crd, Selector, Status};

use crate::arch::contexts::{Body, Place, prepare_thread};
use crate::arch::start::thread_entry;
use crate::arch::syscall;
use crate::arch::utcb::Utcb;
use crate::capability::{Slot, own_domain};
use crate::event::{Event, Resume};
use crate::server::{Serve, Server};

struct Starter;

impl Serve for Starter {
    fn serve(&self, record: u64, utcb: &mut Utcb) {
        Resume { rip: thread_entry(), rsp: record, rdi: 0 }.write(utcb);
        utcb.set_header(Header::STATE);
    }
}

/// Starts a thread on `core` that runs `body` and never ends. What it consists of stays for good.
///
/// # Errors
/// What the kernel answered, or there is no memory.
pub(crate) fn spawn(core: u32, parameters: Qpd, body: impl FnOnce() + Send + 'static) -> Result<(), Status> {
    let (place, events) = (Place::new()?, Slot::run(5)?);
    let body: Body = Box::new(move || {
        body();
        Selector::new(0)
    });
    prepare_thread(&place, core, body);
    let starter = Server::new(core, &Starter, Crd::NULL)?;
    starter.portal(events.nth(STARTUP.into()), Event::STATE, place.record())?;
    let (context, scheduling) = (Slot::new()?, Slot::new()?);
    // SAFETY: the place is this thread's alone, and its record is written; the startup portal makes the thread run at
    // `rt_thread` with that record.
    unsafe {
        let (at, events) = (context.selector(), events.selector().number());
        syscall::create_context(at, own_domain(), true, (core, place.utcb()), (place.record(), events))?;
        syscall::create_scheduling(scheduling.selector(), own_domain(), at, parameters)?;
    }
    for slot in [events, context, scheduling] {
        core::mem::forget(slot);
    }
    core::mem::forget(starter);
    Ok(())
}
