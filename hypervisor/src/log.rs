//! The log, for the kernel binary: adds the number of the core.
//!
//! Purpose: `error!`, `warn!`, `info!` and `debug!`.
//! Invariants: none beyond those of `console`.
//! Concurrency: any core, once its core-local page is there.
//! Source: design plan §5.

/// Logs one line at a level.
macro_rules! log {
    ($level:ident, $($message:tt)*) => {
        console::log(percpu::this().local.id.get(), console::Level::$level, format_args!($($message)*))
    };
}
/// Something is broken.
macro_rules! error { ($($message:tt)*) => { $crate::log::log!(Error, $($message)*) } }
/// Something is odd.
macro_rules! warning { ($($message:tt)*) => { $crate::log::log!(Warn, $($message)*) } }
/// What a user wants to see.
macro_rules! info { ($($message:tt)*) => { $crate::log::log!(Info, $($message)*) } }
/// What a developer wants to see.
macro_rules! debug { ($($message:tt)*) => { $crate::log::log!(Debug, $($message)*) } }

pub(crate) use {debug, error, info, log, warning};
