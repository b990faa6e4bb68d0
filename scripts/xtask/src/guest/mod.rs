//! What a guest is made of: a Linux kernel from Debian's archive, an initial file system with BusyBox, or files that the
//! user names.
//!
//! Invariants: nothing is installed; packages are unpacked below the build directory, once per version.
//! Concurrency: one process at a time makes a file; others see it whole or not at all.

mod cpio;
mod debian;
mod initramfs;
pub mod program;

use std::fs;
use std::path::PathBuf;

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
                    lines.push(line);
                }
                _ => lines.push(line.to_owned()),
            }
        }
        Ok(lines.join("\n") + "\n")
    }

    /// The monitor's arguments.
    fn arguments(&self, words: &str) -> Result<String> {
        let (ours, command_line) = words.split_once(" -- ").unwrap_or((words, ""));
        let mut ours = ours.to_owned();
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
            return Ok(format!("    arguments multiboot={MULTIBOOT} {} -- {line}", names.join(" ")));
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
            name => match (0..self.modules.len()).find(|index| module(*index) == name) {
                Some(index) => self.modules.get(index).cloned().unwrap_or_default(),
                None => return Ok(None),
            },
        }))
    }
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
