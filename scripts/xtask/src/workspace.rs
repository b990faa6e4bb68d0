//! Where things lie in the workspace: its root, the build directory and the
//! tool's own corner of it (`target/xtask`: images, logs, firmware variables).
//!
//! Invariants: everything the tool writes lies below the build directory or the
//! host's directory for temporary files. Concurrency: none.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The root of the workspace (the directory of the top-level `Cargo.toml`).
pub fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package)
}

/// Cargo's build directory; respects `CARGO_TARGET_DIR`.
pub fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// A directory of the tool below the build directory, created when missing.
///
/// # Errors
/// Fails when the directory cannot be created.
pub fn scratch(name: &str) -> Result<PathBuf> {
    let dir = target().join("xtask").join(name);
    fs::create_dir_all(&dir).with_context(|| format!("cannot create the directory {}", dir.display()))?;
    Ok(dir)
}
