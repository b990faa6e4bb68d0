//! Rule: links in the documentation lead somewhere.
//!
//! Purpose: every relative link in a Markdown file names a file or directory that a fresh clone has.
//! Invariants: links in code spans and code blocks do not count; links to other sites are not visited.
//! Concurrency: pure function.
//! Source: CommonMark 0.31, §6.3 (links) and §4.7 (link reference definitions).

use super::files::directory;
use super::{Finding, Report, Source};
use std::collections::BTreeSet;

/// Checks the relative links of all `.md` files.
#[must_use]
pub fn check(sources: &[Source]) -> Report {
    let mut known = BTreeSet::new();
    for source in sources {
        let ends = source.path.match_indices('/').map(|(at, _)| at).chain([source.path.len()]);
        known.extend(ends.map(|end| &source.path[..end]));
    }
    let mut report = Report::default();
    let mut links = 0;
    for source in sources.iter().filter(|source| source.path.ends_with(".md")) {
        for (line, target) in targets(&source.text) {
            let path = target.split('#').next().unwrap_or_default();
            let elsewhere = target.contains("://") || target.starts_with("mailto:");
            if elsewhere || (path.is_empty() && !target.is_empty()) {
                continue;
            }
            links += 1;
            let there = resolve(&source.path, path);
            if target.is_empty() || !there.as_deref().is_some_and(|there| there.is_empty() || known.contains(there)) {
                let message = format!("the link to `{target}` leads nowhere; correct it, or add the file");
                report.findings.push(Finding::new(&source.path, line, message));
            }
        }
    }
    report.note = format!("{links} relative links");
    report
}

/// Line and target of each link outside code.
fn targets(text: &str) -> Vec<(usize, String)> {
    let (mut found, mut fence) = (Vec::new(), None);
    for (number, line) in text.lines().enumerate() {
        let start = line.trim_start();
        if let Some(mark) = ["```", "~~~"].into_iter().find(|mark| start.starts_with(mark)) {
            fence = if fence.is_none() { Some(mark) } else { fence.filter(|open| *open != mark) };
            continue;
        }
        if fence.is_some() {
            continue;
        }
        // Every second piece is a code span.
        let prose: Vec<_> = line.split('`').step_by(2).collect();
        let prose = prose.join("`");
        for (at, _) in prose.match_indices("](") {
            found.extend(target(&prose[at + 2..], ')').map(|target| (number + 1, target)));
        }
        let defines = start.starts_with('[') && !start.starts_with("[^");
        let after = prose.split_once(']').filter(|_| defines).and_then(|(_, after)| after.strip_prefix(": "));
        found.extend(after.and_then(|rest| target(rest, ' ')).map(|target| (number + 1, target)));
    }
    found
}

/// The target at the start of `text`, without angle brackets and title.
fn target(text: &str, end: char) -> Option<String> {
    if let Some(rest) = text.strip_prefix('<') {
        return rest.split_once('>').map(|(target, _)| target.to_owned());
    }
    text.split([end, ' ']).next().map(str::to_owned)
}

/// `path` as seen from `file`, as a path from the root; `None` if it leaves the repository.
fn resolve(file: &str, path: &str) -> Option<String> {
    let base = if path.starts_with('/') { "" } else { directory(file) };
    let mut parts = Vec::new();
    for part in base.split('/').chain(path.split('/')).filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop()?;
        } else {
            parts.push(part);
        }
    }
    Some(parts.join("/"))
}
