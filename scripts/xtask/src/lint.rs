//! `cargo xtask lint`: formatting, clippy and the rules of the house.
//!
//! Purpose: one line per check, then what was found, each with a place and what to do about it.
//! Invariants: every house rule is a pure function over a set of files, so that its tests feed it a violation; a run
//! goes through all checks before it fails. The unsafe ledger is rewritten, except in continuous integration
//! (`CI=true`), where an outdated one is a finding.
//! Concurrency: one check after the other.
//! Source: the layout limits and habits of the project; `docs` explains the rules to contributors.

use anyhow::{Result, bail};
use std::io::Write as _;
use std::path::Path;

pub mod code;
pub mod dependencies;
pub mod files;
pub mod forbidden;
pub mod header;
pub mod ledger;
pub mod length;
pub mod links;
pub mod manifest;
pub mod names;
pub mod optin;
pub mod ring0;
mod scope;
pub mod tokens;
pub mod tools;
pub mod unsafety;

/// A text file of the repository.
#[derive(Clone, Debug)]
pub struct Source {
    /// Path from the repository's root, with `/`.
    pub path: String,
    /// Contents.
    pub text: String,
}

/// One violation of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong and what to do.
    pub message: String,
}

impl Finding {
    /// A finding at a place.
    pub fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

/// What a check has to say.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What was measured; may be empty.
    pub note: String,
    /// The violations; none means the rule is kept.
    pub findings: Vec<Finding>,
}

/// A rule over files.
pub type Rule = fn(&[Source]) -> Report;

/// The rules that need nothing but the files.
pub const RULES: [(&str, Rule); 9] = [
    ("file length", length::check),
    ("module headers", header::check),
    ("unsafe opt-in", optin::check),
    ("unsafe arguments", unsafety::check),
    ("ring-0 code", ring0::check),
    ("forbidden words", forbidden::words),
    ("panics in ring 0", forbidden::panics),
    ("machine paths", names::check),
    ("links in the docs", links::check),
];

/// Runs all checks on the repository at `root`.
///
/// # Errors
/// When a rule is broken, or a tool cannot be started.
pub fn run(root: &Path) -> Result<()> {
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    let root = root.canonicalize()?;
    let sources = files::sources(&root)?;
    let mut broken = 0;
    let mut show = |name: &str, check: &dyn Fn() -> Result<Report>| -> Result<()> {
        print!("{name:<26}");
        std::io::stdout().flush()?;
        let report = check()?;
        let found = report.findings.len();
        let verdict = if found == 0 { "ok".to_owned() } else { format!("{found} found") };
        let note = if report.note.is_empty() { String::new() } else { format!(" ({})", report.note) };
        println!("{verdict}{note}");
        for Finding { path, line, message } in report.findings {
            println!("    {path}:{line}: {message}");
        }
        broken += usize::from(found > 0);
        Ok(())
    };
    for (name, rule) in RULES {
        show(name, &|| Ok(rule(&sources)))?;
    }
    show("unsafe ledger", &|| if ci { Ok(ledger::check(&sources)) } else { ledger::update(&root, &sources) })?;
    show("crates in ring 0", &|| Ok(dependencies::check(&dependencies::tree(&root)?, &root.to_string_lossy())))?;
    show("rustfmt", &|| tools::rustfmt(&root))?;
    for (name, arguments) in tools::CLIPPY {
        show(name, &|| tools::clippy(&root, arguments))?;
    }
    if broken > 0 {
        bail!("{broken} checks found something");
    }
    Ok(())
}
