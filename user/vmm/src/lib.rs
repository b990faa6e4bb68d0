//! The virtual-machine monitor: a machine for an unmodified guest, in a program of ring 3.
//!
//! Principles:
//! 1. Everything that a guest can influence is safe code without panics, computed here and tested on the host; what the
//!    program does with the kernel is in the binary.
//! 2. One crate per device model ([`devices`] connects them). Devices know neither threads nor the kernel: time is an
//!    argument, interrupts are levels and messages.
//! 3. Frequent exits are short: they need few registers ([`exit::Exit::needs`]) and no common lock.
//! 4. A guest that does what no machine knows ends with a reason in words; it never takes the monitor with it.
//!
//! Concurrency: see [`machine`].
//! Source: see the modules.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(not(any(test, target_os = "none")))]
extern crate std;

pub mod acpi;
pub mod arguments;
pub mod clock;
pub mod count;
pub mod cpu;
pub mod cpuid;
pub mod devices;
pub mod end;
pub mod exit;
pub mod instruction;
pub mod layout;
pub mod linux;
pub mod machine;
pub mod msr;
pub mod multiboot;
pub mod start;
pub mod state;
pub mod string;
pub mod sync;
pub mod trial;
pub mod walk;
