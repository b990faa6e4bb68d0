//! Threads of a program, on the cores that the boot configuration allows.
//!
//! The root partition makes the context and gives it time; stack and UTCB come from the program.
//! Invariants: a thread's stack is used again only after the root partition has destroyed the thread.
//! Concurrency: [`spawn`] and [`Thread::join`] may be used by any thread.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::mem::ManuallyDrop;

use abi::Status;
use abi::qpd::Qpd;

use crate::arch::contexts::{Place, forget_thread, prepare_thread};
use crate::arch::start::thread_entry;
use crate::arch::starter;
use crate::capability::{Semaphore, Slot};
use crate::parent::{self, Reply, Request};
use crate::sync::Mutex;
use crate::{item, time};

/// A thread that can be waited for. Dropped, it runs on, and its stack is never used again.
#[derive(Debug)]
pub struct Thread<T> {
    number: u64,
    place: Place,
    context: Slot,
    /// Upped by the thread at its very end; if nobody waits for that, it stays.
    finished: ManuallyDrop<Semaphore>,
    result: Arc<Mutex<Option<T>>>,
}

/// Starts a thread on `core` that runs `body`.
///
/// # Errors
/// [`Status::BadCpu`] if the program may not run there, [`Status::QuotaExhausted`] if there is no memory.
pub fn spawn<T: Send + 'static>(core: u32, body: impl FnOnce() -> T + Send + 'static) -> Result<Thread<T>, Status> {
    let (place, context) = (Place::new()?, Slot::new()?);
    let finished = ManuallyDrop::new(Semaphore::new(0)?);
    let result = Arc::new(Mutex::new(None));
    let (theirs, signal) = (result.clone(), finished.slot().selector());
    let run = move || {
        let value = body();
        *theirs.lock() = Some(value);
        signal
    };
    prepare_thread(&place, core, Box::new(run));
    let request = Request::Spawn(core, place.utcb(), place.record(), thread_entry());
    match parent::request_with(&request, None, item::window(context.selector())) {
        Reply::Number(number) => Ok(Thread { number, place, context, finished, result }),
        reply => {
            drop(ManuallyDrop::into_inner(finished));
            // SAFETY: the root partition refused, so no context was made.
            unsafe {
                forget_thread(&place);
                place.recycle();
            }
            Err(if reply == Reply::Refused() { Status::BadCpu } else { Status::QuotaExhausted })
        }
    }
}

impl<T> Thread<T> {
    /// The capability to the thread's execution context.
    #[must_use]
    pub const fn context(&self) -> &Slot {
        &self.context
    }

    /// Waits for the end of the thread; gives what its body returned.
    #[must_use]
    pub fn join(self) -> Option<T> {
        self.finished.down().ok()?;
        if parent::request(&Request::End(self.number)) == Reply::Done() {
            // SAFETY: the root partition has destroyed the context.
            unsafe { self.place.recycle() };
        }
        drop(ManuallyDrop::into_inner(self.finished));
        self.result.lock().take()
    }
}

/// The core of the calling thread.
#[must_use]
pub fn core() -> u32 {
    parent::current()
}

/// Waits for nothing: what the first thread of a program does whose other contexts go on serving.
pub fn park() -> ! {
    loop {
        time::sleep_for_ever();
    }
}

/// Starts a thread of a root program on `core`, with this priority and quantum; it never ends.
///
/// # Errors
/// What the kernel answered.
pub fn spawn_in_root(core: u32, parameters: Qpd, body: impl FnOnce() + Send + 'static) -> Result<(), Status> {
    starter::spawn(core, parameters, body)
}
