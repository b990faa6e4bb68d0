//! Other protection domains: their memory, ports, contexts and time.
//!
//! Invariants: a [`Domain`] is never the program's own, so nothing done to it touches this program's memory. Dropped, it
//! is destroyed; that its contexts are gone, and its capabilities taken back, is up to who made it ([`Domain::strip`]).
//! Concurrency: may be used by all threads.
//! Source: classic interface, "Hypercalls".

use abi::operation::{Noted, RevokeFlags};
use abi::qpd::Qpd;
use abi::rights::DomainRights;
use abi::{Crd, Mtd, Rights, Selector, Status, TypedItem};

use crate::arch::syscall;
use crate::capability::{Context, Scheduling, Semaphore, Slot, own_domain};
use crate::hypercall;

/// A protection domain.
#[derive(Debug)]
pub struct Domain(Slot);

impl Domain {
    /// A new one, which pays with `quota` pages of kernel memory from this domain.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn new(quota: u32) -> Result<Self, Status> {
        let slot = Slot::new()?;
        syscall::create_domain(slot.selector(), own_domain(), quota)?;
        Ok(Self(slot))
    }

    /// The one that lies in `slot`, which another program has given and can therefore not be this program's.
    #[must_use]
    pub const fn from_slot(slot: Slot) -> Self {
        Self(slot)
    }

    /// Where it lies.
    #[must_use]
    pub const fn slot(&self) -> &Slot {
        &self.0
    }

    /// The slot that it lies in, to be destroyed.
    #[must_use]
    pub fn into_slot(self) -> Slot {
        self.0
    }

    /// Delegates `items` of this program into it, where `window` allows. Success does not say that all of it arrived.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn give(&self, window: Crd, items: &[TypedItem]) -> Result<(), Status> {
        hypercall::delegate(own_domain(), window, self.0.selector(), items).ok()
    }

    /// Delegates the capability to this domain to the domain itself, at `at`, with these rights.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn give_itself(&self, at: Selector, rights: DomainRights) -> Result<(), Status> {
        let window = Crd::objects(at, 0, Rights::ALL).unwrap_or(Crd::NULL);
        self.give(window, &[self.0.delegated(rights)])
    }

    /// A thread in it: its core, the address of its UTCB, its stack pointer, and where its events start. It runs when it
    /// is given time; its first event says where.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn thread(&self, core: u32, utcb: u64, stack: u64, events: u64) -> Result<Context, Status> {
        let slot = Slot::new()?;
        // SAFETY: not the own domain.
        unsafe {
            syscall::create_context(slot.selector(), self.0.selector(), true, (core, utcb), (stack, events))?;
        }
        Ok(Context(slot))
    }

    /// A virtual CPU in it: its core, and where its events start. It runs when it is given time; its first event asks for
    /// its state.
    ///
    /// # Errors
    /// What the kernel answered: [`Status::BadFeature`] if the processor cannot.
    pub fn virtual_cpu(&self, core: u32, events: u64) -> Result<Context, Status> {
        self.thread(core, 0, 0, events)
    }

    /// Gives time to a thread made by [`Domain::thread`].
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn run(&self, thread: &Context, parameters: Qpd) -> Result<Scheduling, Status> {
        let slot = Slot::new()?;
        // SAFETY: a thread of a domain that is not the own one.
        unsafe {
            syscall::create_scheduling(slot.selector(), self.0.selector(), thread.slot().selector(), parameters)?
        };
        Ok(Scheduling(slot))
    }

    /// A portal of this program's to `entry` in `context`, which came from the other domain.
    ///
    /// # Errors
    /// What the kernel answered: [`Status::BadCapability`] if `context` holds nothing that serves.
    pub fn portal(&self, context: &Slot, entry: u64, identity: u64) -> Result<Slot, Status> {
        let slot = Slot::new()?;
        // SAFETY: contexts of this program are not delegated to others, so what came from another is another's.
        unsafe {
            let domain = self.0.selector();
            syscall::create_portal(slot.selector(), domain, context.selector(), (Mtd::empty(), entry), identity)?;
        }
        Ok(slot)
    }

    /// Takes everything in `range` from it, whatever kind it is of, and from all who have it through this domain.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn strip(&self, range: Crd) -> Result<(), Status> {
        let flags = RevokeFlags::SELF | RevokeFlags::REMOTE;
        // SAFETY: not the own domain, so no memory of this program.
        unsafe { syscall::revoke(range, flags, self.0.selector(), Selector::new(0)) }
    }

    /// As [`Self::strip`]; what processors had noted of memory that went: whether any of it was accessed, or written.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn strip_reporting(&self, range: Crd) -> Result<Noted, Status> {
        let flags = RevokeFlags::SELF | RevokeFlags::REMOTE;
        // SAFETY: as above.
        unsafe { syscall::revoke_reporting(range, flags, self.0.selector()) }
    }

    /// Takes the memory in `range` as [`Self::strip`] does, without waiting for other cores: `done` is upped when none uses it
    /// any more. Until then it must not be used for anything else.
    ///
    /// # Errors
    /// What the kernel answered: [`Status::BadParameter`] if it is no memory.
    pub fn strip_later(&self, range: Crd, done: &Semaphore) -> Result<(), Status> {
        let flags = RevokeFlags::SELF | RevokeFlags::REMOTE;
        // SAFETY: as above.
        unsafe { syscall::revoke_later(range, flags, self.0.selector(), done.slot().selector()) }
    }
}
