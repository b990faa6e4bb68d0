//! Rule: nothing of the machine that a file was written on.
//!
//! Purpose: a path of somebody's home or build directory works nowhere else, and tells more than it should.
//! Invariants: the patterns are put together here, so that this file does not contain them.
//! Concurrency: pure function.
//! Source: the project's rules on names.

use super::{Finding, Report, Source};

/// Checks every file for absolute paths of a machine, and the lock file for other registries than crates.io.
#[must_use]
pub fn check(sources: &[Source]) -> Report {
    let patterns = ["work/", "home/", "Users/", "root/."].map(|place| format!("/{place}"));
    let public = "registry+https://github.com/rust-lang/crates.io-index";
    let mut report = Report::default();
    for source in sources {
        for (number, line) in source.text.lines().enumerate() {
            if let Some(pattern) = patterns.iter().find(|pattern| begins(line, pattern)) {
                let message =
                    format!("names a place of one machine ({pattern}); write a path relative to the repository");
                report.findings.push(Finding::new(&source.path, number + 1, message));
            }
            let foreign = line.strip_prefix("source = \"").is_some_and(|origin| !origin.starts_with(public));
            if source.path.ends_with("Cargo.lock") && foreign {
                let message = "comes from elsewhere than crates.io; a fresh clone could not build it";
                report.findings.push(Finding::new(&source.path, number + 1, message));
            }
        }
    }
    report.note = format!("{} files", sources.len());
    report
}

/// Whether an absolute path in `line` begins with `pattern`.
fn begins(line: &str, pattern: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || ['_', '-', '.', '/', '}', '~'].contains(&c);
    line.match_indices(pattern).any(|(at, _)| !line[..at].ends_with(inside))
}
