//! A lock that spins.
//!
//! Purpose: mutual exclusion between cores for a bounded number of steps.
//! Invariants: the value is reachable only through a [`Guard`].
//! Concurrency: first come is not first served; holders run with interrupts off, so that a holder is never preempted.
//! Source: design plan §3; the lock itself is the `spin` crate's, or the model checker's.
#[cfg(loom)]
use loom::sync as backend;
#[cfg(shuttle)]
use shuttle::sync as backend;
#[cfg(not(any(loom, shuttle)))]
use spin as backend;

/// Access to the value of a [`Spin`]; the lock opens when it is dropped.
pub use backend::MutexGuard as Guard;

/// A value behind a spinning lock.
pub struct Spin<T>(backend::Mutex<T>);

impl<T> Spin<T> {
    /// A free lock around `value`.
    #[cfg(not(any(loom, shuttle)))]
    pub const fn new(value: T) -> Self {
        Self(backend::Mutex::new(value))
    }

    /// A free lock around `value`.
    #[cfg(any(loom, shuttle))]
    pub fn new(value: T) -> Self {
        Self(backend::Mutex::new(value))
    }

    /// Waits until the lock is free and takes it.
    #[inline]
    pub fn lock(&self) -> Guard<'_, T> {
        self.lock_or(|| ())
    }

    /// As [`Self::lock`]; if the lock is not free, `waits` is called first.
    #[inline(always)]
    pub fn lock_or(&self, waits: impl FnOnce()) -> Guard<'_, T> {
        if let Some(guard) = self.try_lock() {
            return guard;
        }
        waits();
        #[cfg(not(any(loom, shuttle)))]
        return self.0.lock();
        #[cfg(any(loom, shuttle))]
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Takes the lock if it is free.
    #[inline]
    pub fn try_lock(&self) -> Option<Guard<'_, T>> {
        #[cfg(not(any(loom, shuttle)))]
        return self.0.try_lock();
        #[cfg(any(loom, shuttle))]
        self.0.try_lock().ok()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

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
    fn a_taken_lock_is_refused() {
        let lock = Spin::new(());
        let held = lock.lock();
        assert!(lock.try_lock().is_none());
        drop(held);
        assert!(lock.try_lock().is_some());
    }

    #[test]
    fn who_waits_is_told_before() {
        let (lock, told) = (Spin::new(0), AtomicBool::new(false));
        let held = lock.lock_or(|| unreachable!("it is free"));
        std::thread::scope(|scope| {
            scope.spawn(|| *lock.lock_or(|| told.store(true, Relaxed)) += 1);
            while !told.load(Relaxed) {
                std::thread::yield_now();
            }
            drop(held);
        });
        assert_eq!(*lock.lock(), 1);
    }
}
