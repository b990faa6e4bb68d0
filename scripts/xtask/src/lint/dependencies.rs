//! Rule: few crates in ring 0, and no stranger among them.
//!
//! Purpose: reads the dependency tree of the kernel; crates of the repository may name only the given third-party
//! crates, and what these bring along is listed.
//! Invariants: crates of the repository are those whose directory lies under its root.
//! Concurrency: pure function over the tree; [`tree`] runs cargo.
//! Source: the layout limits of the project's plan; `cargo tree --prefix depth`.

use super::{Finding, Report};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Third-party crates that ring 0 may name.
pub const GIVEN: [&str; 7] = ["acpi", "arrayvec", "bitflags", "multiboot2", "raw-cpuid", "spin", "x86"];
/// Most crates of the repository in ring 0.
pub const CRATES: usize = 20;

/// Where a crate of the tree comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The repository.
    Ours,
    /// Elsewhere, and it is linked into the kernel.
    ThirdParty,
    /// Elsewhere, and it runs in the compiler: a procedural macro, or what one needs.
    Compiler,
}

/// The tree of package `vela`, one line per crate, each with its depth in front.
///
/// # Errors
/// When cargo cannot be started or refuses.
pub fn tree(root: &Path) -> Result<String> {
    let arguments =
        "tree --package vela --target x86_64-unknown-none --all-features --edges normal --prefix depth --no-dedupe";
    let output = Command::new("cargo")
        .args(arguments.split(' '))
        .current_dir(root)
        .output()
        .context("cargo could not be started")?;
    ensure!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Checks the tree of a kernel whose repository is at `root`.
#[must_use]
pub fn check(tree: &str, root: &str) -> Report {
    let mut report = Report::default();
    let [mut own, mut named, mut brought, mut tools] = <[BTreeSet<&str>; 4]>::default();
    // The crates on the way from the root of the tree to the current line.
    let mut way: Vec<(&str, Origin)> = Vec::new();
    for line in tree.lines() {
        let digits = line.bytes().take_while(u8::is_ascii_digit).count();
        let Ok(depth) = line[..digits].parse::<usize>() else { continue };
        let name = line[digits..].split(' ').next().unwrap_or_default();
        way.truncate(depth);
        let above = way.last().copied();
        let origin = if line.split_once('(').is_some_and(|(_, place)| place.starts_with(&format!("{root}/"))) {
            Origin::Ours
        } else if line.contains("(proc-macro)") || above.is_some_and(|(_, origin)| origin == Origin::Compiler) {
            Origin::Compiler
        } else {
            Origin::ThirdParty
        };
        way.push((name, origin));
        match (origin, above) {
            (Origin::Ours, _) => own.insert(name),
            (_, Some((above, Origin::Ours))) if !GIVEN.contains(&name) => {
                let message = format!("`{above}` depends on `{name}`; ring 0 may name only {}", GIVEN.join(", "));
                report.findings.push(Finding::new("Cargo.lock", 1, message));
                false
            }
            (Origin::Compiler, _) => tools.insert(name),
            (Origin::ThirdParty, Some((_, Origin::Ours))) => named.insert(name),
            (Origin::ThirdParty, _) => brought.insert(name),
        };
    }
    if own.len() > CRATES {
        let message = format!("{} crates of our own in ring 0, at most {CRATES} are allowed; merge some", own.len());
        report.findings.push(Finding::new("Cargo.toml", 1, message));
    }
    let list = |names: &BTreeSet<&str>| names.iter().copied().collect::<Vec<_>>().join(", ");
    brought.retain(|name| !named.contains(name));
    report.findings.dedup();
    report.note = format!("{} of our own; third-party: {}", own.len(), list(&named));
    for (what, names) in [("they bring", &brought), ("in the compiler", &tools)] {
        if !names.is_empty() {
            report.note.push_str(&format!("; {what}: {}", list(names)));
        }
    }
    report
}
