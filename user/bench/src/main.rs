//! Measures the kernel operation by operation and prints a line of JSON for each.
//!
//! On the host it is an empty program, so that the workspace builds there as a whole.
//! Concurrency: see [`program`].
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod program;

#[cfg(not(target_os = "none"))]
fn main() {
    println!("bench: this program is for the bare machine; `cargo xtask bench` boots it");
}
