//! The lecture's own figures.
//!
//! Purpose: the arithmetic behind "n = 8 lists, 4 ms, 400 threads", so that a measured table can stand beside it.
//! Invariants: constants of the lecture are named here once.
//! Concurrency: none.
//! Source: lecture E:803-851 (rows 164 and 167). It says that 75 % of the messages have timeouts other than 0 and
//! infinite; its 50 000 messages per second for 12 500 timeouts follow from the reverse, 25 %, which is used here.
use crate::{LISTS, TICK};

/// Threads of the example.
pub const THREADS: u64 = 400;
/// Threads of the example for the array.
pub const MANY_THREADS: u64 = 16 * 1024;
/// Microseconds that a scan of the array takes for so many.
pub const SCAN_MICROSECONDS: u64 = 2000;
/// Microseconds per message.
pub const MESSAGE_MICROSECONDS: u64 = 5;
/// One message in so many has a timeout that is neither 0 nor infinite.
pub const ONE_TIMEOUT_IN: u64 = 4;

/// Timer interrupts per second.
pub const TICKS_PER_SECOND: u64 = 1000 / TICK;

/// Entries that N lists make the interrupts inspect in a second if all `threads` wait.
#[must_use]
pub const fn inspected_per_second(threads: u64) -> u64 {
    TICKS_PER_SECOND * threads / LISTS
}

/// Messages per second that go with so many timeouts per second.
#[must_use]
pub const fn messages_per_second(timeouts: u64) -> u64 {
    timeouts * ONE_TIMEOUT_IN
}

/// Share of the processor's time, in parts per million, that so many messages per second take.
#[must_use]
pub const fn message_share(messages: u64) -> u64 {
    messages * MESSAGE_MICROSECONDS
}

/// Share of the processor's time, in parts per million, that so many inspections per second take at the speed of the
/// array's scan.
#[must_use]
pub const fn inspection_share(entries: u64) -> u64 {
    entries * SCAN_MICROSECONDS / MANY_THREADS
}
