//! Bootable images: GRUB, the kernel and its modules on an ISO for BIOS and UEFI.
//!
//! An image is named by a hash over everything in it and is written once;
//! the last few dozen are kept. Several processes may build at a time: each
//! writes under a name of its own and renames.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use crate::{elf, process, workspace};

/// What GRUB needs for the configuration below; all modules would make the image five times as large.
const GRUB_MODULES: &str = "multiboot2 linux normal iso9660 part_gpt part_msdos part_acorn part_amiga part_apple part_bsd \
                            part_dfly part_dvh part_plan part_sun part_sunpc";
/// How many images are kept.
const KEPT: usize = 48;

/// A module beside the kernel.
#[derive(Clone, Debug)]
pub struct Module {
    /// Its name below `/boot/` on the image.
    pub name: String,
    /// Its contents.
    pub data: Vec<u8>,
    /// The arguments after its name.
    pub args: Vec<String>,
}

impl Module {
    /// A file as it is.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn file(path: &Path) -> Result<Self> {
        let data = fs::read(path).with_context(|| format!("cannot read the module {}", path.display()))?;
        let name = path.file_name().context("a module needs a file name")?.to_string_lossy().into_owned();
        Ok(Self { name, data, args: Vec::new() })
    }

    /// One of the workspace's programs, without symbols.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn program(path: &Path) -> Result<Self> {
        let mut module = Self::file(path)?;
        module.data = elf::stripped(module.data);
        Ok(module)
    }
}

/// How GRUB starts the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// As a hypervisor and its modules.
    Multiboot2,
    /// As a Linux kernel and its initial file system.
    Linux,
}

impl Protocol {
    /// GRUB's commands for the kernel and for a module.
    const fn commands(self) -> [&'static str; 2] {
        match self {
            Self::Multiboot2 => ["multiboot2", "module2"],
            Self::Linux => ["linux", "initrd"],
        }
    }
}

/// What goes into an image.
#[derive(Clone, Debug)]
pub struct Image {
    /// How it is started.
    pub protocol: Protocol,
    /// The kernel's file; the symbols of an ELF file stay out of the image.
    pub kernel: PathBuf,
    /// The kernel's arguments.
    pub kernel_args: Vec<String>,
    /// The root program first, then what it is given.
    pub modules: Vec<Module>,
}

