//! Rules on words that must not appear: `static mut`, ignored tests, unfinished code, and panics in ring 0.
//!
//! Purpose: mutable statics are unsound to share, ignored tests protect nothing, stubs lie, and a panic in ring 0 is
//! a machine that stops; where a panic cannot be reached from input, a comment has to argue for it.
//! Invariants: strings, comments and attributes never count; test code may panic.
//! Concurrency: pure functions.
//! Source: the habits of the project's style guide.

use super::code::Code;
use super::files::{is_rust, shipped};
use super::{Finding, Report, Source};

/// Checks every Rust file for words that no code may contain.
#[must_use]
pub fn words(sources: &[Source]) -> Report {
    let mut report = Report::default();
    for source in sources.iter().filter(|source| is_rust(&source.path)) {
        let code = Code::new(&source.text);
        for (index, token) in code.tokens.iter().enumerate() {
            let message = if code.at(index, &["static", "mut"]) {
                "`static mut`; use an atomic, a cell behind a lock, or the core-local page"
            } else if code.at(index, &["todo", "!"]) || code.at(index, &["unimplemented", "!"]) {
                "unfinished code; finish it, or leave it out and list it as missing in the README"
            } else {
                continue;
            };
            report.findings.push(Finding::new(&source.path, token.line, message));
        }
        for attribute in &code.attributes {
            // Under Miri a test may be left out for its run time: it still runs everywhere else.
            let under_miri = code.at(attribute.start, &["#", "[", "cfg_attr", "(", "miri", ","]);
            if code.mentions(attribute, "ignore") && !under_miri {
                let message = "ignored test; make it pass or remove it";
                report.findings.push(Finding::new(&source.path, code.tokens[attribute.start].line, message));
            }
        }
    }
    report
}

/// Checks that every way to panic in ring 0 has an argument.
#[must_use]
pub fn panics(sources: &[Source]) -> Report {
    let mut report = Report::default();
    let mut argued = 0;
    for source in shipped(sources).into_iter().filter(|source| source.path.starts_with("hypervisor/")) {
        let code = Code::new(&source.text);
        for index in (0..code.tokens.len()).filter(|index| !code.tests[*index]) {
            let method = [".", "unwrap", "("];
            let found = code.at(index, &method) || code.at(index, &[".", "expect", "("]);
            let found = found || code.at(index, &["panic", "!"]) || code.at(index, &["unreachable", "!"]);
            if !found {
                continue;
            }
            match code.argument(index, "PANIC:") {
                Some(text) if !text.is_empty() => argued += 1,
                _ => {
                    let message = "may panic; return an error, or argue in a `// PANIC:` comment on the line above why \
                                   no input reaches it";
                    report.findings.push(Finding::new(&source.path, code.tokens[index].line, message));
                }
            }
        }
    }
    report.note = format!("{argued} argued for");
    report
}
