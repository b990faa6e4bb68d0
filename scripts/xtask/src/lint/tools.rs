//! Rules that other tools check: rustfmt and clippy.
//!
//! Purpose: runs them and turns what they print into findings, so that all complaints look the same.
//! Invariants: a tool that fails without a complaint we can read is a finding with the end of its output.
//! Concurrency: one tool at a time; cargo uses all cores by itself.
//! Source: `cargo fmt --help`, `cargo clippy --help`.

use super::{Finding, Report};
use anyhow::{Context, Result};
use std::path::Path;
use std::process::{Command, Output};

/// Clippy's runs: what is checked, and the arguments.
pub const CLIPPY: [(&str, &str); 4] = [
    (
        "clippy, host",
        "--workspace --exclude vela --exclude services --exclude demos --exclude conformance --exclude micro-guests --all-targets",
    ),
    (
        "clippy, bare metal",
        "-p vela -p rt -p root -p services -p vmm -p bench -p demos -p conformance -p micro-guests --target x86_64-unknown-none",
    ),
    ("clippy, self-test kernel", "-p vela --features selftest --target x86_64-unknown-none"),
    ("clippy, shadowed kernel", "-p vela --features shadow --target x86_64-unknown-none"),
];

fn cargo(root: &Path, arguments: &str) -> Result<Output> {
    let mut command = Command::new("cargo");
    command.args(arguments.split(' ')).current_dir(root);
    command.output().with_context(|| format!("cargo {arguments} could not be started"))
}

/// Runs rustfmt over the workspace at `root`.
///
/// # Errors
/// When cargo cannot be started.
pub fn rustfmt(root: &Path) -> Result<Report> {
    let output = cargo(root, "fmt --all -- --check -l")?;
    let prefix = format!("{}/", root.display());
    let mut report = Report::default();
    for line in String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.ends_with(".rs")) {
        let path = line.strip_prefix(&prefix).unwrap_or(line);
        report.findings.push(Finding::new(path, 1, "not formatted; run `cargo fmt --all`"));
    }
    report.findings.dedup_by(|a, b| a.path == b.path);
    Ok(or_failure(report, &output, "cargo fmt"))
}

/// Runs clippy at `root` with the given arguments and warnings as errors.
///
/// # Errors
/// When cargo cannot be started.
pub fn clippy(root: &Path, arguments: &str) -> Result<Report> {
    let output = cargo(root, &format!("clippy --keep-going --message-format=short {arguments} -- -D warnings"))?;
    let mut report = Report::default();
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        report.findings.extend(complaint(line));
    }
    report.findings.sort();
    report.findings.dedup();
    Ok(or_failure(report, &output, "cargo clippy"))
}

/// Reads `path:line:column: error: message`.
fn complaint(line: &str) -> Option<Finding> {
    let mut parts = line.splitn(4, ':');
    let (path, number, _) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
    let message = parts.next()?.trim();
    let told = ["error", "warning"].iter().any(|level| message.starts_with(level));
    told.then(|| Finding::new(path, number, message))
}

/// Adds the end of the output if the tool failed and no finding says why.
fn or_failure(mut report: Report, output: &Output, tool: &str) -> Report {
    if !output.status.success() && report.findings.is_empty() {
        let text = String::from_utf8_lossy(&output.stderr);
        let end: Vec<_> = text.trim().lines().rev().take(5).collect();
        let end = end.into_iter().rev().collect::<Vec<_>>().join(" | ");
        report.findings.push(Finding::new("Cargo.toml", 1, format!("{tool} failed: {end}")));
    }
    report
}
