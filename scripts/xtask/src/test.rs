//! Everything a change needs: host tests, models, Miri, the running system.
//!
//! Each step is a command that prints its results; the tool shows what is not
//! plain success, counts the tests and times the step. A step that fails
//! without a failed test (it did not build) counts as one failure.

use std::ops::AddAssign;
use std::process::{Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::run::console::follow;
use crate::{mutants, process, toolchain, workspace};

/// Crates with unsafe code that can run on the host, tested under Miri.
/// A crate whose unsafe code is assembly or fixed addresses cannot.
const MIRI: &[&str] = &["firmware", "objects"];

/// How long a step may be silent before the tool says that it still runs.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// How much is tested.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Tier {
    /// What a change needs.
    Fast,
    /// The above and what takes long.
    Full,
}

impl Tier {
    /// How many steps a device fuzzer takes.
    fn steps(self) -> u64 {
        match self {
            Self::Fast => 100_000,
            Self::Full => 1_000_000,
        }
    }

    /// How long one step may take, builds included, on two slow cores with other work: more than its cases together, so that a
    /// case that hangs is ended by its own limit, and said to hang.
    fn limit(self) -> Duration {
        match self {
            Self::Fast => Duration::from_secs(3600),
            Self::Full => Duration::from_secs(14_400),
        }
    }
}

/// How many tests passed and failed.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Passed.
    pub passed: u32,
    /// Failed.
    pub failed: u32,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// A checker of interleavings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checker {
    /// All executions, with bounds.
    Loom,
    /// A sample of executions.
    Shuttle,
    /// A processor in software: no checker, random programs and small ones in all orders.
    Software,
}

impl Checker {
    /// The command that runs the tests of `packages` whose names contain one of `filters`.
    #[must_use]
    pub fn command(self, packages: &[&str], filters: &[&str]) -> Command {
        let name = match self {
            Self::Loom => "loom",
            Self::Shuttle => "shuttle",
            Self::Software => "software",
        };
        let mut command = Command::new("cargo");
        command.args(["test", "--release", "--quiet", "--no-fail-fast", "--lib", "--target-dir"]);
        command.arg(workspace::target().join(name)).env("RUSTFLAGS", format!("--cfg {name}"));
        // What is run for seconds need not be linked for a minute.
        command.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
        packages.iter().for_each(|package| _ = command.args(["-p", package]));
        command.arg("--").args(filters);
        command
    }
}

/// `models` instead of a filter: the models alone.
const MODELS: &str = "models";
/// `mutants` instead of a filter: whether the models notice changes of the code.
const MUTANTS: &str = "mutants";
/// `vm` instead of a filter: virtual machines.
const VM: &str = "vm";
/// The cases of the running system that are about virtual machines.
const VM_CASES: [&str; 2] = ["vm-", "kernel-guests"];

/// `memory` instead of a filter: delegation, tables and the shootdown, but for their models.
const MEMORY: &str = "memory";
/// The cases of the running system that are about these.
const MEMORY_CASES: [&str; 19] = [
    "kernel-shootdown",
    "kernel-hunter",
    "provoke-no-flush",
    "shadow",
    "kernel-items",
    "kernel-ports",
    "kernel-helping",
    "kernel-preemption",
    "kernel-regions",
    "kernel-flushes",
    "kernel-domains",
    "kernel-shortage",
    "kernel-quota",
    "kernel-reserve",
    "kernel-views",
    "kernel-lifetimes",
    "kernel-churn",
    "conformance-qemu",
    "layout",
];

