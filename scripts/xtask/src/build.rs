//! Builds the kernel and the programs for the bare machine.
//!
//! The cargo started here does not wait for the one that started the tool:
//! that one gives its lock back before it runs a program.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::toolchain::TARGET;
use crate::{process, workspace};

/// The packages with programs for ring 3, and for guests.
const PROGRAMS: [&str; 8] = ["root", "services", "vmm", "measure", "bench", "demos", "conformance", "micro-guests"];

/// What a build gave.
#[derive(Clone, Debug)]
pub struct Built {
    /// The kernel's ELF file, with symbols and line tables.
    pub kernel: PathBuf,
    programs: PathBuf,
}

impl Built {
    /// The ELF file of a root program.
    ///
    /// # Errors
    /// There is no such program.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        let file = self.programs.join(name);
        if !file.is_file() {
            bail!("there is no program `{name}`: no package with programs for ring 3 builds a binary of that name");
        }
        Ok(file)
    }
}

/// Builds kernel and programs in release mode. With `selftest` the kernel
/// understands `provoke=NAME` and fails on purpose; it has its own directory.
///
/// # Errors
/// What cargo reported.
pub fn all(selftest: bool) -> Result<Built> {
    println!("build: the kernel{} and the root programs", if selftest { " with its self tests" } else { "" });
    let target = workspace::target();
    let mut programs = cargo(&target);
    for package in PROGRAMS {
        programs.args(["-p", package]);
    }
    process::run(&mut programs).context("a root program does not build")?;
    let directory = if selftest { target.join("selftest") } else { target.clone() };
    let mut kernel = cargo(&directory);
    kernel.args(["-p", "vela"]);
    if selftest {
        kernel.args(["--features", "selftest"]);
    }
    process::run(&mut kernel).context("the kernel does not build")?;
    Ok(Built { kernel: out(&directory).join("vela"), programs: out(&target) })
}

/// Where [`all`] puts the program `name`.
#[must_use]
pub fn place(name: &str) -> PathBuf {
    out(&workspace::target()).join(name)
}

fn cargo(target: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(workspace::root());
    command.args(["build", "--quiet", "--release", "--target", TARGET, "--target-dir"]).arg(target);
    command
}

fn out(target: &Path) -> PathBuf {
    target.join(TARGET).join("release")
}
