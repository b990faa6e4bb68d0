//! Capabilities as values.
//!
//! A [`Slot`] owns a selector: dropped, it takes back what lies there and everything derived from it, and the selector is
//! free again. Typed capabilities are made of slots. What the runtime does not own (what a program finds at fixed
//! selectors) is [`Slot::fixed`] and left alone.
//! Invariants: a selector that a slot owns is named by that slot only.
//! Concurrency: capabilities can be used by all threads; selectors are handed out without locks.
//! Source: classic interface, "Hypercalls".

use abi::operation::{RevokeFlags, SemaphoreFlags};
use abi::{Crd, Mtd, Rights, Selector, Status, TypedItem};

use crate::arch::syscall;
use crate::arch::utcb::Utcb;
use crate::item;
use crate::program::Main;
use crate::selectors::Selectors;
use crate::{startup, time};

/// Selectors for whatever the program makes or receives.
static SELECTORS: Selectors<256> = Selectors::new(startup::FREE);

/// The program's own domain.
#[must_use]
pub fn own_domain() -> Selector {
    match crate::arch::start::program().main {
        Main::Root(_) => Selector::ROOT_DOMAIN,
        Main::Program(_) => Selector::new(startup::DOMAIN),
    }
}

/// A selector, or an aligned run of them, and what lies there.
#[derive(Debug, PartialEq, Eq)]
pub struct Slot {
    at: Selector,
    order: u32,
    owned: bool,
}

impl Slot {
    /// A free selector.
    ///
    /// # Errors
    /// [`Status::QuotaExhausted`] if there is none.
    pub fn new() -> Result<Self, Status> {
        Self::run(0)
    }

    /// 2^`order` free selectors, at most 64, at a multiple of their number.
    ///
    /// # Errors
    /// [`Status::QuotaExhausted`] if there are none.
    pub fn run(order: u32) -> Result<Self, Status> {
        let at = SELECTORS.take(order).ok_or(Status::QuotaExhausted)?;
        Ok(Self { at, order, owned: true })
    }

    /// A selector that belongs to nobody here: it stays as it is when this is dropped.
    #[must_use]
    pub const fn fixed(at: Selector) -> Self {
        Self { at, order: 0, owned: false }
    }

    /// The (first) selector.
    #[must_use]
    pub const fn selector(&self) -> Selector {
        self.at
    }

    /// Selector `index` of the run; the first one for numbers beyond its end.
    #[must_use]
    pub fn nth(&self, index: u64) -> Selector {
        Selector::new(self.at.number() + if index >> self.order == 0 { index } else { 0 })
    }

    /// The descriptor of the whole run, with these rights.
    #[must_use]
    pub fn range(&self, rights: impl Into<Rights>) -> Crd {
        Crd::objects(self.at, self.order, rights.into()).unwrap_or(Crd::NULL)
    }

    /// The item that delegates the whole run, with these rights.
    #[must_use]
    pub fn delegated(&self, rights: impl Into<Rights>) -> TypedItem {
        item::objects(self.range(rights))
    }

    /// Takes back what lies here, and waits until the memory of what died is free, at most `milliseconds`. Whether it
    /// is, for certain.
    #[must_use]
    pub fn destroy(self, milliseconds: u64) -> bool {
        let Ok(freed) = Semaphore::new(0) else { return false };
        let range = self.range(Rights::ALL);
        let told = syscall::revoke_objects(range, RevokeFlags::SELF, freed.slot().selector());
        told && freed.down_until(time::after(milliseconds)).is_ok()
    }

    /// Takes back what lies here, and everything derived from it.
    pub fn clear(&self) {
        let _ = syscall::revoke_objects(self.range(Rights::ALL), RevokeFlags::SELF, Selector::new(0));
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.owned {
            self.clear();
            SELECTORS.give(self.at, self.order);
        }
    }
}

/// A semaphore.
#[derive(Debug)]
pub struct Semaphore(Slot);

