//! Contexts of the own domain: stacks, threads, and what serves portals.
//!
//! Invariants: a stack with its record and its UTCB ([`Place`]) belongs to one context; it is used again only after the
//! context is destroyed. The lowest page of a stack is not mapped, so an overflow faults.
//! Concurrency: places that are free are kept under a lock.
//! Source: classic interface, "create_ec".

use alloc::alloc::{Layout, alloc};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use abi::address::PAGE_SIZE;
use abi::operation::RevokeFlags;
use abi::rights::MemoryRights;
use abi::{Crd, Mtd, Selector, Status};

use crate::arch::start::serve_entry;
use crate::arch::syscall;
use crate::arch::utcb::{RECORD_SIZE, Record, STACK_SIZE, Utcb};
use crate::capability::{Context, Slot, own_domain};
use crate::server::Serve;
use crate::startup::{EVENTS, UTCBS};
use crate::sync::Mutex;

static FREE: Mutex<Vec<Place>> = Mutex::new(Vec::new());
static NEXT_UTCB: AtomicU64 = AtomicU64::new(UTCBS);

/// A stack and the address of a UTCB.
#[derive(Debug)]
pub(crate) struct Place {
    stack: usize,
    utcb: u64,
}

impl Place {
    /// One that is free.
    ///
    /// # Errors
    /// [`Status::QuotaExhausted`] if there is no memory.
    pub(crate) fn new() -> Result<Self, Status> {
        if let Some(place) = FREE.lock().pop() {
            return Ok(place);
        }
        let layout = Layout::from_size_align(STACK_SIZE, STACK_SIZE).map_err(|_| Status::QuotaExhausted)?;
        // SAFETY: the layout is not of size 0.
        let stack = unsafe { alloc(layout) };
        if stack.is_null() {
            return Err(Status::QuotaExhausted);
        }
        let guard = stack.expose_provenance() as u64 / PAGE_SIZE;
        let guard = Crd::memory(guard, 0, MemoryRights::all()).unwrap_or(Crd::NULL);
        // SAFETY: the page was just allocated, nothing lives in it, and it is never given back to the heap. If it cannot
        // be unmapped, there is no guard, which harms nobody who does not overflow his stack.
        let _ = unsafe { syscall::revoke(guard, RevokeFlags::SELF, Selector::new(0), Selector::new(0)) };
        Ok(Self { stack: stack.expose_provenance(), utcb: NEXT_UTCB.fetch_add(PAGE_SIZE, Ordering::Relaxed) })
    }

    /// Gives it back.
    ///
    /// # Safety
    /// The context that ran here is destroyed, or was never made.
    pub(crate) unsafe fn recycle(self) {
        FREE.lock().push(self);
    }

    /// Address of the UTCB.
    pub(crate) const fn utcb(&self) -> u64 {
        self.utcb
    }

    /// Address of the record, where the stack pointer starts.
    pub(crate) const fn record(&self) -> u64 {
        (self.stack + STACK_SIZE - RECORD_SIZE) as u64
    }

    /// Writes the record.
    fn prepare(&self, core: u32, argument: usize) {
        let record = core::ptr::with_exposed_provenance_mut::<Record>(self.record() as usize);
        // SAFETY: the top of a stack that this value owns, aligned by the sizes of stack and record.
        unsafe { record.write(Record { argument, utcb: self.utcb as usize, core, sleep: 0 }) };
    }
}

/// What a thread runs: gives the semaphore that tells its end.
pub(crate) type Body = Box<dyn FnOnce() -> Selector + Send>;

/// Prepares `place` for a thread on `core` that runs `body`.
pub(crate) fn prepare_thread(place: &Place, core: u32, body: Body) {
    place.prepare(core, Box::into_raw(Box::new(body)).expose_provenance());
}

/// Takes the body back out of a place whose thread was not started.
///
/// # Safety
/// After [`prepare_thread`], and no context runs there.
pub(crate) unsafe fn forget_thread(place: &Place) {
    // SAFETY: the record was written by `prepare_thread`, and nobody else has taken the body.
    drop(unsafe { body(place.record() as usize) });
}

/// # Safety
/// `record` was written by [`prepare_thread`], and the body is taken once.
unsafe fn body(record: usize) -> Box<Body> {
    let record = core::ptr::with_exposed_provenance::<Record>(record);
    // SAFETY: says the caller; the pointer came from `Box::into_raw`.
    unsafe { Box::from_raw(core::ptr::with_exposed_provenance_mut((*record).argument)) }
}

/// The first function of a thread.
pub(crate) extern "C" fn run_thread(record: usize) -> ! {
    // SAFETY: threads start at `rt_thread` with the record that `prepare_thread` wrote, once.
    let body = unsafe { body(record) };
    // All that the thread had is dropped when the semaphore goes up: it may be destroyed at any time from then on.
    let finished = body();
    let _ = syscall::control_semaphore(finished, 0, 0);
    loop {
        crate::time::sleep_for_ever();
    }
}

/// A context on `core` that serves what is bound to it with `server`; its first message may put capabilities into
/// `window`.
///
/// # Errors
/// What the kernel answered, or there is no memory.
pub(crate) fn create_server(core: u32, server: &'static dyn Serve, window: Crd) -> Result<(Context, Place), Status> {
    let (place, slot) = (Place::new()?, Slot::new()?);
    place.prepare(core, Box::into_raw(Box::new(server)).expose_provenance());
    let events = EVENTS * u64::from(core);
    // SAFETY: place and record are this context's alone until it is destroyed; what is bound to it enters at `rt_serve`.
    unsafe {
        syscall::create_context(slot.selector(), own_domain(), false, (core, place.utcb), (place.record(), events))?;
    }
    // SAFETY: the UTCB is mapped now, and the context does not run yet.
    unsafe { Utcb::of(place.utcb as usize) }.set_window(window);
    Ok((Context(slot), place))
}

/// A portal at `at` to a context made by [`create_server`].
///
/// # Errors
/// What the kernel answered.
pub(crate) fn portal_to(server: &Context, at: Selector, state: Mtd, identity: u64) -> Result<(), Status> {
    // SAFETY: such contexts have a stack with a record, which is what `rt_serve` needs.
    unsafe {
        let entry = (state, serve_entry());
        syscall::create_portal(at, own_domain(), server.slot().selector(), entry, identity)
    }
}

/// The function that takes calls.
pub(crate) extern "C" fn run_server(client: u64, record: usize) {
    let record = core::ptr::with_exposed_provenance::<Record>(record);
    // SAFETY: serving contexts have the record that `create_server` wrote, whose argument is such a pointer, never freed.
    let server = unsafe { *core::ptr::with_exposed_provenance::<&'static dyn Serve>((*record).argument) };
    server.serve(client, &mut Utcb::current());
}
