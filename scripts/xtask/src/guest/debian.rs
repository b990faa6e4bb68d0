//! Debian packages as files: fetched by the package manager, unpacked below the build directory, not installed.
//!
//! Invariants: a directory with an unpacked package is complete: it gets its name when it is.
//! Concurrency: several processes may fetch at once; one of them wins.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{process, setup, workspace};

/// The package that depends on the newest cloud kernel.
const KERNEL: &str = "linux-image-cloud-amd64";
const BUSYBOX: &str = "busybox-static";

/// A kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Its image.
    pub image: PathBuf,
    /// The directory with its loadable modules (`…/kernel` lies below).
    pub modules: PathBuf,
}

/// Debian's cloud kernel.
///
/// # Errors
/// It cannot be fetched.
pub fn kernel() -> Result<Kernel> {
    let directory = unpacked(KERNEL, |found| {
        let mut query = Command::new("apt-cache");
        query.args(["depends", found]);
        let answer = process::output(&mut query)?;
        let image = |line: &str| {
            Some(line.trim().strip_prefix("Depends: ")?.to_owned()).filter(|name| name.starts_with("linux-image-"))
        };
        answer.lines().find_map(image).with_context(|| format!("{found} depends on no kernel"))
    })?;
    let only = |below: &str| -> Result<PathBuf> {
        let entries =
            fs::read_dir(directory.join(below)).with_context(|| format!("no {below} in {}", directory.display()))?;
        let image = |path: &PathBuf| below != "boot" || path.to_string_lossy().contains("vmlinuz");
        entries
            .flatten()
            .map(|entry| entry.path())
            .find(image)
            .with_context(|| format!("nothing in {below} of {KERNEL}"))
    };
    Ok(Kernel { image: only("boot")?, modules: only("lib/modules")? })
}

/// The program BusyBox, linked statically.
///
/// # Errors
/// It cannot be fetched.
pub fn busybox() -> Result<PathBuf> {
    let directory = unpacked(BUSYBOX, |name| Ok(name.to_owned()))?;
    let places = ["bin/busybox", "usr/bin/busybox"].map(|place| directory.join(place));
    places.into_iter().find(|place| place.is_file()).context("the package has no busybox")
}

/// The directory with the contents of a package; `resolve` says which one that is.
fn unpacked(package: &str, resolve: impl Fn(&str) -> Result<String>) -> Result<PathBuf> {
    let base = workspace::scratch("debian")?;
    let directory = base.join(package);
    if directory.is_dir() {
        return Ok(directory);
    }
    let stage = base.join(format!("{package}.{}", std::process::id()));
    let result = fetch(&stage, package, &resolve);
    if result.is_ok() && !directory.is_dir() {
        fs::rename(stage.join("contents"), &directory)
            .with_context(|| format!("cannot write {}", directory.display()))?;
    }
    let _ = fs::remove_dir_all(&stage);
    result?;
    Ok(directory)
}

fn fetch(stage: &Path, package: &str, resolve: &impl Fn(&str) -> Result<String>) -> Result<()> {
    if !process::exists("apt-get") || !process::exists("dpkg-deb") {
        bail!(
            "the guest's files come from Debian packages, but there is no apt-get; use --guest-kernel and --guest-initrd"
        );
    }
    fs::create_dir_all(stage).with_context(|| format!("cannot create {}", stage.display()))?;
    println!("guest: fetching Debian's package {package}");
    let download = || -> Result<()> {
        let name = resolve(package)?;
        let mut command = Command::new("apt-get");
        process::output(command.current_dir(stage).args(["download", "--quiet", &name])).map(drop)
    };
    if download().is_err() {
        // The lists of packages may be missing or old.
        setup::update()?;
        download().with_context(|| format!("the package {package} cannot be fetched"))?;
    }
    let entries = fs::read_dir(stage)?.flatten().map(|entry| entry.path());
    let archive = entries.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    let archive = archive.context("apt-get left no package")?;
    let mut command = Command::new("dpkg-deb");
    process::output(command.arg("-x").arg(archive).arg(stage.join("contents"))).map(drop)
}
