//! The program: a virtual machine for one guest.
//!
//! It is told by its arguments what to run, has the guest's memory and the images from the root partition, and makes a
//! domain with virtual CPUs, whose exits come to [`vmm::machine::Machine`]. On the host it is an empty program, so that the
//! workspace builds there as a whole.
//! Concurrency: see [`guest`].
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod guest;

#[cfg(not(target_os = "none"))]
fn main() {
    println!("vmm: this program is for the bare machine; `cargo xtask run` boots it");
}
