//! Execution contexts: threads, and later virtual CPUs.
//!
//! Purpose: a context's registers, whose it is, and what it waits for.
//! Invariants: the frame's segments are those of ring 3 and its instruction pointer is at most the end of the user
//! range, so that leaving the kernel through it cannot fault in ring 0; a context serves one caller at a time, and
//! `caller` is set exactly while it does.
//! Concurrency: a context belongs to one core; its frame and its state change there only.
//! Source: interface §4, §5 and §7; `docs/src/decisions/0007-register-frame.md`.
use crate::domain::Domain;
use crate::frame::{Frame, SYSCALL};
use crate::reference::{Object, Ref, kind};
use sync::Count;
use sync::atomic::Ordering::{Acquire, Relaxed, Release};
use sync::atomic::{AtomicU32, AtomicU64};
use timeouts::TimeoutLinks;

/// What a context does next, instead of a stack of its own in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Continuation {
    /// Goes on in ring 3 with its frame.
    Run = 0,
    /// Waits for a call through one of its portals.
    AwaitCall = 1,
    /// Has called, waits for the reply.
    AwaitReply = 2,
    /// Has faulted, waits for the handler's reply.
    AwaitHandler = 3,
    /// Waits for a semaphore.
    AwaitSemaphore = 4,
    /// Has not run yet: its first step is the startup event.
    Start = 5,
    /// Is over.
    Dead = 6,
}

/// A message page as the kernel sees it.
pub type Page = [AtomicU64; 512];

/// What a context is made of; it never changes.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// The domain it belongs to.
    pub domain: Ref<Domain>,
    /// The page through which it passes messages. Its owner writes it at any time.
    pub message: &'static Page,
    /// Where its domain sees that page if the kernel has mapped it there, 0 otherwise.
    pub message_at: u64,
    /// The core it runs on.
    pub core: u32,
    /// First selector of its event portals.
    pub event_base: u64,
    /// Whether it runs on its own, with a scheduling context; otherwise it serves calls.
    pub global: bool,
}

/// An execution context.
#[derive(Debug)]
#[repr(C)]
pub struct Context {
    frame: Frame,
    identity: Identity,
    continuation: AtomicU32,
    caller: AtomicU64,
    partner: AtomicU64,
    scheduling: AtomicU64,
    semaphore: AtomicU64,
    next: AtomicU64,
    fault: AtomicU64,
    /// Its place among the core's deadlines.
    pub timeout: TimeoutLinks,
    /// Capabilities, together one, and portals and scheduling contexts.
    pub count: Count,
}

// SAFETY: the numbers of object types stand in `reference::kind`, each once.
unsafe impl Object for Context {
    const KIND: u32 = kind::CONTEXT;
}

impl Context {
    /// A context with this stack pointer. A local one waits for a call.
    #[must_use]
    pub fn new(identity: Identity, stack: u64) -> Self {
        let frame = Frame::user(0, stack);
        frame.vector.set(SYSCALL);
        let continuation = if identity.global { Continuation::Start } else { Continuation::AwaitCall };
        Self {
            frame,
            identity,
            continuation: AtomicU32::new(continuation as u32),
            caller: AtomicU64::new(0),
            partner: AtomicU64::new(0),
            scheduling: AtomicU64::new(0),
            semaphore: AtomicU64::new(0),
            next: AtomicU64::new(0),
            fault: AtomicU64::new(0),
            timeout: TimeoutLinks::default(),
            count: Count::new(),
        }
    }

    /// Its registers.
    #[must_use]
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// What it is made of.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What it does next.
    #[must_use]
    pub fn continuation(&self) -> Continuation {
        match self.continuation.load(Acquire) {
            0 => Continuation::Run,
            1 => Continuation::AwaitCall,
            2 => Continuation::AwaitReply,
            3 => Continuation::AwaitHandler,
            4 => Continuation::AwaitSemaphore,
            5 => Continuation::Start,
            _ => Continuation::Dead,
        }
    }

    /// Sets what it does next.
    pub fn set_continuation(&self, continuation: Continuation) {
        self.continuation.store(continuation as u32, Release);
    }

    /// Word of the reference to the context that it serves, 0 for none.
    #[must_use]
    pub fn caller(&self) -> u64 {
        self.caller.load(Relaxed)
    }

    /// Sets whom it serves, or with 0 nobody.
    pub fn set_caller(&self, caller: u64) {
        self.caller.store(caller, Relaxed);
    }

    /// Word of the reference to the context that serves it, 0 for none.
    #[must_use]
    pub fn partner(&self) -> u64 {
        self.partner.load(Relaxed)
    }

    /// Sets who serves it.
    pub fn set_partner(&self, partner: u64) {
        self.partner.store(partner, Relaxed);
    }

    /// Word of the reference to the scheduling context that waits with it, 0 for none.
    #[must_use]
    pub fn scheduling(&self) -> u64 {
        self.scheduling.load(Relaxed)
    }

    /// Sets which scheduling context waits with it.
    pub fn set_scheduling(&self, scheduling: u64) {
        self.scheduling.store(scheduling, Relaxed);
    }

    /// Word of the reference to the semaphore that it waits for.
    #[must_use]
    pub fn semaphore(&self) -> u64 {
        self.semaphore.load(Relaxed)
    }

    /// Sets which semaphore it waits for.
    pub fn set_semaphore(&self, semaphore: u64) {
        self.semaphore.store(semaphore, Relaxed);
    }

    /// Address of the fault that its handler is to resolve.
    #[must_use]
    pub fn fault(&self) -> u64 {
        self.fault.load(Relaxed)
    }

    /// Sets it.
    pub fn set_fault(&self, address: u64) {
        self.fault.store(address, Relaxed);
    }

    /// The next context in the queue of the semaphore, under whose lock this is.
    pub(crate) fn next(&self) -> Option<Ref<Self>> {
        let word = self.next.load(Relaxed);
        core::num::NonZeroU32::new(word as u32).map(Ref::new)
    }

    /// Sets the next context in the queue.
    pub(crate) fn set_next(&self, next: Option<Ref<Self>>) {
        self.next.store(next.map_or(0, Ref::to_word), Relaxed);
    }
}
