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
        match self.try_lock() {
            Some(guard) => guard,
            #[cfg(not(any(loom, shuttle)))]
            None => self.0.lock(),
            #[cfg(any(loom, shuttle))]
            None => self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner),
        }
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
}
