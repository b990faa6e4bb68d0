//! Rule: `unsafe` is denied everywhere, and the crates that need it say why.
//!
//! Purpose: the workspace denies unsafe code, every package takes the workspace's lints, pure crates forbid it, and
//! a crate or module that opts in gives its reason in an `// UNSAFETY:` comment.
//! Invariants: which code an attribute covers is the compiler's business; here only that the reason is written down.
//! Concurrency: pure functions.
//! Source: the habits of the project's style guide; rustc's lint `unsafe_code`.

use super::code::Code;
use super::files::{is_rust, submodules};
use super::unsafety::sites;
use super::{Finding, Report, Source, manifest};
use std::ops::Range;

/// Crates that must stay free of unsafe code.
pub const PURE: [&str; 8] = [
    "include",
    "hypervisor/capability",
    "hypervisor/console",
    "hypervisor/ipc",
    "hypervisor/memory",
    "hypervisor/schedule",
    "hypervisor/sync",
    "hypervisor/time",
];

/// An attribute that lets unsafe code pass.
pub struct OptIn {
    /// Its line.
    pub line: usize,
    /// What the `// UNSAFETY:` comment says, above it or elsewhere in the file.
    pub reason: Option<String>,
    /// What is wrong with the attribute, if anything.
    pub fault: Option<&'static str>,
}

/// The opt-ins of a file.
#[must_use]
pub fn opt_ins(code: &Code) -> Vec<OptIn> {
    let levels = ["expect", "allow", "warn"];
    let level = |attribute| levels.iter().any(|level| code.mentions(attribute, level));
    let found = code.attributes.iter().filter(|range| code.mentions(range, "unsafe_code") && level(range));
    let judge = |range: &Range<usize>| {
        let line = code.tokens[range.start].line;
        let nearby = code.argument_above(line, "UNSAFETY:").or_else(|| code.argument_anywhere("UNSAFETY:"));
        let reason = nearby.filter(|text| !text.is_empty());
        // What a macro expands to elsewhere is not linted there, so that an expectation would fail.
        let in_macro = code.scopes[range.start].name.ends_with('!');
        let fault = if !code.mentions(range, "expect") && !in_macro {
            Some("use `expect(unsafe_code, reason = …)`, which complains when it is no longer needed")
        } else if reason.is_none() {
            Some("say in an `// UNSAFETY:` comment of this file why unsafe code is needed")
        } else if !code.mentions(range, "reason") {
            Some("give the attribute a `reason`")
        } else {
            None
        };
        OptIn { line, reason, fault }
    };
    found.map(judge).collect()
}

/// Checks manifests, pure crates and opt-ins.
#[must_use]
pub fn check(sources: &[Source]) -> Report {
    let mut report = Report::default();
    let packages = manifest::packages(sources);
    manifests(sources, &packages, &mut report);
    pure(sources, &packages, &mut report);
    let parsed: Vec<_> = sources
        .iter()
        .filter(|source| is_rust(&source.path) && manifest::owner(&packages, &source.path).is_some())
        .map(|source| {
            let code = Code::new(&source.text);
            (source.path.as_str(), submodules(&source.path), sites(&code), opt_ins(&code))
        })
        .collect();
    for (path, _, sites, opt_ins) in &parsed {
        for (line, fault) in opt_ins.iter().filter_map(|opt_in| Some((opt_in.line, opt_in.fault?))) {
            report.findings.push(Finding::new(path, line, fault));
        }
        let Some(first) = sites.first() else { continue };
        let covers = |(above, below, _, opt_ins): &(&str, String, _, Vec<OptIn>)| {
            !opt_ins.is_empty() && (above == path || path.starts_with(below.as_str()))
        };
        if !parsed.iter().any(covers) {
            let message = "unsafe code, but neither this file nor its crate opts in; put `// UNSAFETY: why` and \
                           `#![expect(unsafe_code, reason = …)]` at the crate's root";
            report.findings.push(Finding::new(path, first.line, message));
        }
    }
    let crates = packages.iter().filter(|package| {
        let owned = |path| manifest::owner(&packages, path).is_some_and(|owner| owner.path == package.path);
        parsed.iter().any(|(path, _, _, opt_ins)| !opt_ins.is_empty() && owned(path))
    });
    report.note = format!("{} of {} crates opt in, {} are pure", crates.count(), packages.len(), PURE.len());
    report
}

/// The lint levels of the workspace and of each package.
fn manifests(sources: &[Source], packages: &[&Source], report: &mut Report) {
    let root = sources.iter().find(|source| source.path == "Cargo.toml");
    let level = root.and_then(|root| manifest::value(&root.text, "workspace.lints.rust", "unsafe_code"));
    if !level.is_some_and(|level| ["\"deny\"", "\"forbid\""].contains(&level.as_str())) {
        let message =
            "the workspace does not deny unsafe code; write `unsafe_code = \"deny\"` in [workspace.lints.rust]";
        report.findings.push(Finding::new("Cargo.toml", 1, message));
    }
    for package in packages {
        if manifest::value(&package.text, "lints", "workspace").as_deref() != Some("true") {
            let message = "the package does not take the workspace's lints; add `[lints]` with `workspace = true`";
            report.findings.push(Finding::new(&package.path, 1, message));
        }
    }
}

/// The pure crates among `packages`.
fn pure(sources: &[Source], packages: &[&Source], report: &mut Report) {
    let pure = packages.iter().filter(|p| PURE.iter().any(|pure| p.path == format!("{pure}/Cargo.toml")));
    for package in pure {
        let root = package.path.replace("Cargo.toml", "src/lib.rs");
        let source = sources.iter().find(|source| source.path == root);
        let forbids = source.is_some_and(|source| {
            let code = Code::new(&source.text);
            let forbid = ["#", "!", "[", "forbid", "(", "unsafe_code"];
            code.attributes.iter().any(|range| code.at(range.start, &forbid))
        });
        if !forbids {
            let message = "a pure crate; its root has to say `#![forbid(unsafe_code)]`";
            report.findings.push(Finding::new(&root, 1, message));
        }
    }
}
