//! The unsafe ledger: every place where unsafe code is trusted, with the argument for it.
//!
//! Purpose: renders `docs/src/unsafe-ledger.md`, so that a reviewer sees growth of unsafe code in a diff of one page.
//! Invariants: the page depends on unsafe code only; places are named by file and function, not by line, so that
//! edits elsewhere leave it alone.
//! Concurrency: pure functions; [`update`] writes the page.
//! Source: the arguments themselves, read by [`super::unsafety`].

use super::code::Code;
use super::files::{is_rust, is_test};
use super::optin::opt_ins;
use super::unsafety::{Site, Use, sites};
use super::{Finding, Report, Source, manifest};
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

/// Where the page stands.
pub const PAGE: &str = "docs/src/unsafe-ledger.md";

const PREFACE: &str = "\
# Unsafe ledger

`cargo xtask lint` writes this page from the `// UNSAFETY:` and `// SAFETY:` comments; do not edit it. Crates that are
not listed contain no unsafe code. *Promises* are implementations of unsafe traits, foreign declarations and unsafe
attributes; *contracts* are functions and traits with duties for the other side; *lines* are lines of code inside unsafe
blocks.
";

/// What one crate adds to the page.
#[derive(Default)]
struct Entry {
    reasons: BTreeSet<String>,
    files: Vec<(String, Vec<Site>)>,
}

impl Entry {
    fn count(&self, wanted: impl Fn(Use) -> bool) -> usize {
        self.files.iter().flat_map(|(_, sites)| sites).filter(|site| wanted(site.kind)).count()
    }

    fn lines(&self) -> usize {
        self.files.iter().flat_map(|(_, sites)| sites).map(|site| site.lines).sum()
    }
}

/// The page for these sources.
#[must_use]
pub fn render(sources: &[Source]) -> String {
    let entries = entries(sources);
    let mut page = PREFACE.to_owned();
    page.push_str("\n| crate | why it needs unsafe code | blocks | promises | contracts | lines |\n");
    page.push_str("|---|---|---:|---:|---:|---:|\n");
    for (name, entry) in &entries {
        let reasons = entry.reasons.iter().map(|reason| reason.replace('|', "\\|")).collect::<Vec<_>>().join("; ");
        let blocks = entry.count(|kind| kind == Use::Block);
        let contracts = entry.count(Use::is_contract);
        let promises = entry.count(|_| true) - blocks - contracts;
        let lines = entry.lines();
        // Writing to a string cannot fail.
        let _ = writeln!(page, "| `{name}` | {reasons} | {blocks} | {promises} | {contracts} | {lines} |");
    }
    for (name, entry) in &entries {
        let _ = writeln!(page, "\n## `{name}`");
        for (path, sites) in &entry.files {
            let _ = writeln!(page, "\n`{path}`\n");
            for site in sites.iter().filter(|site| !site.kind.is_contract()) {
                let scope = if site.scope.is_empty() { "top level" } else { &site.scope };
                let kind = if site.kind == Use::Block { String::new() } else { format!(" ({})", site.kind.name()) };
                let test = if site.test || is_test(path) { " (test)" } else { "" };
                let argument = site.argument.as_deref().unwrap_or("**no argument**");
                let _ = writeln!(page, "- `{scope}`{kind}{test}: {argument}");
            }
            let contracts = sites.iter().filter(|site| site.kind.is_contract()).count();
            if contracts > 0 {
                let _ = writeln!(page, "- contracts: {contracts}");
            }
        }
    }
    page
}

fn entries(sources: &[Source]) -> BTreeMap<String, Entry> {
    let packages = manifest::packages(sources);
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    for source in sources.iter().filter(|source| is_rust(&source.path)) {
        let Some(package) = manifest::owner(&packages, &source.path) else { continue };
        let code = Code::new(&source.text);
        let (sites, opt_ins) = (sites(&code), opt_ins(&code));
        if sites.is_empty() && opt_ins.is_empty() {
            continue;
        }
        let entry = entries.entry(manifest::name(package)).or_default();
        entry.reasons.extend(opt_ins.into_iter().filter_map(|opt_in| opt_in.reason));
        if !sites.is_empty() {
            entry.files.push((source.path.clone(), sites));
        }
    }
    entries
}

/// Says whether the page is up to date.
#[must_use]
pub fn check(sources: &[Source]) -> Report {
    let mut report = Report::default();
    let entries = entries(sources);
    let blocks: usize = entries.values().map(|entry| entry.count(|kind| kind == Use::Block)).sum();
    let lines: usize = entries.values().map(Entry::lines).sum();
    report.note = format!("{blocks} blocks with {lines} lines in {} crates", entries.len());
    if sources.iter().find(|source| source.path == PAGE).map(|source| &source.text) != Some(&render(sources)) {
        let message = "out of date; run `cargo xtask lint` and commit the page";
        report.findings.push(Finding::new(PAGE, 1, message));
    }
    report
}

/// Writes the page if it is out of date.
///
/// # Errors
/// When the page cannot be written.
pub fn update(root: &Path, sources: &[Source]) -> Result<Report> {
    let mut report = check(sources);
    if !report.findings.is_empty() {
        report.findings.clear();
        let page = root.join(PAGE);
        page.parent().map_or(Ok(()), std::fs::create_dir_all).with_context(|| format!("no directory for {PAGE}"))?;
        std::fs::write(&page, render(sources)).with_context(|| format!("{PAGE} cannot be written"))?;
        report.note.push_str(&format!("; {PAGE} rewritten, commit it"));
    }
    Ok(report)
}
