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

/// What a kernel has beside what ships.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checks {
    /// Nothing.
    #[default]
    None,
    /// It understands `provoke=NAME` and fails on purpose.
    SelfTest,
    /// The same, and a shadow of what cores may remember of tables.
    Shadow,
}

impl Checks {
    /// From two flags of the command line.
    #[must_use]
    pub const fn from_flags(selftest: bool, shadow: bool) -> Self {
        match (shadow, selftest) {
            (true, _) => Self::Shadow,
            (false, true) => Self::SelfTest,
            _ => Self::None,
        }
    }

    /// The feature of the kernel that it takes, after which its directory is named, and what it is called.
    const fn feature(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::None => None,
            Self::SelfTest => Some(("selftest", " with its self tests")),
            Self::Shadow => Some(("shadow", " with the shadow of translations")),
        }
    }
}

/// Builds kernel and programs in release mode. A kernel with checks has its own directory.
///
/// # Errors
/// What cargo reported.
pub fn all(checks: Checks) -> Result<Built> {
    let feature = checks.feature();
    println!("build: the kernel{} and the root programs", feature.map_or("", |(_, name)| name));
    let target = workspace::target();
    let mut programs = cargo(&target);
    for package in PROGRAMS {
        programs.args(["-p", package]);
    }
    process::run(&mut programs).context("a root program does not build")?;
    let directory = feature.map_or_else(|| target.clone(), |(feature, _)| target.join(feature));
    let mut kernel = cargo(&directory);
    kernel.args(["-p", "vela"]);
    if let Some((feature, _)) = feature {
        kernel.args(["--features", feature]);
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
