//! Links the kernel with its own script.

fn main() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../boot/kernel.ld");
    println!("cargo:rerun-if-changed={script}");
    println!("cargo:rustc-link-arg-bins=-T{script}");
    println!("cargo:rustc-link-arg-bins=--no-eh-frame-hdr");
    println!("cargo:rustc-link-arg-bins=-zmax-page-size=4096");
}
