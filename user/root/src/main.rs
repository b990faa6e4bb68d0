//! The root partition: the first program, which owns what the kernel does not keep and hands it out.
//!
//! It takes all memory and ports, reads the boot configuration from the first module behind its own, and starts the
//! programs that it names from the others. Without a module it greets and ends. On the host it is an empty program, so
//! that the workspace builds there as a whole.
//! Concurrency: see [`partition`].
// UNSAFETY: one exported symbol, and physical memory seen as slices, in `partition`.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod partition;

#[cfg(not(target_os = "none"))]
fn main() {
    println!("root: this program is for the bare machine; `cargo xtask run` boots it");
}
