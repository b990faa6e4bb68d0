//! Links the program at an address where nothing else on the machine has code, so that a debugger knows it by that.
//!
//! Concurrency: none.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "none") {
        println!("cargo::rustc-link-arg-bins=--image-base=0x76540000");
    }
}
