//! Log: lines of programs, which a service puts on the console with the program's name before them.
//!
//! A root program, and one that has the console itself, prints directly.
//! Invariants: a line is one message, so lines of different programs do not mix; what is too long is cut.
//! Concurrency: any thread.

use core::fmt::{self, Write};

use spin::Once;

use crate::client::Remote;
use crate::message;
use crate::message::Text;
use crate::service::Service;
use crate::{console, parent, println};

message! {
    /// What the log takes.
    pub enum Request {
        /// A line, without its end.
        Line(text: Text<256>) = 1,
    }
}

message! {
    /// What it answers.
    pub enum Reply {
        /// The line is on the console.
        Done() = 0,
    }
}

/// The service.
#[derive(Debug)]
pub struct Log;

impl Service for Log {
    const NAME: &'static str = "log";
    type Request = Request;
    type Reply = Reply;
}

static LOG: Once<Remote<Log>> = Once::new();

/// Logs a line: what [`crate::log!`] does.
pub fn line(arguments: fmt::Arguments<'_>) {
    if parent::startup().is_none() || console::current().is_some() {
        println!("{arguments}");
        return;
    }
    let mut text = Text::default();
    // Text takes what fits and never fails.
    let _ = text.write_fmt(arguments);
    if LOG.call_once(Remote::default).call(&Request::Line(text)).is_err() {
        parent::report(&text);
    }
}

/// Calls to the log service that had to be made again.
#[must_use]
pub fn retries() -> u64 {
    LOG.get().map_or(0, Remote::retries)
}

/// Logs a line of formatted text.
#[macro_export]
macro_rules! log {
    ($($argument:tt)*) => { $crate::log::line(::core::format_args!($($argument)*)) };
}
