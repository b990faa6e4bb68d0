//! Runtime: what programs on Vela are written against.
//!
//! A program is a `no_std`, `no_main` binary. One that the root partition starts has a line [`program!`]`(main)` and a
//! function `fn main(startup: &Startup) -> ExitStatus`; a root program has [`entry!`]`(main)` and takes an [`Environment`].
//!
//! Principles:
//! 1. What a program may do follows from values it holds: I/O ports can be used only with `ports::IoPorts`, a portal is
//!    called through a `capability::Portal`. What owns a capability takes it back when it is dropped.
//! 2. Programs need no unsafe code; everything the machine is asked for directly is in `arch`.
//! 3. What can be computed without the machine compiles and is tested on the host.
//! 4. Programs talk in messages ([`message!`]): a service is a pair of enumerations, a handler, and a client.
//!
//! Concurrency: threads of a program run on several cores; see the modules.
//! Source: the classic NOVA x86-64 interface, API version 10.
// UNSAFETY: entering the kernel, port instructions, stacks, and the areas that the kernel maps cannot be expressed safely.
// All of it is in the module `arch`, and in `heap`, `sync`, `thread`, `server` and `domain`, which manage memory for
// others; the macros for main functions add one exported symbol to each program.
#![cfg_attr(not(test), no_std)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "system calls, port instructions, start of the program, areas mapped by the kernel")]
pub mod arch;
#[cfg(target_os = "none")]
pub mod capability;
#[cfg(target_os = "none")]
pub mod client;
#[cfg(target_os = "none")]
pub mod console;
#[cfg(target_os = "none")]
pub mod counter;
#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "contexts and mappings of other domains")]
pub mod domain;
mod environment;
pub mod event;
mod exit_status;
#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "the program's allocator")]
pub mod heap;
pub mod hypercall;
pub mod image;
#[cfg(target_os = "none")]
pub mod interrupt;
pub mod item;
#[cfg(target_os = "none")]
pub mod log;
pub mod message;
#[cfg(target_os = "none")]
mod panic;
pub mod parent;
#[cfg(target_os = "none")]
pub mod ports;
#[cfg(target_os = "none")]
pub mod power;
pub mod program;
pub mod selectors;
pub mod serial;
#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "stacks that come back from serving contexts")]
pub mod server;
pub mod service;
pub mod startup;
#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "a lock")]
pub mod sync;
#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "stacks that come back from threads")]
pub mod thread;
#[cfg(target_os = "none")]
pub mod time;

pub use abi;
pub use environment::Environment;
pub use exit_status::ExitStatus;
pub use program::Program;
pub use startup::Startup;
