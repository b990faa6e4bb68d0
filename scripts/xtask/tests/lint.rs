//! One violation of each rule of the house is found, and a clean sample passes every rule.

use std::path::{Path, PathBuf};
use xtask::lint::{
    Finding, RULES, Report, Source, dependencies, forbidden, header, ledger, length, links, names, optin, ring0, tools,
    unsafety,
};

const WORKSPACE: &str = "[workspace]\nexclude = [\"tests/fuzz\"]\n[workspace.lints.rust]\nunsafe_code = \"deny\"\n";
const PURE: &str = "//! Pure.\n//! Invariants: none. Concurrency: plain values.\n//! Source: none.\n\
                    #![no_std]\n#![forbid(unsafe_code)]\n";
const HEADER: &str = "//! A device.\n//! Invariants: none.\n//! Concurrency: none.\n//! Source: its manual.\n";
const OPT_IN: &str = "// UNSAFETY: devices | registers.\n#![expect(unsafe_code, reason = \"hardware\")]\n";
const DEVICE: &str = r##"
/// Reads.
///
/// # Safety
/// The address is mapped.
#[must_use]
pub unsafe fn read(address: usize) -> u8 {
    // SAFETY: the caller vouches for
    // the address. More need not be said.
    let value = unsafe { *(address as *const u8) };
    value
}
struct Device(*mut u8);
// SAFETY: one owner.
unsafe impl Send for Device {}
impl Drop for Device {
    fn drop(&mut self) {
        // PANIC: the pointer is set by the constructor.
        self.0.as_ref().unwrap();
        let _words = "unsafe { todo!() } static mut X .unwrap() #[ignore]"; // unsafe { panic!() }
    }
}
#[cfg(test)]
mod tests {
    #[test]
    fn works() {
        Some(1).unwrap();
    }
}
"##;

fn source(path: &str, text: impl Into<String>) -> Source {
    Source { path: path.to_owned(), text: text.into() }
}

fn package(name: &str) -> String {
    format!("[package]\nname = \"{name}\"\n\n[lints]\nworkspace = true\n")
}

/// A repository in miniature that keeps every rule.
fn clean() -> Vec<Source> {
    let mut files = vec![
        source("Cargo.toml", WORKSPACE),
        source("include/Cargo.toml", package("abi")),
        source("include/src/lib.rs", PURE),
        source("hypervisor/memory/Cargo.toml", package("memory")),
        source("hypervisor/memory/src/lib.rs", PURE),
        source("hypervisor/arch/Cargo.toml", package("arch")),
        source("hypervisor/arch/src/lib.rs", format!("{HEADER}#![no_std]\n{OPT_IN}mod device;\n")),
        source("hypervisor/arch/src/device.rs", format!("{HEADER}{DEVICE}")),
        source("hypervisor/arch/build.rs", "//! Passes the linker script on.\nfn main() { None::<u8>.unwrap() }\n"),
        source(
            "docs/src/tour.md",
            "[one](architecture.md#top), [two](../../include/), `[no](code)`, [w](https://x.y)\n",
        ),
        source("docs/src/architecture.md", "[three][t]\n\n[t]: ./tour.md\n```\n[no](code)\n```\n"),
    ];
    files.push(source(ledger::PAGE, ledger::render(&files)));
    files
}

/// The sample with the file at `path` replaced, or added.
fn with(path: &str, text: impl Into<String>) -> Vec<Source> {
    let mut files = clean();
    files.retain(|file| file.path != path);
    files.push(source(path, text));
    files
}

/// Fails unless there is exactly one finding, in `path` at `line`, that says `words`.
fn only(report: &Report, path: &str, line: usize, words: &str) {
    match &report.findings[..] {
        [Finding { path: p, line: l, message }] if p == path && *l == line && message.contains(words) => {}
        other => panic!("wanted {path}:{line} with `{words}`, found {other:#?}"),
    }
}

#[test]
fn a_clean_sample_passes_every_rule() {
    let files = clean();
    for (name, rule) in RULES {
        assert_eq!(rule(&files).findings, [], "{name}");
    }
    assert_eq!(ledger::check(&files).findings, []);
}

