//! The files that the rules look at.
//!
//! Purpose: everything git tracks, and what it neither tracks nor ignores, so that a new file is checked before its
//! first commit; and what kind of file a path is.
//! Invariants: paths are relative to the repository's root, with `/`; files that are not text are left out.
//! Concurrency: reads the tree once; the rules then work on the copy.
//! Source: `git ls-files --cached --others --exclude-standard`.

use super::Source;
use super::code::Code;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// All text files of the repository at `root`.
///
/// # Errors
/// When git is missing or fails, or a file cannot be read.
pub fn sources(root: &Path) -> Result<Vec<Source>> {
    let list = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("git could not be started; the lint needs it to list the files")?;
    ensure!(list.status.success(), "git ls-files: {}", String::from_utf8_lossy(&list.stderr).trim());
    let names: BTreeSet<_> = list.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
    let mut found = Vec::new();
    for name in names {
        let path = String::from_utf8_lossy(name).into_owned();
        let file = root.join(&path);
        // Deleted but not yet committed files are still listed.
        if file.is_file() {
            let bytes = std::fs::read(&file).with_context(|| format!("{path} cannot be read"))?;
            found.extend(String::from_utf8(bytes).ok().map(|text| Source { path, text }));
        }
    }
    Ok(found)
}

/// Whether `path` is a Rust file.
#[must_use]
pub fn is_rust(path: &str) -> bool {
    path.ends_with(".rs")
}

/// Whether `path` is a build script, which runs on the host.
#[must_use]
pub fn is_build_script(path: &str) -> bool {
    path.rsplit('/').next() == Some("build.rs")
}

/// Whether `path` holds tests only, as far as its name tells.
#[must_use]
pub fn is_test(path: &str) -> bool {
    let mut parts = path.split('/');
    path.ends_with("/tests.rs") || parts.any(|part| ["tests", "benches", "examples", "fuzz"].contains(&part))
}

/// The directory of `path`, with its `/`; empty at the root.
#[must_use]
pub fn directory(path: &str) -> &str {
    path.rfind('/').map_or("", |slash| &path[..=slash])
}

/// The directory under which the submodules of file `path` stand, with its `/`.
#[must_use]
pub fn submodules(path: &str) -> String {
    let mut parts = path.rsplit('/');
    match (parts.next(), parts.next()) {
        (Some("lib.rs" | "main.rs" | "mod.rs" | "build.rs"), _) => directory(path).to_owned(),
        // Each of these is the root of a crate.
        (_, Some("bin" | "tests" | "benches" | "examples")) => directory(path).to_owned(),
        _ => format!("{}/", path.trim_end_matches(".rs")),
    }
}

/// The Rust files that ship: no tests by name, none that is declared as `#[cfg(test)] mod name;`, no build scripts.
#[must_use]
pub fn shipped(sources: &[Source]) -> Vec<&Source> {
    let mut test_modules = Vec::new();
    for source in sources.iter().filter(|source| is_rust(&source.path)) {
        let code = Code::new(&source.text);
        for (index, name) in code.tokens.iter().enumerate().skip(1) {
            if code.tests[index] && code.tokens[index - 1].is("mod") && code.at(index + 1, &[";"]) {
                test_modules.push(format!("{}{}", submodules(&source.path), name.text));
            }
        }
    }
    let tests = |path: &str| {
        let of = |module: &String| path.strip_prefix(module.as_str()).is_some_and(|rest| rest.starts_with(['.', '/']));
        is_test(path) || is_build_script(path) || test_modules.iter().any(of)
    };
    sources.iter().filter(|source| is_rust(&source.path) && !tests(&source.path)).collect()
}
