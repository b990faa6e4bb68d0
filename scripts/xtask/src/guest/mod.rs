//! What a guest is made of: a Linux kernel from Debian's archive, an initial file system with BusyBox, or files that the
//! user names.
//!
//! Invariants: nothing is installed; packages are unpacked below the build directory, once per version.
//! Concurrency: one process at a time makes a file; others see it whole or not at all.

mod cpio;
pub mod debian;
mod initramfs;
pub mod program;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::image::{Image, Module, Protocol};

/// Names of the modules that are not programs of the workspace.
const KERNEL: &str = "vmlinuz";
const INITIAL: &str = "initrd";
const MULTIBOOT: &str = "multiboot";

/// What the guest is, where it differs from the scenario.
#[derive(Clone, Default, Debug)]
pub struct Options {
    /// Another kernel image.
    pub kernel: Option<PathBuf>,
    /// Another initial file system.
    pub initial: Option<PathBuf>,
    /// Another command line.
    pub command_line: Option<String>,
    /// Another number of virtual CPUs.
    pub cpus: Option<u32>,
    /// A Multiboot guest in place of Linux.
    pub multiboot: Option<PathBuf>,
    /// Modules of the Multiboot guest.
    pub modules: Vec<PathBuf>,
    /// Images of disks; a name that ends with `:ro` is that of a disk that is only read.
    pub disks: Vec<PathBuf>,
    /// Whether the guest runs a script that ends it, rather than a shell.
    pub script: bool,
    /// Whether there is no other guest beside it.
    pub alone: bool,
}

impl Options {
    /// Changes the text of a boot configuration accordingly.
    ///
    /// # Errors
    /// What is asked for does not fit.
    pub fn adapt(&self, text: &str) -> Result<String> {
        let mut lines = Vec::new();
        for line in text.lines() {
            match line.trim_start() {
                // What says itself what it runs is not the guest that the user means.
                words if words.starts_with("arguments kernel=") && !words.contains("rdinit=") => {
                    self.make_room(&mut lines);
                    lines.extend((0..self.disks.len()).map(|index| format!("    may read {}", disk(index))));
                    lines.push(self.arguments(words)?);
                }
                words if words.starts_with("may read initrd") && self.multiboot.is_some() => {
                    let names = (0..self.modules.len()).map(|index| format!("    may read {}", module(index)));
                    lines.extend(names);
                }
                words if words.starts_with("may read vmlinuz") && self.multiboot.is_some() => {
                    lines.push(format!("    may read {MULTIBOOT}"));
                }
                words if words.starts_with("images ") && self.multiboot.is_some() => {
                    let names = (0..self.modules.len()).map(module).collect::<Vec<_>>().join(" ");
                    let line = words.replace(KERNEL, MULTIBOOT).replace(INITIAL, &names);
                    lines.push(self.with_disks(line));
                }
                words if words.starts_with("images ") => lines.push(self.with_disks(words.to_owned())),
                _ => lines.push(line.to_owned()),
            }
        }
        Ok(lines.join("\n") + "\n")
    }

    /// The line of images with those of the disks.
    fn with_disks(&self, line: String) -> String {
        (0..self.disks.len()).fold(line, |line, index| format!("{line} {}", disk(index)))
    }

    /// Gives the monitor memory for the changes of the disks, in place of that for the disk that it has without them.
    fn make_room(&self, lines: &mut [String]) {
        let last = lines.iter_mut().rev().find(|line| line.trim_start().starts_with("memory "));
        if let Some(line) = last.filter(|_| !self.disks.is_empty()) {
            *line = format!("    memory {}M", MONITOR + (CHANGES + 1) * self.disks.len());
        }
    }

    /// The words for the monitor, without those for disks of its own if there are others.
    fn disk_words(&self, ours: &str) -> String {
        if self.disks.is_empty() {
            return ours.to_owned();
        }
        let word = |(index, file): (usize, &PathBuf)| match read_only(file) {
            Some(_) => format!("disk={}", disk(index)),
            None => format!("disk={}+{CHANGES}M", disk(index)),
        };
        let kept = ours.split(' ').filter(|word| !word.starts_with("disk=")).map(String::from);
        kept.chain(self.disks.iter().enumerate().map(word)).collect::<Vec<_>>().join(" ")
    }

    /// The monitor's arguments.
    fn arguments(&self, words: &str) -> Result<String> {
        let (ours, command_line) = words.split_once(" -- ").unwrap_or((words, ""));
        let mut ours = self.disk_words(ours);
        if let Some(cpus) = self.cpus {
            if !(1..=4).contains(&cpus) {
                bail!("a guest has 1 to 4 virtual CPUs, not {cpus}");
            }
            let kept = ours.split(' ').filter(|word| !word.starts_with("cpus="));
            ours = kept.chain([format!("cpus={cpus}").as_str()]).collect::<Vec<_>>().join(" ");
        }
        if self.multiboot.is_some() {
            let names: Vec<_> = (0..self.modules.len()).map(|index| format!("module={}", module(index))).collect();
            let line = self.command_line.as_deref().unwrap_or("");
            let kept: Vec<_> =
                ours.split(' ').filter(|word| word.starts_with("cpus=") && self.cpus.is_some()).collect();
            let more = self.disk_words("");
            let words = [&[format!("multiboot={MULTIBOOT}")], &*names].concat().join(" ");
            let words = [words.as_str(), &kept.join(" "), more.trim()].join(" ");
            return Ok(format!("    arguments {} -- {line}", words.trim()));
        }
        let mut command_line = self.command_line.as_deref().unwrap_or(command_line).to_owned();
        if self.script && self.command_line.is_none() && self.initial.is_none() {
            command_line += " rdinit=/check";
        }
        Ok(format!("    {ours} -- {command_line}"))
    }

