//! The toolchains: the product builds on stable (`rust-toolchain.toml`), Miri
//! and the fuzzers on one pinned nightly, named here and nowhere else.
//!
//! Invariants: nothing is installed that is there. Concurrency: none.

use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

/// The pinned nightly for Miri and the fuzzers.
pub const NIGHTLY: &str = "nightly-2026-05-20";
/// The target of everything that runs on the bare machine.
pub const TARGET: &str = "x86_64-unknown-none";

/// Adds the bare-metal target to the stable toolchain when it is missing.
///
/// # Errors
/// Fails when rustup cannot install it.
pub fn ensure_target() -> Result<()> {
    let sysroot = process::output(Command::new("rustc").args(["--print", "sysroot"]))
        .context("Rust is missing: install it with rustup, https://rustup.rs")?;
    if std::path::Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).is_dir() {
        return Ok(());
    }
    println!("setup: adding the Rust target {TARGET}");
    process::run(Command::new("rustup").args(["target", "add", TARGET]))
        .with_context(|| format!("add the target yourself: rustup target add {TARGET}"))
}

/// Installs the pinned nightly with Miri when it is missing.
///
/// # Errors
/// Fails when rustup cannot install it.
pub fn ensure_nightly() -> Result<()> {
    if process::output(nightly().args(["cargo", "miri", "--version"])).is_ok() && has_rust_src() {
        return Ok(());
    }
    println!("setup: installing {NIGHTLY} with miri and rust-src (for the tests under Miri)");
    let mut command = Command::new("rustup");
    command.args(["toolchain", "install", NIGHTLY, "--profile", "minimal"]);
    command.args(["--component", "miri", "--component", "rust-src"]);
    process::run(&mut command)
}

/// A command that runs a program of the pinned nightly.
pub fn nightly() -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", NIGHTLY]);
    command
}

fn has_rust_src() -> bool {
    let sysroot = process::output(nightly().args(["rustc", "--print", "sysroot"])).unwrap_or_default();
    std::path::Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/Cargo.toml").is_file()
}
