//! What all cases share: the build, and machines made from it.
//!
//! Built once, before the first case; shared by the runner's threads.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context as _, Result, anyhow, bail};
use xtask::build::{self, Built, Checks};
use xtask::image::{Image, Module, Protocol};
use xtask::machine::{Machine, Media};
use xtask::run::Outcome;
use xtask::{guest, scenario};

/// The build under test.
pub struct Context {
    built: Built,
    checked: Mutex<Vec<(Checks, PathBuf)>>,
}

impl Context {
    /// Builds the kernel and the programs.
    ///
    /// # Errors
    /// What cargo reported.
    pub fn new() -> Result<Self> {
        Ok(Self { built: build::all(Checks::None)?, checked: Mutex::new(Vec::new()) })
    }

    /// The kernel's ELF file.
    pub fn kernel(&self) -> &Path {
        &self.built.kernel
    }

    /// A kernel with checks; built when first asked for.
    ///
    /// # Errors
    /// What cargo reported.
    pub fn checked_kernel(&self, checks: Checks) -> Result<PathBuf> {
        let mut checked = self.checked.lock().map_err(|_| anyhow!("the build failed in another case"))?;
        if let Some((_, kernel)) = checked.iter().find(|(which, _)| *which == checks) {
            return Ok(kernel.clone());
        }
        let kernel = build::all(checks)?.kernel;
        checked.push((checks, kernel.clone()));
        Ok(kernel)
    }

    /// The kernel with its self tests.
    ///
    /// # Errors
    /// What cargo reported.
    pub fn selftest_kernel(&self) -> Result<PathBuf> {
        self.checked_kernel(Checks::SelfTest)
    }

    /// One of the root programs, as a module.
    ///
    /// # Errors
    /// There is no such program.
    pub fn program(&self, name: &str) -> Result<Module> {
        Module::program(&self.built.program(name)?)
    }

    /// The file of a program for the bare machine.
    ///
    /// # Errors
    /// There is no such program.
    pub fn file(&self, name: &str) -> Result<PathBuf> {
        self.built.program(name)
    }

    /// A machine that boots `kernel` with the given modules and arguments.
    ///
    /// # Errors
    /// The image cannot be made.
    pub fn machine(&self, name: &str, kernel: &Path, modules: Vec<Module>, args: &[&str]) -> Result<Machine> {
        let kernel_args = std::iter::once("exit=0xf4").chain(args.iter().copied()).map(String::from).collect();
        let iso =
            Image { protocol: Protocol::Multiboot2, kernel: kernel.to_path_buf(), kernel_args, modules }.build()?;
        Ok(Machine { kernel: Some(kernel.to_path_buf()), ..Machine::new(name, Media::Iso(iso)) })
    }

    /// A machine that boots a scenario with its boot configuration, and programs to be ended as `NAME@MS`.
    ///
    /// # Errors
    /// The image cannot be made.
    pub fn configured(&self, scenario: &str, name: &str, kills: &[String]) -> Result<Machine> {
        let guest = guest::Options { script: true, ..guest::Options::default() };
        self.with_guest(scenario, name, kills, &guest)
    }

    /// The same with this guest.
    ///
    /// # Errors
    /// The image cannot be made.
    pub fn with_guest(&self, scenario: &str, name: &str, kills: &[String], guest: &guest::Options) -> Result<Machine> {
        let modules = scenario::find(scenario)?.modules(&self.built, kills, guest)?;
        self.machine(name, &self.built.kernel, modules, &[])
    }

    /// A machine that boots a guest's kernel, without Vela.
    ///
    /// # Errors
    /// The image cannot be made.
    pub fn direct(&self, name: &str, command_line: &str) -> Result<Machine> {
        Ok(Machine::new(name, Media::Iso(guest::Options::default().direct(command_line)?.build()?)))
    }

    /// A machine that boots a root program of the workspace.
    ///
    /// # Errors
    /// The image cannot be made.
    pub fn scenario(&self, name: &str, program: &str) -> Result<Machine> {
        self.machine(name, &self.built.kernel, vec![self.program(program)?], &[])
    }
}

/// Fails unless some line holds all the words.
///
/// # Errors
/// No such line; the error has the end of the log.
pub fn expect_line(outcome: &Outcome, words: &[&str]) -> Result<()> {
    if outcome.log.iter().any(|line| words.iter().all(|word| line.contains(word))) {
        return Ok(());
    }
    bail!("no line with {words:?}: {}", outcome.explain(30))
}

/// Fails unless the machine failed by itself (not by a time-out or a crash of
/// the emulator) and one line of its log holds all the words.
///
/// # Errors
/// Says what is different.
pub fn expect_failure(outcome: &Outcome, words: &[&str]) -> Result<()> {
    if outcome.passed {
        bail!("the machine passed, but had to fail: {}", outcome.explain(30));
    }
    expect_line(outcome, words)?;
    if !outcome.ended_itself {
        bail!("the machine did not end itself: {}", outcome.explain(30));
    }
    if !outcome.log.iter().any(|line| xtask::run::reports_failure(line)) {
        bail!("the machine did not report its failure: {}", outcome.explain(30));
    }
    Ok(())
}

/// The last line that is not empty.
///
/// # Errors
/// There is none.
pub fn last_line(outcome: &Outcome) -> Result<&str> {
    let line = outcome.log.iter().rev().find(|line| !line.trim().is_empty());
    line.map(String::as_str).context("the console printed nothing")
}
