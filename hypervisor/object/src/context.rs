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
use abi::PhysAddr;
use sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

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
}

/// What a context is made of; it never changes.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// The domain it belongs to.
    pub domain: Ref<Domain>,
    /// The page through which it passes messages.
    pub message: PhysAddr,
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
        let continuation = if identity.global { Continuation::Run } else { Continuation::AwaitCall };
        Self { frame, identity, continuation: AtomicU32::new(continuation as u32), caller: AtomicU64::new(0) }
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
        match self.continuation.load(Relaxed) {
            0 => Continuation::Run,
            1 => Continuation::AwaitCall,
            2 => Continuation::AwaitReply,
            _ => Continuation::AwaitHandler,
        }
    }

    /// Sets what it does next.
    pub fn set_continuation(&self, continuation: Continuation) {
        self.continuation.store(continuation as u32, Relaxed);
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
}