#[test]
fn a_file_has_at_most_600_lines() {
    let path = "boot/start.s";
    assert_eq!(length::check(&with(path, "nop\n".repeat(600))).findings, []);
    only(&length::check(&with(path, "nop\n".repeat(601))), path, 601, "split the file");
}

#[test]
fn the_median_rust_file_has_at_most_150_lines() {
    let files = |lines| [source("user/a/src/lib.rs", "//!\n".repeat(lines)), source("user/a/b.py", "#")];
    assert_eq!(length::check(&files(150)).findings, []);
    only(&length::check(&files(151)), "Cargo.toml", 1, "median");
}

#[test]
fn a_module_opens_with_a_header() {
    let path = "user/rt/src/heap.rs";
    assert_eq!(header::check(&with(path, "#![no_std]\n//! Heap.\n//!\n//! One.\n//! Two.\n")).findings, []);
    only(&header::check(&with(path, "//! Heap.\n//!\n//! One.\nfn f() {}\n//! Late.\n")), path, 1, "2 lines of text");
    only(&header::check(&with(path, "/// Not inner.\nfn f() {}\n")), path, 1, "0 lines of text");
    only(&header::check(&with("tests/a.rs", "fn f() {}\n")), "tests/a.rs", 1, "in one line");
}

#[test]
fn a_ring_0_header_has_its_labels_and_begins_with_the_purpose() {
    let path = "hypervisor/arch/src/apic.rs";
    for label in header::LABELS {
        let text = HEADER.replace(label, "Otherwise:");
        only(&header::check(&with(path, text)), path, 1, label);
    }
    let text = HEADER.replace("//! A device.\n", "");
    only(&header::check(&with(path, text)), path, 1, "begin with what");
}

#[test]
fn the_workspace_denies_unsafe_code() {
    let text = WORKSPACE.replace("deny", "warn");
    only(&optin::check(&with("Cargo.toml", text)), "Cargo.toml", 1, "does not deny");
}

#[test]
fn every_package_takes_the_lints_of_the_workspace() {
    let text = "[package]\nname = \"vmm\"\n[lints]\n[dependencies]\nworkspace = true\n";
    only(&optin::check(&with("user/vmm/Cargo.toml", text)), "user/vmm/Cargo.toml", 1, "[lints]");
    assert_eq!(optin::check(&with("tests/fuzz/Cargo.toml", text)).findings, [], "not in the workspace");
}

#[test]
fn a_pure_crate_forbids_unsafe_code() {
    let path = "hypervisor/memory/src/lib.rs";
    let text = PURE.replace("#![forbid", "// #![forbid");
    only(&optin::check(&with(path, text)), path, 1, "forbid(unsafe_code)");
}

#[test]
fn a_crate_with_unsafe_code_opts_in() {
    let path = "hypervisor/arch/src/lib.rs";
    let findings = optin::check(&with(path, HEADER));
    only(&findings, "hypervisor/arch/src/device.rs", 11, "opts in");
}

#[test]
fn an_opt_in_gives_its_reason_and_expects() {
    let path = "hypervisor/arch/src/lib.rs";
    let silent = OPT_IN.replace("// UNSAFETY: ", "// ");
    only(&optin::check(&with(path, format!("{HEADER}{silent}"))), path, 6, "UNSAFETY");
    let empty = OPT_IN.replace("devices | registers.", "");
    only(&optin::check(&with(path, format!("{HEADER}{empty}"))), path, 6, "UNSAFETY");
    let allows = OPT_IN.replace("expect", "allow");
    only(&optin::check(&with(path, format!("{HEADER}{allows}"))), path, 6, "use `expect");
    let bare = OPT_IN.replace(", reason = \"hardware\"", "");
    only(&optin::check(&with(path, format!("{HEADER}{bare}"))), path, 6, "`reason`");
    let module = "// UNSAFETY: all of it.\n\n#[expect(unsafe_code, reason = \"x\")]\nmod device;\n";
    assert_eq!(optin::check(&with(path, format!("{HEADER}{module}"))).findings, []);
}

