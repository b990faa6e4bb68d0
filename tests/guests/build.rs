//! Links the guests by their own linker script.
//!
//! Concurrency: none.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "none") {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/guest.ld");
        println!("cargo::rerun-if-changed={script}");
        println!("cargo::rustc-link-arg-bins=-T{script}");
    }
}
