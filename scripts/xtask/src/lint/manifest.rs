//! As much of Cargo's manifests as the rules read.
//!
//! Purpose: sections with their keys, and which package a file belongs to, without a TOML parser.
//! Invariants: one key per line, as everywhere in this repository; a list may go over several lines.
//! Concurrency: pure functions over borrowed text.
//! Source: The Cargo Book, chapter "The Manifest Format".

use super::Source;
use super::files::directory;

/// The value of `key` in `[section]`, a list over several lines joined into one.
#[must_use]
pub fn value(text: &str, section: &str, key: &str) -> Option<String> {
    let heading = format!("[{section}]");
    let mut lines = text.lines().map(|line| line.split(" #").next().unwrap_or(line).trim());
    lines.find(|line| *line == heading)?;
    while let Some(line) = lines.next().filter(|line| !line.starts_with('[')) {
        let Some((_, value)) = line.split_once('=').filter(|(name, _)| name.trim() == key) else { continue };
        let mut value = value.trim().to_owned();
        while value.starts_with('[') && !value.ends_with(']') {
            value.push_str(lines.next()?);
        }
        return Some(value);
    }
    None
}

/// The strings of a list value.
#[must_use]
pub fn list(value: &str) -> Vec<&str> {
    value.split('"').skip(1).step_by(2).collect()
}

/// Every package manifest that belongs to the workspace, the innermost first.
#[must_use]
pub fn packages(sources: &[Source]) -> Vec<&Source> {
    let root = sources.iter().find(|source| source.path == "Cargo.toml");
    let excluded = root.and_then(|root| value(&root.text, "workspace", "exclude")).unwrap_or_default();
    let outside = |path: &str| list(&excluded).iter().any(|name| path.starts_with(&format!("{name}/")));
    let package = |source: &&Source| source.text.lines().any(|line| line.trim() == "[package]");
    let manifest = |source: &&Source| source.path.ends_with("/Cargo.toml") && !outside(&source.path);
    let mut found: Vec<_> = sources.iter().filter(manifest).filter(package).collect();
    found.sort_by_key(|source| std::cmp::Reverse(source.path.len()));
    found
}

/// The manifest among `packages` whose package the file at `path` belongs to.
#[must_use]
pub fn owner<'a>(packages: &[&'a Source], path: &str) -> Option<&'a Source> {
    packages.iter().copied().find(|package| path.starts_with(directory(&package.path)))
}

/// The name of the package of a manifest.
#[must_use]
pub fn name(manifest: &Source) -> String {
    value(&manifest.text, "package", "name").unwrap_or_default().trim_matches('"').to_owned()
}