#[test]
fn every_unsafe_block_and_promise_has_an_argument() {
    let path = "hypervisor/arch/src/x.rs";
    for (line, code) in [
        (2, "// UNSAFETY: another label.\nfn f() { unsafe { g() } }"),
        (3, "// SAFETY: too far away.\n\nfn f() { unsafe { g() } }"),
        (4, "fn f() {\n    // SAFETY: serves one block.\n    unsafe { g() };\n    unsafe { g() };\n}"),
        (2, "// SAFETY:\nunsafe impl Sync for X {}"),
        (1, "unsafe extern \"C\" { static END: u8; }"),
        (1, "#[unsafe(no_mangle)]\nfn start() {}"),
        (2, "fn f() {\n    let x = [1u8; 4].map(|_| unsafe { \"// SAFETY: a string\" });\n}"),
        (1, "fn f() { unsafe { g() } } // SAFETY: comes too late."),
    ] {
        only(&unsafety::check(&with(path, code)), path, line, "SAFETY");
    }
}

#[test]
fn an_argument_may_stand_above_the_statement_or_the_block() {
    for code in [
        "fn f() {\n    // SAFETY: yes.\n    #[rustfmt::skip]\n    let x =\n        unsafe { g() };\n}",
        "fn f() {\n    match x {\n        1 => 2,\n        // SAFETY: yes.\n        _ => unsafe { g() },\n    }\n}",
        "fn f() {\n    let x = h(\n        1,\n        // SAFETY: yes.\n        unsafe { g() },\n    );\n}",
        "fn f() {\n    let x = /* SAFETY: yes. */ unsafe { g() };\n}",
        "/// Starts.\n// SAFETY: yes.\n#[unsafe(no_mangle)]\n#[inline]\nfn start() {}",
        "type F = unsafe extern \"C\" fn(unsafe fn());",
    ] {
        assert_eq!(unsafety::check(&[source("hypervisor/x.rs", code)]).findings, [], "{code}");
    }
}

#[test]
fn an_unsafe_function_or_trait_documents_its_contract() {
    let path = "hypervisor/arch/src/x.rs";
    for code in
        ["/// Reads.\npub unsafe fn f();", "/// Safety.\nunsafe trait T {}", "\npub unsafe extern \"C\" fn f() {}"]
    {
        only(&unsafety::check(&with(path, code)), path, 2, "# Safety");
    }
    let code = "impl<'a, T: for<'b> U<'b>> A for B<'a, T> where T: C {\n    unsafe fn f() {}\n}\n";
    assert_eq!(unsafety::check(&with(path, code)).findings, [], "the trait has the contract");
    let code = "impl<T> B<T> where for<'a> T: C<'a> {\n    unsafe fn f() {}\n}\n";
    only(&unsafety::check(&with(path, code)), path, 2, "# Safety");
}

#[test]
fn the_ledger_names_crate_reason_function_and_argument() {
    let page = ledger::render(&clean());
    for line in [
        "| `arch` | devices \\| registers | 1 | 1 | 1 | 1 |",
        "- `read`: the caller vouches for the address",
        "- `Device` (implementation): one owner",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} in\n{page}");
    }
    assert!(!page.contains("`memory`"));
}

#[test]
fn an_outdated_ledger_is_found_and_lines_that_move_are_not() {
    let path = "hypervisor/arch/src/device.rs";
    let moved = format!("{HEADER}// A remark.\n\nfn more() {{}}\n{DEVICE}");
    assert_eq!(ledger::check(&with(path, moved)).findings, []);
    let changed = format!("{HEADER}{}", DEVICE.replace("one owner", "two owners"));
    only(&ledger::check(&with(path, changed)), ledger::PAGE, 1, "out of date");
}