/// A step: its name and its command.
type Step = (&'static str, Command);

/// Runs the steps and prints `N passed, N failed` as the last line.
///
/// # Errors
/// A test failed, or `filter` fits none.
pub fn run(filter: Option<&str>, tier: Tier) -> Result<()> {
    if filter == Some(MUTANTS) {
        return finish(mutants::run()?);
    }
    let steps = match filter {
        Some(VM) => machines(tier),
        Some(MEMORY) => memory(tier),
        Some(MODELS) => models(),
        None => models().into_iter().chain([fuzzers(tier)]).chain(everything(None, tier)).collect(),
        Some(_) => everything(filter, tier),
    };
    let mut total = Counts::default();
    let count = steps.len();
    let mut failures = Vec::new();
    for (number, (name, mut command)) in steps.into_iter().enumerate() {
        println!("test: [{}/{count}] {name}", number + 1);
        let start = Instant::now();
        let mut failed = Vec::new();
        let counts = counted(&mut command, tier.limit(), &mut failed)?;
        println!("test: [{}/{count}] {name}: {counts} in {:.1} s", number + 1, start.elapsed().as_secs_f64());
        if counts.failed > 0 {
            failures.push((name, failed));
        }
        total += counts;
    }
    for (name, failed) in &failures {
        println!("test: failures in: {name}");
        failed.iter().for_each(|line| println!("  {line}"));
    }
    if total == Counts::default() {
        bail!("no test has a name with {:?}", filter.unwrap_or_default());
    }
    if tier == Tier::Full && filter.is_none() {
        println!("test: mutants of what the models check");
        total += mutants::run()?;
    }
    finish(total)
}

fn models() -> Vec<Step> {
    vec![
        ("models under loom", Checker::Loom.command(&["memory", "schedule", "sync", "models"], &LOOM)),
        ("models under shuttle", Checker::Shuttle.command(&["schedule", "models"], &SHUTTLE)),
    ]
}

fn everything(filter: Option<&str>, tier: Tier) -> Vec<Step> {
    vec![
        ("host tests", host(filter)),
        ("host tests under Miri", miri(filter)),
        ("the running system", system(filter.as_slice(), tier)),
    ]
}

/// What concerns virtual machines: the monitor and its device models, their fuzzers, guests on both kinds of processor.
fn machines(tier: Tier) -> Vec<Step> {
    let mut crates = Command::new("cargo");
    crates.args(["test", "--no-fail-fast", "-p", "vmm", "-p", "vm-*", "-p", "device-fuzz"]);
    vec![("monitor and device models", crates), fuzzers(tier), ("guests", system(&VM_CASES, tier))]
}

/// What concerns memory: delegation, tables, the shootdown.
fn memory(tier: Tier) -> Vec<Step> {
    let mut crates = Command::new("cargo");
    crates.args(["test", "--no-fail-fast", "-p", "memory", "-p", "capability", "-p", "models"]);
    vec![
        ("delegation, tables, shootdown", crates),
        ("page tables under Miri", tables_under_miri()),
        ("memory in the running system", system(&MEMORY_CASES, tier)),
    ]
}

fn fuzzers(tier: Tier) -> Step {
    let mut command = Command::new("cargo");
    command.args(["run", "--quiet", "-p", "device-fuzz", "--", "--steps", &tier.steps().to_string()]);
    ("device fuzzers", command)
}

fn finish(total: Counts) -> Result<()> {
    println!("{total}");
    if total.failed > 0 {
        // The last line is the count; the status says the rest.
        std::process::exit(1);
    }
    Ok(())
}

/// What is checked under loom, and under shuttle.
const LOOM: [&str; 8] =
    ["quota::", "inbox::", "counter::", "requests::", "count::", "hazards::", "gate::", "shootdown::"];
const SHUTTLE: [&str; 2] = ["inbox::", "shootdown::"];

fn host(filter: Option<&str>) -> Command {
    let mut command = Command::new("cargo");
    command.args(["test", "--no-fail-fast"]).args(filter);
    command
}

fn miri(filter: Option<&str>) -> Command {
    let mut command = under_miri("-Zmiri-strict-provenance");
    for package in MIRI {
        command.args(["-p", package]);
    }
    command.args(filter);
    command
}

/// Page tables over an arena: safe code, a case of each property.
fn tables_under_miri() -> Command {
    // What proptest looks for in the environment and beside the sources.
    let mut command = under_miri("-Zmiri-strict-provenance -Zmiri-disable-isolation");
    command.env("PROPTEST_CASES", "1").args(["-p", "memory", "--", "table::", "format::", "mmu::", "space::"]);
    command
}

fn under_miri(flags: &str) -> Command {
    let mut command = toolchain::nightly();
    command.args(["cargo", "miri", "test", "--no-fail-fast", "--lib", "--target-dir"]);
    command.arg(workspace::target().join("miri")).env("MIRIFLAGS", flags);
    command
}

fn system(filters: &[&str], tier: Tier) -> Command {
    let mut command = Command::new("cargo");
    command.args(["run", "--quiet", "-p", "system-tests", "--"]).args(filters);
    if tier == Tier::Full {
        command.args(["--tier", "full"]);
    }
    command
}

/// Runs a command that prints test results; shows what matters and counts.
/// A command that takes longer than `limit` is ended, which is a failure. The lines that name a failed test go to `failed` too.
fn counted(command: &mut Command, limit: Duration, failed: &mut Vec<String>) -> Result<Counts> {
    let text = process::line(command);
    command.current_dir(workspace::root()).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start `{text}`"))?;
    let output = follow(child.stdout.take().context("no output")?, None);
    let start = Instant::now();
    let mut counts = Counts::default();
    let mut running = Vec::new();
    loop {
        match output.recv_timeout(SIGN_OF_LIFE) {
            Ok(line) => match summary(&line) {
                Some(found) => counts += found,
                None if is_noise(&line) => {}
                None => {
                    println!("  {line}");
                    if names_failure(&line) {
                        failed.push(line);
                    }
                }
            },
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => println!("  ({} s so far)", start.elapsed().as_secs()),
        }
        if start.elapsed() > limit {
            println!("  `{text}` did not end within {} s", limit.as_secs());
            running = process::descendants(child.id());
            running.push(child.id());
            break;
        }
    }
    process::kill(&running);
    let status = child.wait().with_context(|| format!("cannot wait for `{text}`"))?;
    if !status.success() && counts.failed == 0 {
        println!("  `{text}` failed ({status})");
        counts.failed = 1;
    }
    Ok(counts)
}

/// The counts of a summary line: of cargo's test harness, or of the system tests.
fn summary(line: &str) -> Option<Counts> {
    let of_cargo = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")).map(|(_, rest)| rest);
    let (passed, rest) = of_cargo.unwrap_or(line).split_once(" passed")?;
    let rest = rest.strip_prefix("; ").or_else(|| rest.strip_prefix(", "))?;
    let (failed, _) = rest.split_once(" failed")?;
    Some(Counts { passed: passed.parse().ok()?, failed: failed.parse().ok()? })
}

/// Lines that say which test failed: of cargo's test harness, or a system test's last words.
fn names_failure(line: &str) -> bool {
    line.starts_with("failed: ") || (line.starts_with("test ") && line.ends_with(" ... FAILED"))
}

/// Lines of cargo's test harness that say only that all is well.
fn is_noise(line: &str) -> bool {
    let heading = line.starts_with("running ") && (line.ends_with(" tests") || line.ends_with(" test"));
    line.trim().is_empty() || heading || (line.starts_with("test ") && line.ends_with(" ... ok"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_summary_are_counted_and_nothing_else() {
        let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(summary(line), Some(Counts { passed: 12, failed: 3 }));
        assert_eq!(summary("7 passed, 0 failed"), Some(Counts { passed: 7, failed: 0 }));
        assert_eq!(summary("test a::b ... ok"), None);
        assert_eq!(summary("some passed, few failed"), None);
    }

    #[test]
    fn failures_are_shown_and_successes_are_not() {
        assert!(is_noise("test a::b ... ok"));
        assert!(is_noise("running 12 tests"));
        assert!(!is_noise("test a::b ... FAILED"));
        assert!(!is_noise("thread 'a' panicked at x.rs:1"));
    }

    #[test]
    fn a_step_that_fails_without_a_failed_test_counts_as_a_failure() {
        let mut failed = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "echo 2 passed, 0 failed; exit 1"]);
        let counts = counted(&mut command, SIGN_OF_LIFE, &mut failed);
        assert!(counts.is_ok_and(|counts| counts == Counts { passed: 2, failed: 1 }));
        assert!(failed.is_empty());
    }

    #[test]
    fn lines_that_name_a_failed_test_are_kept_for_the_end() {
        let mut failed = Vec::new();
        let mut command = Command::new("printf");
        command.arg("test a ... ok\\ntest b ... FAILED\\nfailed: c: late\\n1 passed, 2 failed\\n");
        let counts = counted(&mut command, SIGN_OF_LIFE, &mut failed);
        assert!(counts.is_ok_and(|counts| counts == Counts { passed: 1, failed: 2 }));
        assert_eq!(failed, ["test b ... FAILED", "failed: c: late"]);
    }

    #[test]
    fn a_step_that_does_not_end_is_ended_and_counts_as_a_failure() {
        let start = Instant::now();
        let mut command = Command::new("sh");
        command.args(["-c", "echo 1 passed, 0 failed; while true; do sleep 0.1; echo on; done"]);
        let counts = counted(&mut command, Duration::from_millis(300), &mut Vec::new());
        assert!(counts.is_ok_and(|counts| counts == Counts { passed: 1, failed: 1 }));
        assert!(start.elapsed() < Duration::from_secs(20));
    }
}
