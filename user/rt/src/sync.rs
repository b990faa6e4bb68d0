//! A lock for the threads of one program.
//!
//! Who finds it taken tries again for a moment and then sleeps for a little while, so that a holder of lower priority, or
//! one that waits for time, gets on; nobody spins without end.
//! Invariants: the value is reachable through the guard only.
//! Concurrency: any thread. Not fair. A context that serves a client must hold it only for a few instructions: if the
//! client dies in between, the holder stands still until the next call.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering};

/// Attempts before the thread sleeps.
const ATTEMPTS: u32 = 100;
/// Microseconds of sleep.
const PAUSE: u64 = 50;

/// A value behind a lock.
#[derive(Debug)]
pub struct Mutex<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the guard is exclusive, so threads hand the value to each other, which `Send` allows.
unsafe impl<T: Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    /// Free.
    pub const fn new(value: T) -> Self {
        Self { taken: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Waits until the lock is free, and takes it.
    pub fn lock(&self) -> Guard<'_, T> {
        loop {
            for _ in 0..ATTEMPTS {
                if let Some(guard) = self.try_lock() {
                    return guard;
                }
                core::hint::spin_loop();
            }
            crate::time::pause(PAUSE);
        }
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<Guard<'_, T>> {
        let free = self.taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
        free.is_ok().then_some(Guard(self))
    }
}

/// The lock is held.
#[derive(Debug)]
pub struct Guard<'a, T>(&'a Mutex<T>);

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: one guard exists at a time.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: one guard exists at a time, and it is borrowed exclusively.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.0.taken.store(false, Ordering::Release);
    }
}
