//! Rule: ring 0 stays small.
//!
//! Purpose: counts the lines of code that run in ring 0, per crate, against the limit the project has set itself.
//! Invariants: blank lines, comments, tests, build scripts and `boot/` do not count; a line counts once.
//! Concurrency: pure function.
//! Source: the layout limits of the project's plan.

use super::code::Code;
use super::files::shipped;
use super::{Finding, Report, Source, manifest};
use std::collections::BTreeMap;

/// Lines from which on the rule warns.
pub const WARN: usize = 9_000;
/// Lines from which on the rule fails.
pub const FAIL: usize = 16_650;

/// Checks the number of lines of code under `hypervisor/`.
#[must_use]
pub fn check(sources: &[Source]) -> Report {
    let packages = manifest::packages(sources);
    let mut crates: BTreeMap<String, usize> = BTreeMap::new();
    let mut add = |path: &str, lines: usize| {
        let name = manifest::owner(&packages, path).map_or_else(|| "no crate".to_owned(), manifest::name);
        *crates.entry(name).or_default() += lines;
    };
    let inside = |source: &Source| source.path.starts_with("hypervisor/");
    for source in shipped(sources).into_iter().filter(|source| inside(source)) {
        let code = Code::new(&source.text);
        add(&source.path, code.code_lines(|index| !code.tests[index]));
    }
    let assembly = |source: &&Source| source.path.ends_with(".s") || source.path.ends_with(".S");
    for source in sources.iter().filter(|source| inside(source)).filter(assembly) {
        add(&source.path, assembly_lines(&source.text));
    }
    let total: usize = crates.values().sum();
    let mut report = Report::default();
    let each: Vec<_> = crates.iter().map(|(name, lines)| format!("{name} {lines}")).collect();
    report.note = format!("{total} lines: {}", each.join(", "));
    if total >= FAIL {
        let message = format!("{total} lines of code in ring 0, the limit is {FAIL}; move policy to user level");
        report.findings.push(Finding::new("hypervisor", 1, message));
    } else if total >= WARN {
        report.note = format!("warning, the aim is at most {WARN}: {}", report.note);
    }
    report
}

/// Lines of assembly with something other than comments on them.
fn assembly_lines(text: &str) -> usize {
    let (mut lines, mut comment) = (0, false);
    for line in text.lines() {
        let mut rest = line;
        let mut code = false;
        while !rest.is_empty() {
            if comment {
                let end = rest.find("*/");
                comment = end.is_none();
                rest = end.map_or("", |end| &rest[end + 2..]);
            } else {
                let marks = ["//", "#", "/*"];
                let start = marks.iter().filter_map(|mark| rest.find(mark)).min().unwrap_or(rest.len());
                code |= !rest[..start].trim().is_empty();
                comment = rest[start..].starts_with("/*");
                rest = if comment { &rest[start + 2..] } else { "" };
            }
        }
        lines += usize::from(code);
    }
    lines
}
