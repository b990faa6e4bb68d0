//! Root programs that try every hypercall with every status that the interface names, from inside the running system.
//!
//! Each program in `src/bin` takes a group of hypercalls. It prints a line `triple HYPERCALL FORM STATUS ok` for the first
//! time that a status comes where it has to, and `triple HYPERCALL FORM STATUS FAIL ...` whenever another one comes; the
//! names are those of [`abi::conformance::TRIPLES`], with which the system tests compare. Side effects are checked beside.
//! [`world`] makes threads on any core and in any domain, and servers, all of which do what they are told: the same
//! hypercall can so be tried by a well-behaved domain and by a hostile one.
//! Concurrency: the first thread checks and prints; the others take turns with it through semaphores.
//! Source: classic interface, API version 10.
#![cfg_attr(target_os = "none", no_std)]
// UNSAFETY: raw hypercalls, message pages at fixed addresses, entry points in assembly.

#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "entry points in assembly, a fault on purpose")]
mod agent;
#[cfg(target_os = "none")]
mod report;
#[cfg(target_os = "none")]
pub use report::Report;
#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "raw hypercalls, message pages at fixed addresses")]
pub mod sys;
#[cfg(target_os = "none")]
pub mod world;
