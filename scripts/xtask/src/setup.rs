//! Installs what the other verbs need, from Debian packages and rustup.
//!
//! Idempotent; when nothing is missing it only looks at a few files. Needs
//! root or sudo only when a package is missing.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{process, toolchain};

/// What shows that a package is there.
enum Evidence {
    Program(&'static str),
    File(&'static str),
}
use Evidence::{File, Program};

/// Debian packages, each with what proves its presence.
const PACKAGES: [(&str, Evidence); 13] = [
    ("gcc", Program("gcc")),
    ("g++", Program("g++")),
    ("qemu-system-x86", Program("qemu-system-x86_64")),
    ("ovmf", File("/usr/share/OVMF/OVMF_CODE.fd")),
    ("bochs", Program("bochs")),
    ("bochs-term", File("/usr/lib/x86_64-linux-gnu/bochs/plugins/libbx_term_gui.so")),
    ("bochsbios", File("/usr/share/bochs/BIOS-bochs-latest")),
    ("vgabios", File("/usr/share/bochs/VGABIOS-lgpl-latest")),
    ("grub-common", Program("grub-mkrescue")),
    ("grub-pc-bin", File("/usr/lib/grub/i386-pc/multiboot2.mod")),
    ("grub-efi-amd64-bin", File("/usr/lib/grub/x86_64-efi/multiboot2.mod")),
    ("xorriso", Program("xorriso")),
    ("mtools", Program("mformat")),
];

/// What the installation is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Building and booting.
    Run,
    /// The above and the pinned nightly with Miri.
    Test,
}

/// Installs what is missing for `purpose`; quick when nothing is.
///
/// # Errors
/// Without root and sudo: the exact line that has to be run. Otherwise what
/// the package manager or rustup reported.
pub fn run(purpose: Purpose) -> Result<()> {
    let wanted = missing();
    install(&wanted)?;
    let left = if wanted.is_empty() { wanted } else { missing() };
    if !left.is_empty() {
        bail!("after the installation these packages are still missing: {}", left.join(" "));
    }
    toolchain::ensure_target()?;
    if purpose == Purpose::Test {
        toolchain::ensure_nightly()?;
    }
    Ok(())
}

/// The Debian packages that are not installed.
fn missing() -> Vec<&'static str> {
    let mut missing: Vec<_> = PACKAGES.iter().filter(|(_, proof)| !proof.present()).map(|(name, _)| *name).collect();
    // `script` gives Bochs its terminal; it moved between packages over time.
    if !process::exists("script") {
        missing.push("bsdutils");
    }
    // A proof may have moved in a newer Debian: the package manager decides.
    missing.retain(|name| !installed(name));
    missing
}

impl Evidence {
    fn present(&self) -> bool {
        match self {
            Program(name) => process::exists(name),
            File(path) => Path::new(path).exists(),
        }
    }
}

fn installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f", "${db:Status-Status}", package]);
    process::output(&mut query).is_ok_and(|status| status == "installed")
}

fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if !process::exists("apt-get") {
        bail!(
            "these programs are missing, and there is no apt-get to install them (names of Debian's packages): {list}"
        );
    }
    let line = format!("apt-get update && apt-get install --yes --no-install-recommends {list}");
    let Some(prefix) = privilege() else {
        bail!("packages are missing: {list}\nRun this line as root, then the command again:\n\n    {line}\n");
    };
    println!("setup: installing {list}");
    apt(prefix, &["update", "--quiet"]).or_else(|error| {
        // An unreachable extra source must not stop an installation that the others can serve.
        println!("setup: {error}; trying the installation with the package lists at hand");
        anyhow::Ok(())
    })?;
    let mut args = vec!["install", "--yes", "--quiet", "--no-install-recommends"];
    args.extend(packages);
    apt(prefix, &args).with_context(|| format!("the installation failed; try it by hand:\n\n    {line}\n"))
}

/// Brings the lists of packages up to date.
///
/// # Errors
/// Without root and sudo: the line that has to be run. Otherwise what the package manager reported.
pub fn update() -> Result<()> {
    let Some(prefix) = privilege() else {
        bail!(
            "the lists of packages are missing or old. Run this line as root, then the command again:\n\n    apt-get update\n"
        );
    };
    apt(prefix, &["update", "--quiet"])
}

/// How to become root: not at all, through sudo, or impossible (`None`).
fn privilege() -> Option<&'static [&'static str]> {
    if effective_user() == Some(0) {
        return Some(&[]);
    }
    if !process::exists("sudo") {
        return None;
    }
    let quiet = Command::new("sudo").args(["-n", "true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if quiet.is_ok_and(|status| status.success()) {
        return Some(&["sudo", "-n"]);
    }
    // sudo may ask for a password when somebody is there to type it.
    std::io::IsTerminal::is_terminal(&std::io::stdin()).then_some(&["sudo"])
}

fn effective_user() -> Option<u32> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn apt(prefix: &[&str], args: &[&str]) -> Result<()> {
    // `env` because sudo drops the environment.
    let words = [prefix, &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"], args].concat();
    let (program, rest) = words.split_first().context("an empty command")?;
    process::run(Command::new(program).args(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_missing_only_when_its_proof_and_dpkg_say_so() {
        assert!(!installed("no-such-package-at-all"));
        assert!(!File("/no/such/file").present());
        assert!(Program("sh").present());
    }

    #[test]
    fn the_effective_user_is_read_from_the_host() {
        assert!(effective_user().is_some());
    }
}
