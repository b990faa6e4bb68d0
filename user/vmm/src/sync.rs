//! The lock that devices are under: the runtime's on Vela, the standard library's in tests.
//!
//! Invariants: the value is reachable through the guard only.
//! Concurrency: any thread; not fair.

#[cfg(target_os = "none")]
pub use rt::sync::{Guard, Mutex};

#[cfg(not(target_os = "none"))]
mod host {
    use std::sync::{MutexGuard, PoisonError};

    /// A value behind a lock.
    #[derive(Debug)]
    pub struct Mutex<T>(std::sync::Mutex<T>);

    /// The lock is held.
    pub type Guard<'a, T> = MutexGuard<'a, T>;

    impl<T> Mutex<T> {
        /// Free.
        pub const fn new(value: T) -> Self {
            Self(std::sync::Mutex::new(value))
        }

        /// Waits until the lock is free, and takes it.
        pub fn lock(&self) -> Guard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }
}
#[cfg(not(target_os = "none"))]
pub use host::{Guard, Mutex};
