//! Build script of all packages whose programs run in ring 3: links them by the linker script for programs.
//!
//! Concurrency: none.

fn main() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../boot/user.ld");
    println!("cargo::rerun-if-changed={script}");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "none") {
        println!("cargo::rustc-link-arg-bins=-T{script}");
    }
}
