//! Interrupts of devices: those that the boot configuration lists for the program.
//!
//! Invariants: one that is not the program's does nothing but fail.
//! Concurrency: one thread waits for an interrupt at a time; others would share its arrivals.
//! Source: classic interface, "assign_gsi" and "sm_ctrl" (a level-triggered interrupt is masked from its arrival until
//! somebody waits for the next one).

use abi::operation::InterruptFlags;
use abi::{Selector, Status};

use crate::arch::syscall;
use crate::capability::{Semaphore, Slot};
use crate::startup::INTERRUPTS;

/// An interrupt.
#[derive(Debug)]
pub struct Interrupt(Semaphore);

impl Interrupt {
    /// The interrupt in place `index`, from 0, among those in the program's configuration, from now on delivered to
    /// `core`. `flags` say how the device signals it, if the firmware's word is not to be taken for it.
    ///
    /// # Errors
    /// [`Status::BadCapability`] if there is no such place, [`Status::BadCpu`] for a core that is not there.
    pub fn new(index: u64, core: u32, flags: InterruptFlags) -> Result<Self, Status> {
        let at = Selector::new(INTERRUPTS + index);
        syscall::assign_interrupt(at, flags, core)?;
        Ok(Self(Semaphore::from_slot(Slot::fixed(at))))
    }

    /// Waits for the next arrival, at most until the time-stamp counter reads `deadline`.
    ///
    /// # Errors
    /// [`Status::Timeout`] then.
    pub fn wait_until(&self, deadline: u64) -> Result<(), Status> {
        self.0.down_until(deadline)
    }
}
