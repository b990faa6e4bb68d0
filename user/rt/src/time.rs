//! Time: the time-stamp counter, and waiting by it.
//!
//! A thread waits on a semaphore of its own that nobody ups, made when it first sleeps.
//! Concurrency: each thread for itself.
//! Source: classic interface, "sm_ctrl" (deadlines are absolute values of the time-stamp counter).

use core::sync::atomic::{AtomicU64, Ordering};

use abi::Selector;

use crate::arch::{cpu, syscall, utcb};
use crate::capability::{Semaphore, Slot, own_domain};

/// Ticks per millisecond; a guess until the program knows better.
static TICKS: AtomicU64 = AtomicU64::new(1_000_000);

/// Notes the frequency of the time-stamp counter in kHz.
pub fn set_frequency(khz: u32) {
    if khz != 0 {
        TICKS.store(khz.into(), Ordering::Relaxed);
    }
}

/// Ticks of the time-stamp counter now.
#[must_use]
pub fn now() -> u64 {
    cpu::time_stamp()
}

/// Whole seconds in so many ticks, of which there are `khz` in a millisecond.
#[must_use]
pub fn seconds(ticks: u64, khz: u32) -> u64 {
    ticks / (u64::from(khz) * 1000).max(1)
}

/// The time-stamp counter in `milliseconds` from now.
#[must_use]
pub fn after(milliseconds: u64) -> u64 {
    now().saturating_add(milliseconds.saturating_mul(TICKS.load(Ordering::Relaxed)))
}

/// Milliseconds since the counter read `then`.
#[must_use]
pub fn since(then: u64) -> u64 {
    now().saturating_sub(then) / TICKS.load(Ordering::Relaxed)
}

/// Sleeps for `milliseconds`.
pub fn sleep(milliseconds: u64) {
    wait(after(milliseconds));
}

/// Sleeps for `microseconds`, at least.
pub(crate) fn pause(microseconds: u64) {
    wait(now() + microseconds * TICKS.load(Ordering::Relaxed) / 1000);
}

/// Sleeps until nothing comes.
pub fn sleep_for_ever() {
    wait(0);
}

fn wait(deadline: u64) {
    match semaphore() {
        // Nobody ups it: the end of the wait is the time-out.
        Some(semaphore) if deadline == 0 => drop(semaphore.down()),
        Some(semaphore) => drop(semaphore.down_until(deadline)),
        None => syscall::yield_now(),
    }
}

/// The semaphore of the calling thread; `None` if it cannot be made.
fn semaphore() -> Option<Semaphore> {
    let at = match utcb::current().sleep {
        0 => {
            let slot = Slot::new().ok()?;
            let at = slot.selector();
            syscall::create_semaphore(at, own_domain(), 0).ok()?;
            utcb::set_sleep(at);
            core::mem::forget(slot); // The thread keeps it to its end.
            at
        }
        number => Selector::new(number),
    };
    Some(Semaphore::from_slot(Slot::fixed(at)))
}
