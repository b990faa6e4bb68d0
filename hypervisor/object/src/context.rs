//! Execution contexts: threads, and later virtual CPUs.
//!
//! Purpose: a context's registers and whose it is.
//! Invariants: the frame's segments are those of ring 3 and its instruction pointer is in the user range, so that
//! leaving the kernel through it cannot fault in ring 0; domain and message page never change.
//! Concurrency: runs on one core; its frame is used there only.
//! Source: interface §4 and §7; `docs/src/decisions/0007-register-frame.md`.
use crate::domain::Domain;
use crate::frame::Frame;
use crate::reference::{Object, Ref};
use abi::{PhysAddr, VirtAddr};

/// An execution context.
#[derive(Debug)]
#[repr(C)]
pub struct Context {
    frame: Frame,
    domain: Ref<Domain>,
    message: PhysAddr,
}

// SAFETY: the numbers of object types stand in `reference::kind`, each once.
unsafe impl Object for Context {
    const KIND: u32 = crate::reference::kind::CONTEXT;
}

impl Context {
    /// A context of `domain` that starts at `entry` in ring 3 with this stack pointer and first argument; `message` is
    /// its message page. `None` if `entry` is not in the user range.
    #[must_use]
    pub fn new(domain: Ref<Domain>, message: PhysAddr, entry: VirtAddr, stack: u64, argument: u64) -> Option<Self> {
        let frame = Frame::user(entry.get(), stack);
        frame.rdi.set(argument);
        entry.is_user().then_some(Self { frame, domain, message })
    }

    /// Its registers.
    #[must_use]
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// The domain it belongs to.
    #[must_use]
    pub fn domain(&self) -> Ref<Domain> {
        self.domain
    }

    /// The page through which it passes messages.
    #[must_use]
    pub fn message(&self) -> PhysAddr {
        self.message
    }
}
