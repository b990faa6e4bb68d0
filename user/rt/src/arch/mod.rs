//! The machine as a program sees it: start, system calls, port instructions, the areas that the kernel maps.
//!
//! Invariants: the only module with unsafe code; what it offers to the rest of the crate is safe to call.
//! Concurrency: see the modules.
//! Source: classic interface, "Entry and register convention"; AMD64 manual volume 3 (SYSCALL, IN, OUT).

pub(crate) mod backtrace;
pub(crate) mod contexts;
pub mod cpu;
pub(crate) mod port;
pub(crate) mod start;
pub(crate) mod starter;
pub(crate) mod syscall;
pub mod utcb;
pub mod windows;
