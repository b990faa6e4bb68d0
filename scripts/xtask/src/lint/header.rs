//! Rule: every module says what it is for.
//!
//! Purpose: a reader learns purpose, invariants, concurrency and source of a module from its first lines.
//! Invariants: only attributes, ordinary comments, blank lines and a line for the shell may stand above the header.
//! Concurrency: pure function.
//! Source: the habits of the project's style guide; the labels are those of `include/src/address.rs`.

use super::files::{is_build_script, is_rust, is_test};
use super::tokens::{Kind, tokens};
use super::{Finding, Report, Source};

/// Least lines of text in the header of a library module.
pub const LINES: usize = 3;

/// What a header in ring 0 must contain.
pub const LABELS: [&str; 3] = ["Invariants:", "Concurrency:", "Source:"];

/// Checks the header of every Rust file.
#[must_use]
pub fn check(sources: &[Source]) -> Report {
    let mut report = Report::default();
    let mut files = 0;
    for source in sources.iter().filter(|source| is_rust(&source.path)) {
        files += 1;
        if let Some(message) = complaint(source) {
            report.findings.push(Finding::new(&source.path, 1, message));
        }
    }
    report.note = format!("{files} files");
    report
}

/// What is wrong with the header of `source`, if anything.
fn complaint(source: &Source) -> Option<String> {
    let header = header(&source.text);
    let program = source.path.contains("/src/bin/") || source.path.ends_with("/src/main.rs");
    let ring0 = source.path.starts_with("hypervisor/");
    if is_build_script(&source.path) || is_test(&source.path) || (program && !ring0) {
        return header.is_empty().then(|| "no `//!` header; say in one line what the file is for".to_owned());
    }
    if ring0 {
        let missing: Vec<_> =
            LABELS.into_iter().filter(|label| !header.iter().any(|line| line.contains(label))).collect();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Some(format!("the `//!` header of a ring-0 module needs the labels {missing}"));
        }
        if LABELS.iter().any(|label| header[0].starts_with(label)) {
            return Some("the `//!` header must begin with what the module is for".to_owned());
        }
    }
    let lines = header.len();
    (lines < LINES).then(|| {
        format!(
            "the `//!` header has {lines} lines of text, at least {LINES} are wanted: purpose, invariants, \
                 concurrency, source"
        )
    })
}

/// The lines of text of the header, without their marks.
fn header(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut depth = 0usize;
    for token in tokens(text) {
        match token.kind {
            Kind::Comment => lines.extend(token.text.strip_prefix("//!").map(str::trim)),
            // Inner attributes, which may stand before the header.
            Kind::Mark if ["#", "!"].contains(&token.text) => {}
            Kind::Mark if token.text == "[" => depth += 1,
            Kind::Mark if token.text == "]" && depth > 0 => depth -= 1,
            _ if depth > 0 => {}
            _ => break,
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}
