//! Everything the kernel reads that it did not write itself: the boot loader's information, the firmware's ACPI tables
//! and the ELF headers of modules.
//!
//! Purpose: hostile bytes in, checked values or a [`Problem`] in words out.
//! Invariants: 1. Every byte is hostile. A malformed structure never gives a panic, a hang, or a read outside the
//! bytes it was handed.
//! 2. Tag types and entry layouts are those of the crates `multiboot2` and `acpi`. Both panic, loop or read too far on
//! malformed input, so lengths are checked here first, and their getters and iterators over untrusted bytes are not used.
//! 3. Nothing allocates. Iterators walk the bytes again instead of storing what they found; counts are bounded so that
//! a quadratic walk stays short.
//! 4. Unsafe code is confined to one place: reading a plain structure out of a byte slice (`layout`).
//! Concurrency: none. All of this runs on the boot core before the others start.
//! Source: Multiboot2 specification 2.0; ACPI specification 6.5; ELF-64 object file format 1.5.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]
// UNSAFETY: firmware tables have packed layouts.
#![expect(unsafe_code, reason = "packed structures out of bytes")]

#[macro_use]
mod problem;
pub mod acpi_tables;
pub mod boot_info;
mod bytes;
pub mod elf;
mod layout;
pub mod options;
pub mod physical;
#[cfg(test)]
mod synthetic;

pub use problem::Problem;
