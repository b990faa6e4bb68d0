//! Debian packages as files: fetched by the package manager, unpacked below the build directory, not installed.
//!
//! Invariants: a directory with an unpacked package is complete: it gets its name when it is.
//! Concurrency: threads fetch one after the other; several processes may fetch at once, and one of them wins.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

use crate::{process, setup, workspace};

/// The package that depends on the newest cloud kernel.
const KERNEL: &str = "linux-image-cloud-amd64";
/// The one that depends on the newest kernel for all machines.
const FULL: &str = "linux-image-amd64";
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
    kernel_of(KERNEL, &Archive::default())
}

/// Debian's kernel for all machines.
///
/// # Errors
/// It cannot be fetched.
pub fn full_kernel() -> Result<Kernel> {
    kernel_of(FULL, &Archive::default())
}

/// The cloud kernel of a later version, from the backports of this release; with lists of packages of its own, so that the
/// system's stay as they are.
///
/// # Errors
/// The archive offers none, or is not reachable.
pub fn later_kernel() -> Result<Kernel> {
    let release = fs::read_to_string("/etc/os-release").context("this is no Debian: there is no /etc/os-release")?;
    let name = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let archive = Archive::of(&format!("{}-backports", name.context("the release has no name")?))?;
    kernel_of(KERNEL, &archive)
}

/// Where packages come from: what the system is configured for, or one more suite, with options for that.
#[derive(Default)]
struct Archive {
    suite: Option<String>,
    options: Vec<String>,
}

impl Archive {
    /// This suite alone; its lists are fetched.
    fn of(suite: &str) -> Result<Self> {
        let base = workspace::scratch("debian")?.join(format!("apt-{suite}"));
        let (lists, cache) = (base.join("lists"), base.join("cache"));
        for directory in [&lists, &cache] {
            fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        }
        let sources = base.join("sources.list");
        let key = "/usr/share/keyrings/debian-archive-keyring.gpg";
        let line = format!("deb [signed-by={key}] http://deb.debian.org/debian {suite} main\n");
        fs::write(&sources, line).with_context(|| format!("cannot write {}", sources.display()))?;
        let options = [
            format!("Dir::Etc::SourceList={}", sources.display()),
            "Dir::Etc::SourceParts=-".into(),
            format!("Dir::State::Lists={}", lists.display()),
            format!("Dir::Cache={}", cache.display()),
        ];
        let options = options.into_iter().flat_map(|option| ["-o".into(), option]).collect();
        let archive = Self { suite: Some(suite.into()), options };
        process::output(archive.command("apt-get").args(["update", "--quiet"]))
            .with_context(|| format!("the suite {suite} cannot be reached"))?;
        Ok(archive)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(&self.options);
        command
    }
}

fn kernel_of(package: &str, archive: &Archive) -> Result<Kernel> {
    let directory = unpacked(package, archive, |found| {
        let answer = process::output(archive.command("apt-cache").args(["depends", found]))?;
        let image = |line: &str| {
            Some(line.trim().strip_prefix("Depends: ")?.to_owned()).filter(|name| name.starts_with("linux-image-"))
        };
        answer.lines().find_map(image).with_context(|| format!("{found} depends on no kernel"))
    })?;
    // Modules lie below `usr` in later releases.
    let only = |places: &[&str]| -> Result<PathBuf> {
        let entries = places.iter().filter_map(|below| fs::read_dir(directory.join(below)).ok());
        let image = |path: &PathBuf| places != ["boot"] || path.to_string_lossy().contains("vmlinuz");
        entries
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .find(image)
            .with_context(|| format!("nothing in {places:?} of {package}"))
    };
    Ok(Kernel { image: only(&["boot"])?, modules: only(&["lib/modules", "usr/lib/modules"])? })
}

/// The program BusyBox, linked statically.
///
/// # Errors
/// It cannot be fetched.
pub fn busybox() -> Result<PathBuf> {
    let directory = unpacked(BUSYBOX, &Archive::default(), |name| Ok(name.to_owned()))?;
    let places = ["bin/busybox", "usr/bin/busybox"].map(|place| directory.join(place));
    places.into_iter().find(|place| place.is_file()).context("the package has no busybox")
}

/// The directory with the contents of a package; `resolve` says which one that is.
fn unpacked(package: &str, archive: &Archive, resolve: impl Fn(&str) -> Result<String>) -> Result<PathBuf> {
    let base = workspace::scratch("debian")?;
    let from = archive.suite.as_ref().map_or(String::new(), |suite| format!("-{suite}"));
    let directory = base.join(format!("{package}{from}"));
    // Of threads the second finds what the first has fetched.
    static FETCHING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = FETCHING.lock().unwrap_or_else(PoisonError::into_inner);
    if directory.is_dir() {
        return Ok(directory);
    }
    let stage = base.join(format!("{package}{from}.{}", std::process::id()));
    let placed = fetch(&stage, package, archive, &resolve).and_then(|()| {
        fs::rename(stage.join("contents"), &directory).with_context(|| format!("cannot write {}", directory.display()))
    });
    let _ = fs::remove_dir_all(&stage);
    // Another process may have been faster.
    if !directory.is_dir() {
        placed?;
    }
    Ok(directory)
}

fn fetch(stage: &Path, package: &str, archive: &Archive, resolve: &impl Fn(&str) -> Result<String>) -> Result<()> {
    if !process::exists("apt-get") || !process::exists("dpkg-deb") {
        bail!(
            "the guest's files come from Debian packages, but there is no apt-get; use --guest-kernel and --guest-initrd"
        );
    }
    fs::create_dir_all(stage).with_context(|| format!("cannot create {}", stage.display()))?;
    println!("guest: fetching Debian's package {package}");
    let download = || -> Result<()> {
        let name = resolve(package)?;
        let mut command = archive.command("apt-get");
        process::output(command.current_dir(stage).args(["download", "--quiet", &name])).map(drop)
    };
    let first = download();
    if archive.suite.is_some() {
        first?;
    } else if first.is_err() {
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