#[test]
fn ring_0_has_fewer_lines_of_code_than_its_limit() {
    let path = "hypervisor/arch/src/long.rs";
    let comments = "// A remark.\n/* Two\nlines. */\n\n".repeat(1000);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "fn f() {}\n".repeat(1000));
    let rest = ring0_lines(&ring0::check(&clean()));
    let code = |lines: usize| "fn f() {}\n".repeat(lines - rest) + &comments + &tests;
    let close = ring0::check(&with(path, code(ring0::FAIL - 1)));
    assert_eq!(close.findings, []);
    assert!(close.note.starts_with("warning"), "{}", close.note);
    let near = ring0::check(&with(path, code(ring0::WARN - 1)));
    assert!(near.note.starts_with("8999 lines"), "{}", near.note);
    only(&ring0::check(&with(path, code(ring0::FAIL))), "hypervisor", 1, &format!("the limit is {}", ring0::FAIL));
}

fn ring0_lines(report: &Report) -> usize {
    report.note.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[test]
fn ring_0_lines_are_code_of_rust_and_assembly_without_tests() {
    let base = ring0_lines(&ring0::check(&clean()));
    let lines = |path, text: &str| ring0_lines(&ring0::check(&with(path, text))) - base;
    assert_eq!(lines("hypervisor/arch/src/a.s", "# no\n/* no\nno */ nop\n\n// no\nnop // yes\n"), 2);
    assert_eq!(lines("hypervisor/arch/src/tests.rs", "fn f() {}\n"), 0);
    assert_eq!(lines("hypervisor/arch/src/a.rs", "#[cfg(test)]\nmod device;\n#[cfg(not(test))]\nfn f() {}\n"), 2);
    assert_eq!(lines("hypervisor/arch/tests/a.rs", "fn f() {}\n"), 0);
    assert_eq!(lines("boot/start.s", "nop\n"), 0);
}

#[test]
fn ring_0_depends_on_given_crates_only() {
    let tree = "0vela v0.1.0 (/r/hypervisor)\n1arch v0.1.0 (/r/hypervisor/arch)\n2x86 v0.52.0\n3bit_field v0.10.3\n\
                2acpi v5.2.0\n3macros v1.0.0 (proc-macro)\n4syn v2.0.0\n";
    let report = dependencies::check(tree, "/r");
    assert_eq!(report.findings, []);
    let note = "2 of our own; third-party: acpi, x86; they bring: bit_field; in the compiler: macros, syn";
    assert_eq!(report.note, note);
    let stranger = format!("{tree}1bit_field v0.10.3\n");
    only(&dependencies::check(&stranger, "/r"), "Cargo.lock", 1, "`vela` depends on `bit_field`");
    let elsewhere = format!("{tree}1fork v0.1.0 (/rr/fork)\n");
    only(&dependencies::check(&elsewhere, "/r"), "Cargo.lock", 1, "`vela` depends on `fork`");
}

#[test]
fn ring_0_has_at_most_20_crates() {
    let tree =
        |crates| (0..crates).map(|n| format!("{}c{n} v0.1.0 (/r/hypervisor/c{n})\n", n.min(1))).collect::<String>();
    assert_eq!(dependencies::check(&tree(20), "/r").findings, []);
    only(&dependencies::check(&tree(21), "/r"), "Cargo.toml", 1, "21 crates");
}

#[test]
fn forbidden_words_are_found_outside_strings_and_comments() {
    let path = "user/rt/src/x.rs";
    for (code, words) in [
        ("static mut COUNT: u8 = 0;", "static mut"),
        ("fn f() { todo!() }", "unfinished"),
        ("fn f() { unimplemented!(\"later\") }", "unfinished"),
        ("#[ignore = \"slow\"] fn f() {}", "ignored test"),
        ("#[cfg_attr(unix, ignore)] fn f() {}", "ignored test"),
    ] {
        only(&forbidden::words(&with(path, format!("\n{code}\n"))), path, 2, words);
    }
    let code = "// todo!()\nstatic MUT: &str = \"static mut\";\n#[cfg_attr(miri, ignore)]\nfn f() {}\n";
    assert_eq!(forbidden::words(&with(path, code)).findings, []);
}

#[test]
fn a_panic_in_ring_0_is_argued_for() {
    let path = "hypervisor/arch/src/x.rs";
    for code in ["x.unwrap();", "x\n.expect(\"y\");", "panic!(\"y\");", "unreachable!();"] {
        let line = code.lines().count();
        only(&forbidden::panics(&with(path, format!("fn f() {{ {code} }}"))), path, line, "may panic");
        assert_eq!(forbidden::panics(&with(path, format!("fn f() {{\n// PANIC: never.\n{code} }}"))).findings, []);
        assert_eq!(forbidden::panics(&with(path, format!("#[test]\nfn f() {{ {code} }}"))).findings, []);
        assert_eq!(forbidden::panics(&with("user/rt/src/x.rs", format!("fn f() {{ {code} }}"))).findings, []);
    }
    let mut files = with(path, "fn f() { x.unwrap_or(0); y.expect_err; }");
    assert_eq!(forbidden::panics(&files).findings, []);
    files.push(source("hypervisor/arch/src/y.rs", "#[cfg(all(test, unix))]\nmod z;"));
    files.push(source("hypervisor/arch/src/y/z/deep.rs", "fn f() { x.unwrap(); }"));
    assert_eq!(forbidden::panics(&files).findings, [], "a module of tests");
}

#[test]
fn paths_of_a_machine_and_foreign_registries_are_found() {
    let place = ["/wo", "rk/"].concat();
    for text in [format!("see\n{place}main"), format!("\nsource {place}x"), format!("\n\"{place}\"")] {
        only(&names::check(&with("docs/src/a.md", text)), "docs/src/a.md", 2, "one machine");
    }
    assert_eq!(names::check(&with("docs/src/a.md", format!("user{place} ..{place}"))).findings, []);
    let lock = "[[package]]\nname = \"x\"\nsource = \"registry+https://mirror.example/index\"\n";
    only(&names::check(&with("Cargo.lock", lock)), "Cargo.lock", 3, "crates.io");
}

#[test]
fn a_relative_link_leads_to_a_file() {
    let path = "docs/src/a.md";
    for link in ["[x](gone.md)", "![x](../gone.svg)", "[x]()", "[x](../../../out.md)", "[x]: gone.md", "[x](<a b.md>)"]
    {
        only(&links::check(&with(path, format!("# A\n{link}\n"))), path, 2, "leads nowhere");
    }
    let good = "[x](tour.md \"title\") [y](#here) [z](/include/src/lib.rs) [w](mailto:a@b.c)\n[^1]: note\n";
    assert_eq!(links::check(&with(path, good)).findings, []);
}

/// A package of its own in the build directory, removed at the end.
struct Package(PathBuf);

impl Package {
    fn new(name: &str, code: &str) -> std::io::Result<Self> {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(root.join("src"))?;
        let manifest = format!("[package]\nname = \"{name}\"\nedition = \"2024\"\n[workspace]\n");
        std::fs::write(root.join("Cargo.toml"), manifest)?;
        std::fs::write(root.join("src/lib.rs"), code)?;
        Ok(Self(root))
    }
}

impl Drop for Package {
    fn drop(&mut self) {
        // The build directory is no loss if this fails.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn rustfmt_is_asked() -> anyhow::Result<()> {
    let neat = Package::new("neat", "//! Neat.\n\nfn _f() {}\n")?;
    assert_eq!(tools::rustfmt(&neat.0)?.findings, []);
    let untidy = Package::new("untidy", "//! Untidy.\n\nfn _f(){}\n")?;
    only(&tools::rustfmt(&untidy.0)?, "src/lib.rs", 1, "not formatted");
    Ok(())
}

#[test]
fn clippy_is_asked_and_its_warnings_are_errors() -> anyhow::Result<()> {
    let neat = Package::new("careful", "//! Neat.\n\n/// One.\npub fn one() -> u8 {\n    1\n}\n")?;
    assert_eq!(tools::clippy(&neat.0, "--lib")?.findings, []);
    let careless = Package::new("careless", "//! Wordy.\n\n/// One.\npub fn one() -> u8 {\n    return 1;\n}\n")?;
    only(&tools::clippy(&careless.0, "--lib")?, "src/lib.rs", 5, "return");
    let broken = tools::clippy(&neat.0, "--features no-such-feature")?;
    only(&broken, "Cargo.toml", 1, "no-such-feature");
    Ok(())
}