impl Semaphore {
    /// A new one with this count.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn new(count: u64) -> Result<Self, Status> {
        let slot = Slot::new()?;
        syscall::create_semaphore(slot.selector(), own_domain(), count)?;
        Ok(Self(slot))
    }

    /// The one that lies in `slot`.
    #[must_use]
    pub const fn from_slot(slot: Slot) -> Self {
        Self(slot)
    }

    /// Where it lies.
    #[must_use]
    pub const fn slot(&self) -> &Slot {
        &self.0
    }

    /// Adds one to the count, or wakes the one who waits longest.
    ///
    /// # Errors
    /// [`Status::BadCapability`] if it is gone or may not be upped.
    pub fn up(&self) -> Result<(), Status> {
        syscall::control_semaphore(self.0.selector(), 0, 0)
    }

    /// Takes one off the count, or waits.
    ///
    /// # Errors
    /// [`Status::BadCapability`] if it is gone or may not be downed.
    pub fn down(&self) -> Result<(), Status> {
        syscall::control_semaphore(self.0.selector(), SemaphoreFlags::DOWN.bits(), 0)
    }

    /// The same, but waits at most until the time-stamp counter reads `deadline`, in ticks, not 0.
    ///
    /// # Errors
    /// [`Status::Timeout`] then; else as [`Semaphore::down`].
    pub fn down_until(&self, deadline: u64) -> Result<(), Status> {
        syscall::control_semaphore(self.0.selector(), SemaphoreFlags::DOWN.bits(), deadline.max(1))
    }

    /// Takes the whole count, or waits if it is 0, at most until `deadline`.
    ///
    /// # Errors
    /// As [`Semaphore::down_until`].
    pub fn drain_until(&self, deadline: u64) -> Result<(), Status> {
        let flags = SemaphoreFlags::DOWN | SemaphoreFlags::TO_ZERO;
        syscall::control_semaphore(self.0.selector(), flags.bits(), deadline.max(1))
    }
}

/// A portal.
#[derive(Debug)]
pub struct Portal(Slot);

impl Portal {
    /// The one that lies in `slot`.
    #[must_use]
    pub const fn from_slot(slot: Slot) -> Self {
        Self(slot)
    }

    /// Where it lies.
    #[must_use]
    pub const fn slot(&self) -> &Slot {
        &self.0
    }

    /// Calls with the message in the thread's UTCB; the answer lies there then.
    ///
    /// # Errors
    /// [`Status::Timeout`]: who serves it is dead. [`Status::Aborted`]: who serves it died during the call.
    /// [`Status::BadCapability`]: there is no portal (any more). [`Status::BadCpu`]: it is served on another core.
    pub fn call(&self) -> Result<(), Status> {
        syscall::call(self.0.selector())
    }
}

/// An execution context.
#[derive(Debug)]
pub struct Context(pub(crate) Slot);

impl Context {
    /// The slot that it lies in, to be destroyed.
    #[must_use]
    pub fn into_slot(self) -> Slot {
        self.0
    }

    /// Where it lies.
    #[must_use]
    pub const fn slot(&self) -> &Slot {
        &self.0
    }
}

impl Context {
    /// The one that lies in `slot`.
    #[must_use]
    pub const fn from_slot(slot: Slot) -> Self {
        Self(slot)
    }

    /// Makes it enter its recall portal soon.
    ///
    /// # Errors
    /// [`Status::BadCapability`] if it is gone or may not be controlled.
    pub fn recall(&self) -> Result<(), Status> {
        syscall::recall(self.0.selector())
    }

    /// Shows `groups` of the state of a virtual CPU of this core in the caller's UTCB, whatever its exit came with; it is
    /// recalled soon.
    ///
    /// # Errors
    /// [`Status::BadCpu`] if it is on another core, [`Status::BadCapability`] if it is gone or no virtual CPU.
    pub fn show_state(&self, groups: Mtd, _to: &mut Utcb) -> Result<(), Status> {
        syscall::show_state(self.0.selector(), groups)
    }
}

/// A scheduling context: time for a thread.
#[derive(Debug)]
pub struct Scheduling(pub(crate) Slot);

impl Scheduling {
    /// The slot that it lies in, to be destroyed.
    #[must_use]
    pub fn into_slot(self) -> Slot {
        self.0
    }

    /// Where it lies.
    #[must_use]
    pub const fn slot(&self) -> &Slot {
        &self.0
    }
}
