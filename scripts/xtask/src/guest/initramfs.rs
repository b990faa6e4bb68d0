//! The guest's initial file system: BusyBox, the scripts of `user/vmm/initramfs`, the program `user/vmm/measure`, and the
//! drivers for virtual devices.
//!
//! Invariants: made anew when the scripts or the kernel change.
//! Concurrency: written under a name of its own, then renamed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};

use super::cpio::Archive;
use super::debian;
use crate::{build, elf, workspace};

const SCRIPTS: &str = "user/vmm/initramfs";
/// Drivers in the order in which they are loaded.
const DRIVERS: [&str; 12] = [
    "virtio/virtio_ring.ko",
    "virtio/virtio.ko",
    "virtio/virtio_pci_modern_dev.ko",
    "virtio/virtio_pci_legacy_dev.ko",
    "virtio/virtio_pci.ko",
    "char/hw_random/rng-core.ko",
    "char/hw_random/virtio-rng.ko",
    "char/virtio_console.ko",
    "block/virtio_blk.ko",
    "net/core/failover.ko",
    "net/net_failover.ko",
    "net/virtio_net.ko",
];

/// Makes the archive, with the program `measure`, and with the drivers of Debian's kernel or of the one in `kernel`, if its
/// drivers lie beside it; its path.
///
/// # Errors
/// A package cannot be fetched or a file not read.
pub fn build(kernel: Option<&Path>) -> Result<PathBuf> {
    let busybox = debian::busybox()?;
    let drivers = match kernel {
        Some(file) => beside(file),
        None => Some(debian::kernel()?.modules),
    };
    let mut archive = Archive::default();
    for name in ["bin", "dev", "etc", "proc", "sys", "tmp", "root", "drivers"] {
        archive.directory(name);
    }
    archive.device("dev/console", 5, 1);
    archive.file("bin/busybox", &read(&busybox)?);
    archive.file("measure", &elf::stripped(read(&build::place("measure"))?));
    let mut order = String::new();
    for driver in DRIVERS {
        if let Some(path) = drivers.as_ref().and_then(|drivers| find(drivers, driver)) {
            let name = Path::new(driver).file_name().unwrap_or_default().to_string_lossy().into_owned();
            archive.file(&format!("drivers/{name}"), &contents(&path)?);
            order += &format!("{name}\n");
        }
    }
    archive.file("drivers/order", order.as_bytes());
    let scripts = workspace::root().join(SCRIPTS);
    let mut names: Vec<_> =
        fs::read_dir(&scripts).with_context(|| format!("no {}", scripts.display()))?.flatten().collect();
    names.sort_by_key(fs::DirEntry::file_name);
    for entry in names {
        archive.file(&entry.file_name().to_string_lossy(), &read(&entry.path())?);
    }
    // One for each kernel: several may be made at a time.
    let other = kernel.and_then(Path::file_name).map(|name| format!("-{}", name.to_string_lossy()));
    let file = workspace::scratch("debian")?.join(format!("initrd{}.cpio", other.unwrap_or_default()));
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let stage = file.with_extension(format!("cpio.{}-{serial}", std::process::id()));
    fs::write(&stage, archive.finish()).with_context(|| format!("cannot write {}", stage.display()))?;
    fs::rename(&stage, &file).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// The drivers of an unpacked package's kernel, `boot/vmlinuz-VERSION`: in `lib/modules/VERSION`.
fn beside(kernel: &Path) -> Option<PathBuf> {
    let version = kernel.file_name()?.to_str()?.strip_prefix("vmlinuz-")?;
    let place = Path::new("lib/modules").join(version);
    let base = kernel.parent()?.parent()?;
    [base.join(&place), base.join("usr").join(&place)].into_iter().find(|place| place.is_dir())
}

/// A driver, in one of the directories where the kernel may have it.
fn find(modules: &Path, driver: &str) -> Option<PathBuf> {
    let plain = modules.join("kernel/drivers").join(driver);
    let other = modules.join("kernel").join(driver);
    let packed = |path: PathBuf| [path.clone(), path.with_extension("ko.xz")];
    [plain, other].into_iter().flat_map(packed).find(|path| path.is_file())
}

/// A driver's contents, which later kernels have compressed.
fn contents(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_none_or(|extension| extension != "xz") {
        return read(path);
    }
    let unpacked = Command::new("xz").arg("-dc").arg(path).output().context("`xz` cannot be started")?;
    ensure!(unpacked.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&unpacked.stderr).trim());
    Ok(unpacked.stdout)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
