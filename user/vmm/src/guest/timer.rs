//! Timers: a thread that sleeps until a time, which may change meanwhile.
//!
//! A time that comes later than the one the thread sleeps for wakes nobody: the thread finds out when it wakes. So a timer
//! that is set anew again and again costs little.
//! Invariants: the thread does not sleep beyond the time that was set last.
//! Concurrency: one thread per timer; anybody sets it. Both sides write their word before they read the other's.

use core::sync::atomic::{AtomicU64, Ordering};

use abi::Status;
use alloc::vec;
use rt::capability::Semaphore;
use rt::{thread, time};
use vmm::machine::End;

use super::Ours;

/// A time, and whom to tell.
pub struct Timer {
    wanted: AtomicU64,
    /// What the thread sleeps for.
    armed: AtomicU64,
    change: Semaphore,
}

impl Timer {
    /// Never due.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn new() -> Result<Self, Status> {
        Ok(Self { wanted: AtomicU64::new(u64::MAX), armed: AtomicU64::new(u64::MAX), change: Semaphore::new(0)? })
    }

    /// Sets the time; `u64::MAX` is never.
    pub fn set(&self, deadline: u64) {
        if self.wanted.load(Ordering::Relaxed) == deadline {
            return;
        }
        self.wanted.store(deadline, Ordering::SeqCst);
        if deadline < self.armed.load(Ordering::SeqCst) {
            let _ = self.change.up();
        }
    }

    /// Waits until the time has come, which is never then.
    fn wait(&self) {
        loop {
            let due = self.wanted.load(Ordering::SeqCst);
            self.armed.store(due, Ordering::SeqCst);
            if self.wanted.load(Ordering::SeqCst) < due {
                continue;
            }
            let now = time::now();
            if due <= now {
                if self.wanted.compare_exchange(due, u64::MAX, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                    return;
                }
                continue;
            }
            let _ = match due {
                u64::MAX => self.change.down(),
                due => self.change.down_until(due),
            };
        }
    }
}

/// Starts the thread for the timer of virtual CPU `cpu`, on its core.
///
/// # Errors
/// What the kernel answered.
pub fn start_for_cpu(machine: &'static Ours, cpu: usize, core: u32) -> Result<(), Status> {
    thread::spawn(core, move || {
        if let Some(timer) = machine.host().timer(cpu) {
            loop {
                timer.wait();
                machine.expire(cpu);
            }
        }
    })
    .map(drop)
}

/// Starts the thread for the devices' timer.
///
/// # Errors
/// What the kernel answered.
pub fn start_for_devices(machine: &'static Ours, core: u32) -> Result<(), Status> {
    thread::spawn(core, move || {
        let timer = machine.host().devices();
        loop {
            timer.wait();
            timer.set(machine.poll_devices());
        }
    })
    .map(drop)
}

/// Starts the thread that ends a machine of which a virtual CPU does not leave the guest for so many milliseconds.
///
/// # Errors
/// What the kernel answered.
pub fn start_watchdog(machine: &'static Ours, core: u32, milliseconds: u32) -> Result<(), Status> {
    let mut exits = vec![0; machine.cpus().len()];
    let never = Semaphore::new(0)?;
    thread::spawn(core, move || {
        loop {
            let _ = never.down_until(time::after(milliseconds.into()));
            if let Some(cpu) = machine.stuck(&mut exits) {
                machine.stop(End::Hang(cpu, milliseconds));
            }
        }
    })
    .map(drop)
}
