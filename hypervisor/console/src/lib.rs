//! The kernel's log: levelled, one line per event, with the number of the core.
//!
//! Purpose: `[ 0 info ] message` on whatever outputs the machine has; tools parse it.
//! Invariants: a line is put together first and sent whole under a lock, so that lines of several cores never mix; a
//! line that is too long is cut and says so; control characters in a message (it may quote a hostile string) become
//! `?`, so that one event stays one line.
//! Concurrency: any core, any time. If the lock does not come free within a bounded number of attempts (its holder
//! faulted), the line is sent without it: better mixed than lost.
//! Source: design plan §5 (contract of the log); the kernel's command line option `log=`.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod line;

use core::fmt;
use line::Line;
use sync::atomic::{AtomicU8, Ordering};
use sync::{Once, Spin};

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Something is broken.
    Error = 0,
    /// Something is odd, the machine goes on.
    Warn = 1,
    /// What a user wants to see of every start.
    Info = 2,
    /// What a developer wants to see.
    Debug = 3,
}

impl Level {
    /// The level's name on the command line and in the log.
    pub const fn name(self) -> &'static str {
        ["error", "warn", "info", "debug"][self as usize]
    }

    /// The level with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Error, Self::Warn, Self::Info, Self::Debug].into_iter().find(|level| level.name() == name)
    }
}

/// Sends bytes to the outputs.
pub type Sink = fn(&[u8]);

static SINK: Once<Sink> = Once::new();
static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);
static LOCK: Spin<()> = Spin::new(());
/// Attempts to get the lock before a line is sent without it. A line of 250 bytes takes 22 ms on a slow serial line.
const PATIENCE: u32 = 50_000_000;

/// Sets the sink. Lines before that are lost.
pub fn start(sink: Sink) {
    SINK.call_once(|| sink);
}

/// Sets the highest level that is shown.
pub fn show_up_to(level: Level) {
    LEVEL.store(level as u8, Ordering::Relaxed);
}

/// Sends one line from `core`.
pub fn log(core: u32, level: Level, message: fmt::Arguments<'_>) {
    let shown = level as u8 <= LEVEL.load(Ordering::Relaxed);
    if let (true, Some(sink)) = (shown, SINK.get()) {
        let line = Line::format(core, level, message);
        let patient = || {
            sync::relax();
            LOCK.try_lock()
        };
        let guard = LOCK.try_lock().or_else(|| (0..PATIENCE).find_map(|_| patient()));
        sink(line.bytes());
        drop(guard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    static SENT: Mutex<Vec<u8>> = Mutex::new(Vec::new());

    fn collect(bytes: &[u8]) {
        for byte in bytes {
            // One byte at a time, so that a missing lock would let lines mix.
            if let Ok(mut sent) = SENT.lock() {
                sent.push(*byte);
            }
        }
    }

    #[test]
    fn lines_of_several_cores_never_mix() {
        start(collect);
        std::thread::scope(|scope| {
            for core in 0..4u32 {
                scope.spawn(move || (0..50).for_each(|n| log(core, Level::Info, format_args!("event {n} of {core}"))));
            }
        });
        log(9, Level::Debug, format_args!("hidden"));
        let sent = SENT.lock().map(|sent| sent.clone()).unwrap_or_default();
        let text = String::from_utf8_lossy(&sent).into_owned();
        let mut lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 200);
        lines.sort_unstable();
        let mut expected: Vec<String> =
            (0..4).flat_map(|c| (0..50).map(move |n| format!("[ {c} info ] event {n} of {c}"))).collect();
        expected.sort_unstable();
        assert_eq!(lines, expected);
    }

    #[test]
    fn names_of_levels_are_understood_and_others_are_not() {
        for level in [Level::Error, Level::Warn, Level::Info, Level::Debug] {
            assert_eq!(Level::from_name(level.name()), Some(level));
        }
        assert_eq!(Level::from_name("loud"), None);
    }
}
