//! The world of the machine: time, the processor, and how virtual CPUs and timers are woken.
//!
//! Invariants: what the virtual CPUs consist of is known before they run.
//! Concurrency: all threads; atomic words only.

use core::sync::atomic::{AtomicU64, Ordering};

use abi::{Mtd, Selector, Status};
use alloc::boxed::Box;
use alloc::vec::Vec;
use rt::arch::utcb::Utcb;
use rt::capability::{Context, Semaphore, Slot};
use rt::{arch, console, time};
use vmm::cpuid::Leaf;
use vmm::machine::Host;

use super::timer::Timer;

/// Numbers for the guest: the processor's, or without those a mix of the times at which they are asked for.
#[derive(Default)]
pub struct Random(u64);

impl vm_rng::Source for Random {
    fn next(&mut self) -> u64 {
        // Steps and shifts of the generator xorshift64*, stirred by the time.
        let mut mixed = self.0 ^ time::now() | 1;
        mixed ^= mixed >> 12;
        mixed ^= mixed << 25;
        mixed ^= mixed >> 27;
        self.0 = mixed.wrapping_mul(0x2545_F491_4F6C_DD1D);
        arch::cpu::random().unwrap_or(0) ^ self.0
    }
}

/// A virtual CPU's handles.
struct Handle {
    /// Selector of its context.
    context: AtomicU64,
    wake: Semaphore,
    timer: Timer,
}

/// The world.
pub struct World {
    cpus: Vec<Handle>,
    devices: Timer,
    ended: &'static Semaphore,
}

impl World {
    /// One for so many virtual CPUs.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn new(cpus: u32) -> Result<Self, Status> {
        let handle = |_| Ok(Handle { context: AtomicU64::new(0), wake: Semaphore::new(0)?, timer: Timer::new()? });
        let ended = Box::leak(Box::new(Semaphore::new(0)?));
        Ok(Self { cpus: (0..cpus).map(handle).collect::<Result<_, Status>>()?, devices: Timer::new()?, ended })
    }

    /// Notes the context of a virtual CPU.
    pub fn adopt(&self, cpu: usize, context: Selector) {
        if let Some(handle) = self.cpus.get(cpu) {
            handle.context.store(context.number(), Ordering::Release);
        }
    }

    /// Has more of the state of virtual CPU `cpu`, whose exit the caller handles, in the caller's UTCB. Without it, as little
    /// as before.
    pub fn show(&self, cpu: usize, groups: Mtd, utcb: &mut Utcb) {
        let context = self.cpus.get(cpu).map_or(0, |handle| handle.context.load(Ordering::Acquire));
        let _ = Context::from_slot(Slot::fixed(Selector::new(context))).show_state(groups, utcb);
    }

    /// Waits until virtual CPU `cpu` is woken, at most until the counter reads `deadline`.
    pub fn wait(&self, cpu: usize, deadline: u64) {
        if let Some(handle) = self.cpus.get(cpu) {
            let _ = match deadline {
                u64::MAX => handle.wake.down(),
                deadline => handle.wake.down_until(deadline),
            };
        }
    }

    /// The timer of a virtual CPU.
    pub fn timer(&self, cpu: usize) -> Option<&Timer> {
        self.cpus.get(cpu).map(|handle| &handle.timer)
    }

    /// The devices' timer.
    pub const fn devices(&self) -> &Timer {
        &self.devices
    }

    /// Is upped when the machine has ended.
    pub const fn ended(&self) -> &'static Semaphore {
        self.ended
    }
}

impl Host for World {
    fn now(&self) -> u64 {
        time::now()
    }

    fn cpuid(&self, leaf: u32, subleaf: u32) -> Leaf {
        arch::cpu::identification(leaf, subleaf)
    }

    fn recall(&self, cpu: usize) {
        let context = self.cpus.get(cpu).map_or(0, |handle| handle.context.load(Ordering::Acquire));
        if context != 0 {
            // A virtual CPU that is gone needs no recall.
            let _ = Context::from_slot(Slot::fixed(Selector::new(context))).recall();
        }
    }

    fn wake(&self, cpu: usize) {
        if let Some(handle) = self.cpus.get(cpu) {
            let _ = handle.wake.up();
        }
    }

    fn set_timer(&self, cpu: usize, deadline: u64) {
        if let Some(handle) = self.cpus.get(cpu) {
            handle.timer.set(deadline);
        }
    }

    fn set_device_timer(&self, deadline: u64) {
        self.devices.set(deadline);
    }

    fn print(&self, byte: u8) {
        console::pass_on(byte);
    }
}