impl Image {
    /// Writes the image unless it is there already; returns its path.
    ///
    /// # Errors
    /// A file cannot be read or written, an argument cannot be quoted for
    /// GRUB, or `grub-mkrescue` failed.
    pub fn build(&self) -> Result<PathBuf> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let kernel =
            fs::read(&self.kernel).with_context(|| format!("cannot read the kernel {}", self.kernel.display()))?;
        let kernel = elf::stripped(kernel);
        let menu = self.menu()?;
        let directory = workspace::scratch("images")?;
        let iso = directory.join(format!("{:016x}.iso", self.hash(&kernel, &menu)));
        if let Ok(file) = File::options().append(true).open(&iso) {
            // The age decides which images are kept.
            let _ = file.set_modified(SystemTime::now());
            return Ok(iso);
        }
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let stage = directory.join(format!("stage-{}-{serial}", std::process::id()));
        let result = self.write(&kernel, &menu, &stage);
        if result.is_ok() {
            fs::rename(stage.join("image.iso"), &iso).with_context(|| format!("cannot write {}", iso.display()))?;
        }
        let _ = fs::remove_dir_all(&stage);
        result?;
        prune(&directory);
        Ok(iso)
    }

    fn hash(&self, kernel: &[u8], menu: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (GRUB_MODULES, kernel, menu).hash(&mut hasher);
        for module in &self.modules {
            (&module.name, &module.data).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// GRUB's configuration: the template with this image's lines.
    fn menu(&self) -> Result<String> {
        let template = workspace::root().join("boot/grub.cfg.in");
        let template = fs::read_to_string(&template)
            .with_context(|| format!("cannot read the template {}", template.display()))?;
        let [start, give] = self.protocol.commands();
        let mut lines = vec![command(start, "vela", &self.kernel_args)?];
        for module in &self.modules {
            lines.push(command(give, &module.name, &module.args)?);
        }
        Ok(template.replace("@COMMANDS@", &lines.join("\n    ")))
    }

    fn write(&self, kernel: &[u8], menu: &str, stage: &Path) -> Result<()> {
        let boot = stage.join("root/boot");
        let save = |path: PathBuf, data: &[u8]| {
            fs::write(&path, data).with_context(|| format!("cannot write {}", path.display()))
        };
        fs::create_dir_all(boot.join("grub")).with_context(|| format!("cannot create {}", boot.display()))?;
        save(boot.join("vela"), kernel)?;
        save(boot.join("grub/grub.cfg"), menu.as_bytes())?;
        for module in &self.modules {
            let path = boot.join(&module.name);
            if path.exists() {
                bail!("two files of the image would have the name /boot/{}; rename one", module.name);
            }
            save(path, &module.data)?;
        }
        let mut command = Command::new("grub-mkrescue");
        command.arg(format!("--install-modules={GRUB_MODULES}")).args(["--locales=", "--fonts=", "--themes="]);
        command.arg("-o").arg(stage.join("image.iso")).arg(stage.join("root"));
        process::output(&mut command)
            .context("GRUB's image cannot be made; `cargo xtask setup` installs what it needs")?;
        Ok(())
    }
}

/// One GRUB command with its file and quoted arguments.
fn command(verb: &str, file: &str, args: &[String]) -> Result<String> {
    let mut line = format!("{verb} {}", quoted(&format!("/boot/{file}"))?);
    for arg in args {
        line.push(' ');
        line += &quoted(arg)?;
    }
    Ok(line)
}

/// An argument as GRUB's shell takes it literally.
fn quoted(arg: &str) -> Result<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_=.,:/+-@%".contains(&byte);
    if !arg.is_empty() && arg.bytes().all(plain) {
        return Ok(arg.to_owned());
    }
    if arg.contains(['\'', '\n', '\r']) {
        bail!("the argument {arg:?} holds a quote or a line break, which GRUB's configuration cannot express");
    }
    Ok(format!("'{arg}'"))
}

/// Removes the oldest images; what another process removes first is no error.
fn prune(directory: &Path) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let isos = entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "iso"));
    let age =
        |entry: &fs::DirEntry| entry.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut isos: Vec<_> = isos.map(|entry| (age(&entry), entry.path())).collect();
    isos.sort();
    let surplus = isos.len().saturating_sub(KEPT);
    for (_, path) in &isos[..surplus] {
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_reach_the_kernel_literally_or_are_refused() {
        assert_eq!(quoted("exit=0xf4").unwrap(), "exit=0xf4");
        assert_eq!(quoted("a b;$c").unwrap(), "'a b;$c'");
        assert!(quoted("it's").is_err());
        assert!(quoted("two\nlines").is_err());
    }

    #[test]
    fn an_image_is_named_by_its_contents() {
        let module = Module { name: "root".into(), data: b"1".to_vec(), args: vec!["x".into()] };
        let protocol = Protocol::Multiboot2;
        let mut image = Image { protocol, kernel: PathBuf::from("/k"), kernel_args: vec![], modules: vec![module] };
        let first = image.hash(b"kernel", &image.menu().unwrap());
        assert_eq!(image.hash(b"kernel", &image.menu().unwrap()), first);
        assert_ne!(image.hash(b"kernel2", &image.menu().unwrap()), first);
        image.modules[0].args[0] = "y".into();
        assert_ne!(image.hash(b"kernel", &image.menu().unwrap()), first);
        image.modules[0] = Module { name: "root".into(), data: b"2".to_vec(), args: vec!["x".into()] };
        assert_ne!(image.hash(b"kernel", &image.menu().unwrap()), first);
    }
}
