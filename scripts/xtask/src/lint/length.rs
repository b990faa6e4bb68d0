//! Rule: short files.
//!
//! Purpose: no file over 600 lines, and half of the Rust files at or below 150, so that one file is one concept.
//! Invariants: lines are raw lines, tests and comments included.
//! Concurrency: pure function.
//! Source: the layout limits of the project's plan.

use super::{Finding, Report, Source};

/// Most lines of any file.
pub const CAP: usize = 600;
/// Most lines of the median Rust file.
pub const MEDIAN: usize = 150;

const KINDS: [&str; 6] = [".rs", ".s", ".S", ".ld", ".py", ".sh"];

/// Checks the length of every source file and the median of the Rust files.
#[must_use]
pub fn check(sources: &[Source]) -> Report {
    let mut report = Report::default();
    let mut lengths = Vec::new();
    for source in sources.iter().filter(|source| KINDS.iter().any(|kind| source.path.ends_with(kind))) {
        let length = source.text.lines().count();
        if source.path.ends_with(".rs") {
            lengths.push(length);
        }
        if length > CAP {
            let message = format!("{length} lines, at most {CAP} are allowed; split the file by concept");
            report.findings.push(Finding::new(&source.path, length, message));
        }
    }
    lengths.sort_unstable();
    let median = lengths.get(lengths.len() / 2).copied().unwrap_or(0);
    let longest = lengths.last().copied().unwrap_or(0);
    report.note = format!("{} Rust files, median {median} lines, longest {longest}", lengths.len());
    if median > MEDIAN {
        let message = format!("the median Rust file has {median} lines, at most {MEDIAN} are allowed; split some");
        report.findings.push(Finding::new("Cargo.toml", 1, message));
    }
    report
}
