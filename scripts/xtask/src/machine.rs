//! The description of a machine to boot.
//!
//! Invariants: pure data, checked by [`Machine::check`] before anything starts;
//! every machine has a time limit. Concurrency: none.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::ValueEnum;

/// What runs the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Platform {
    /// QEMU's software emulation (AMD SVM).
    Qemu,
    /// Bochs (Intel VMX); 1 to 8 cores, slow.
    Bochs,
    /// QEMU on /dev/kvm.
    Kvm,
}

/// QEMU's machine model.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Model {
    /// PCI Express chip set of 2009, IOMMU possible.
    Q35,
    /// PCI chip set of 1996.
    Pc,
}

/// Firmware of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Firmware {
    /// `SeaBIOS`, or Bochs' own BIOS.
    Bios,
    /// OVMF; QEMU and KVM only.
    Uefi,
}

/// What the machine boots.
#[derive(Clone, Debug)]
pub enum Media {
    /// A bootable ISO, in the CD drive.
    Iso(PathBuf),
    /// A multiboot1 ELF32 file, loaded by QEMU itself (`-kernel`).
    Multiboot(PathBuf),
    /// A Linux kernel with its initial file system and command line, loaded by QEMU itself, without Vela.
    Linux {
        /// The kernel.
        kernel: PathBuf,
        /// The initial file system.
        initial: PathBuf,
        /// The command line.
        command_line: String,
    },
}

/// A machine to boot.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Names the log files; letters, digits, `-` and `_`.
    pub name: String,
    /// What runs it.
    pub platform: Platform,
    /// Number of cores, from 1.
    pub smp: u32,
    /// Memory in MiB.
    pub memory: u32,
    /// QEMU's machine model.
    pub model: Model,
    /// Firmware.
    pub firmware: Firmware,
    /// What it boots.
    pub media: Media,
    /// How long it may run; `None`: a default by platform.
    pub timeout: Option<Duration>,
    /// Whether the console's lines are printed as they come.
    pub echo: bool,
    /// The kernel's ELF file, for the symbols of a fault.
    pub kernel: Option<PathBuf>,
    /// Further arguments of QEMU.
    pub qemu_args: Vec<String>,
    /// Whether QEMU waits for a debugger on TCP port 1234.
    pub gdb: bool,
    /// Whether QEMU's software emulation counts instructions: one tick of the time-stamp counter each, cores in turn.
    pub counting: bool,
    /// Whether QEMU's software emulation runs cores in turn, by the host's clock.
    pub in_turn: bool,
}

impl Machine {
    /// A q35 machine with 4 cores and 512 MiB under QEMU.
    pub fn new(name: &str, media: Media) -> Self {
        Self {
            name: name.into(),
            platform: Platform::Qemu,
            smp: 4,
            memory: 512,
            model: Model::Q35,
            firmware: Firmware::Bios,
            media,
            timeout: None,
            echo: false,
            kernel: None,
            qemu_args: Vec::new(),
            gdb: false,
            counting: false,
            in_turn: false,
        }
    }

    /// Whether QEMU runs the machine (in software or on KVM).
    pub fn on_qemu(&self) -> bool {
        self.platform != Platform::Bochs
    }

    /// How long the machine may run; generous, because hosts are busy: cores that wait for each other are 50 times as slow on a
    /// host with other work, and nobody waits for this but at a hang.
    pub fn time_limit(&self) -> Duration {
        if let Some(limit) = self.timeout {
            return limit;
        }
        let cores = u64::from(self.smp);
        let seconds = match self.platform {
            Platform::Qemu => 300 + 2 * cores,
            Platform::Bochs => 300 + 60 * cores,
            // GRUB alone takes 20 s on a software KVM.
            Platform::Kvm => 300 + 10 * cores,
        };
        let firmware = if self.firmware == Firmware::Uefi { 60 } else { 0 };
        Duration::from_secs(seconds + firmware)
    }

    /// Refuses what the platform cannot do.
    ///
    /// # Errors
    /// Says what does not fit and what would.
    pub fn check(&self) -> Result<()> {
        if self.memory < 64 {
            bail!("{} MiB are too little to boot in; use at least --memory 64", self.memory);
        }
        if self.counting && self.platform != Platform::Qemu {
            bail!("only QEMU's software emulation counts instructions; use --platform qemu");
        }
        match self.platform {
            Platform::Qemu | Platform::Kvm if !(1..=255).contains(&self.smp) => {
                bail!("QEMU emulates 1 to 255 cores, not {}", self.smp)
            }
            Platform::Bochs if !(1..=8).contains(&self.smp) => {
                bail!("Bochs runs 1 to 8 cores, not {}; use --platform qemu for more", self.smp)
            }
            Platform::Bochs if self.firmware == Firmware::Uefi => {
                bail!("Bochs has no UEFI firmware; use --platform qemu")
            }
            Platform::Bochs if self.model == Model::Pc => bail!("--machine is for QEMU; Bochs has one machine"),
            Platform::Bochs if self.gdb || !self.qemu_args.is_empty() => {
                bail!("--gdb and --qemu-arg are for QEMU, not for Bochs")
            }
            Platform::Bochs if !matches!(self.media, Media::Iso(_)) => {
                bail!("Bochs boots from an ISO only")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine::new("test", Media::Iso("x.iso".into()))
    }

    #[test]
    fn core_counts_a_platform_cannot_run_are_refused() {
        for (platform, smp, good) in [
            (Platform::Qemu, 0, false),
            (Platform::Qemu, 1, true),
            (Platform::Qemu, 255, true),
            (Platform::Qemu, 256, false),
            (Platform::Bochs, 8, true),
            (Platform::Bochs, 9, false),
        ] {
            assert_eq!(Machine { platform, smp, ..machine() }.check().is_ok(), good, "{platform:?} {smp}");
        }
    }

    #[test]
    fn flags_of_qemu_are_refused_for_bochs() {
        let bochs = Machine { platform: Platform::Bochs, smp: 2, ..machine() };
        assert!(bochs.check().is_ok());
        assert!(Machine { firmware: Firmware::Uefi, ..bochs.clone() }.check().is_err());
        assert!(Machine { gdb: true, ..bochs.clone() }.check().is_err());
        assert!(Machine { qemu_args: vec!["-s".into()], ..bochs }.check().is_err());
    }

    #[test]
    fn only_software_emulation_counts_instructions() {
        for (platform, good) in [(Platform::Qemu, true), (Platform::Kvm, false), (Platform::Bochs, false)] {
            assert_eq!(Machine { platform, counting: true, ..machine() }.check().is_ok(), good, "{platform:?}");
        }
    }

    #[test]
    fn every_machine_has_a_time_limit() {
        assert_eq!(machine().time_limit(), Duration::from_secs(308));
        assert_eq!(Machine { timeout: Some(Duration::from_secs(5)), ..machine() }.time_limit().as_secs(), 5);
    }
}
