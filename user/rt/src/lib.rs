//! Runtime: what programs on Vela are written against.
//!
//! A program is a `no_std`, `no_main` binary with one line [`entry!`]`(main)` and a function
//! `fn main(environment: &Environment) -> ExitStatus`.
//!
//! Principles:
//! 1. What a program may do follows from values it holds: I/O ports can be used only with `ports::IoPorts`, which only
//!    a successful delegation makes.
//! 2. Programs need no unsafe code; everything the machine is asked for directly is in `arch`.
//! 3. What can be computed without the machine compiles and is tested on the host.
//!
//! Concurrency: one thread per program so far; what is shared is atomic.
//! Source: the classic NOVA x86-64 interface, API version 10.
// UNSAFETY: entering the kernel, port instructions and the two areas that the kernel maps cannot be expressed safely. All
// of it is in the module `arch`, which alone may use unsafe code; `entry!` adds one exported symbol to each program.
#![cfg_attr(not(test), no_std)]

#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "system calls, port instructions, start of the program, areas mapped by the kernel")]
pub mod arch;
#[cfg(target_os = "none")]
pub mod console;
mod environment;
mod exit_status;
pub mod hypercall;
pub mod image;
#[cfg(target_os = "none")]
mod panic;
#[cfg(target_os = "none")]
pub mod ports;
#[cfg(target_os = "none")]
pub mod power;
mod program;
pub mod serial;

pub use abi;
pub use environment::Environment;
pub use exit_status::ExitStatus;
pub use program::Program;
