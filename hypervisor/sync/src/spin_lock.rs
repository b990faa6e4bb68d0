//! A lock that spins, and counts how often it had to.
//!
//! Purpose: mutual exclusion between cores for a bounded number of steps.
//! Invariants: the value is reachable only through a [`Guard`]; `contended` never decreases.
//! Concurrency: first come is not first served; holders run with interrupts off, so that a holder is never preempted.
//! Source: design plan §3; the lock itself is the `spin` crate's, or the model checker's.
use crate::atomic::{AtomicU64, Ordering};
use core::ops::{Deref, DerefMut};

#[cfg(loom)]
use loom::sync as backend;
#[cfg(shuttle)]
use shuttle::sync as backend;
#[cfg(not(any(loom, shuttle)))]
use spin as backend;

/// A value behind a spinning lock.
pub struct Spin<T> {
    contended: AtomicU64,
    inner: backend::Mutex<T>,
}

/// Access to the value of a [`Spin`]; the lock opens when it is dropped.
#[must_use = "the lock opens again at once if the guard is not kept"]
pub struct Guard<'a, T>(backend::MutexGuard<'a, T>);

impl<T> Spin<T> {
    /// A free lock around `value`.
    #[cfg(not(any(loom, shuttle)))]
    pub const fn new(value: T) -> Self {
        Self { contended: AtomicU64::new(0), inner: backend::Mutex::new(value) }
    }

    /// A free lock around `value`.
    #[cfg(any(loom, shuttle))]
    pub fn new(value: T) -> Self {
        Self { contended: AtomicU64::new(0), inner: backend::Mutex::new(value) }
    }

    /// Waits until the lock is free and takes it.
    #[inline]
    pub fn lock(&self) -> Guard<'_, T> {
        if let Some(guard) = self.try_lock() {
            return guard;
        }
        self.contended.fetch_add(1, Ordering::Relaxed);
        #[cfg(not(any(loom, shuttle)))]
        return Guard(self.inner.lock());
        #[cfg(any(loom, shuttle))]
        match self.inner.lock() {
            Ok(guard) => Guard(guard),
            Err(poisoned) => Guard(poisoned.into_inner()),
        }
    }

    /// Takes the lock if it is free.
    #[inline]
    pub fn try_lock(&self) -> Option<Guard<'_, T>> {
        #[cfg(not(any(loom, shuttle)))]
        return self.inner.try_lock().map(Guard);
        #[cfg(any(loom, shuttle))]
        self.inner.try_lock().ok().map(Guard)
    }

    /// How often [`Self::lock`] found the lock taken since boot.
    pub fn contended(&self) -> u64 {
        self.contended.load(Ordering::Relaxed)
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn increments_of_several_threads_are_all_counted() {
        let counter = Spin::new(0u64);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| *counter.lock() += 1));
            }
        });
        assert_eq!(*counter.lock(), 4000);
    }

    #[test]
    fn a_taken_lock_is_refused_and_counted() {
        let lock = Spin::new(());
        let held = lock.lock();
        assert!(lock.try_lock().is_none());
        assert_eq!(lock.contended(), 0);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| drop(lock.lock()));
            while lock.contended() == 0 {
                std::thread::yield_now();
            }
            drop(held);
            assert!(waiter.join().is_ok());
        });
        assert_eq!(lock.contended(), 1);
    }
}