    /// An image that boots the guest's kernel on the machine itself, with the same initial file system.
    ///
    /// # Errors
    /// A file cannot be read, or fetched.
    pub fn direct(&self, command_line: &str) -> Result<Image> {
        let kernel = self.file(KERNEL)?.context("there is no kernel")?;
        let modules = self.module(INITIAL)?.into_iter().collect();
        let kernel_args = command_line.split_whitespace().map(String::from).collect();
        Ok(Image { protocol: Protocol::Linux, kernel, kernel_args, modules })
    }

    /// The module `name`, if it is one of a guest; `None` for a program of the workspace.
    ///
    /// # Errors
    /// It cannot be read, or fetched.
    pub fn module(&self, name: &str) -> Result<Option<Module>> {
        let Some(file) = self.file(name)? else { return Ok(None) };
        let mut data = fs::read(&file).with_context(|| format!("cannot read the guest's file {}", file.display()))?;
        if name == KERNEL {
            data = program::image(data).with_context(|| format!("{} is no guest", file.display()))?;
        }
        Ok(Some(Module { name: name.into(), data, args: Vec::new() }))
    }

    /// The file that is the module `name`.
    fn file(&self, name: &str) -> Result<Option<PathBuf>> {
        Ok(Some(match name {
            KERNEL => match &self.kernel {
                Some(file) => file.clone(),
                None => debian::kernel()?.image,
            },
            INITIAL => match &self.initial {
                Some(file) => file.clone(),
                None => initramfs::build(self.kernel.as_deref())?,
            },
            MULTIBOOT => {
                self.multiboot.clone().context("the configuration names a Multiboot guest; use --multiboot-guest")?
            }
            name => {
                let module = (0..self.modules.len()).find(|index| module(*index) == name);
                let disk = (0..self.disks.len()).find(|index| disk(*index) == name);
                let disk = disk.and_then(|index| self.disks.get(index));
                let disk = disk.map(|file| read_only(file).unwrap_or_else(|| file.clone()));
                match module.and_then(|index| self.modules.get(index)).cloned().or(disk) {
                    Some(file) => file,
                    None => return Ok(None),
                }
            }
        }))
    }
}

/// MiB that the monitor needs, and for the changes of a disk.
const MONITOR: usize = 8;
const CHANGES: usize = 4;

/// The file of a disk that is only read.
fn read_only(file: &Path) -> Option<PathBuf> {
    Some(file.to_str()?.strip_suffix(":ro")?.into())
}

fn disk(index: usize) -> String {
    format!("guest-disk-{index}")
}

fn module(index: usize) -> String {
    format!("guest-module-{index}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "images vmm vmlinuz initrd\nprogram vmm\n    may read vmlinuz\n    may read initrd\n    \
                        arguments kernel=vmlinuz initrd=initrd cpus=2 -- console=ttyS0 quiet\n";

    #[test]
    fn a_script_and_other_numbers_of_processors_change_the_arguments() {
        let options = Options { script: true, cpus: Some(1), ..Options::default() };
        let text = options.adapt(TEXT).unwrap();
        assert!(text.contains("arguments kernel=vmlinuz initrd=initrd cpus=1 -- console=ttyS0 quiet rdinit=/check\n"));
        assert!(Options { cpus: Some(9), ..Options::default() }.adapt(TEXT).is_err());
        assert_eq!(Options::default().adapt(TEXT).unwrap(), TEXT);
    }

    #[test]
    fn disks_take_the_place_of_the_one_that_there_is() {
        let text = TEXT.replace("cpus=2", "cpus=2 disk=4M").replace("program vmm\n", "program vmm\n    memory 12M\n");
        let disks = vec!["root.img".into(), "/a/b.iso:ro".into()];
        let options = Options { disks, ..Options::default() };
        let text = options.adapt(&text).unwrap();
        assert!(text.contains("images vmm vmlinuz initrd guest-disk-0 guest-disk-1\n"));
        assert!(text.contains("    memory 18M\n"));
        assert!(text.contains("    may read guest-disk-0\n    may read guest-disk-1\n    arguments kernel="));
        assert!(text.contains("cpus=2 disk=guest-disk-0+4M disk=guest-disk-1 -- console"));
        assert_eq!(options.file("guest-disk-1").unwrap(), Some("/a/b.iso".into()));
        let options = Options { multiboot: Some("kernel.elf".into()), cpus: Some(2), ..options };
        let text = options.adapt(&text).unwrap();
        assert!(text.contains("multiboot=multiboot cpus=2 disk=guest-disk-0+4M disk=guest-disk-1 -- \n"), "{text}");
    }

    #[test]
    fn a_multiboot_guest_takes_the_place_of_linux() {
        let options = Options {
            multiboot: Some("kernel.elf".into()),
            modules: vec!["one".into()],
            command_line: Some("serial".into()),
            ..Options::default()
        };
        let text = options.adapt(TEXT).unwrap();
        assert!(text.contains("images vmm multiboot guest-module-0\n"));
        assert!(text.contains("arguments multiboot=multiboot module=guest-module-0 -- serial\n"));
        assert!(text.contains("may read multiboot\n    may read guest-module-0\n"));
    }
}
