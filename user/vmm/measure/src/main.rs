//! The first process of a Linux guest: measures the machine that it is in, then ends it.
//!
//! It is the same program in a virtual machine and on the emulator directly. For each thing measured it prints one line with
//! JSON: repetitions, ticks of the time-stamp counter, and exits of virtual CPUs where a monitor counts them.
//! `cargo xtask bench vm` has a breakpoint at its first instruction.
//! Invariants: what cannot be done is a line with the reason.
//! Concurrency: one thread; the pipes have a second process.
// UNSAFETY: entry point, system calls and ports are assembly.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "entry point, system calls and ports")]
mod linux;
#[cfg(target_os = "none")]
mod work;

#[cfg(not(target_os = "none"))]
fn main() {
    println!("measure: this program is for a Linux guest; `cargo xtask bench vm` runs it");
}
