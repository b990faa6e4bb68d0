//! The command line: every verb and flag, with its help.
//!
//! Invariants: what a platform cannot do is refused before anything is built or started.
//! Concurrency: none; the library below starts what runs beside.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use xtask::build::{self, Built, Checks};
use xtask::image::{Image, Module, Protocol};
use xtask::machine::{Firmware, Machine, Media, Model, Platform};
use xtask::setup::{self, Purpose};
use xtask::test::{self, Tier};
use xtask::{bench, guest, header, lint, run, scenario, workspace};

/// Installs, builds, boots, tests and checks Vela.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install what the other verbs need (Debian packages as root or through sudo); quick when all is there
    Setup {
        /// What to install for
        #[arg(long = "for", value_enum, default_value = "run")]
        purpose: Wanted,
    },
    /// Build the kernel and the root programs
    Build {
        /// Build the kernel with its self tests (`provoke=NAME`)
        #[arg(long)]
        selftest: bool,
        /// The same, and with the shadow of what cores may remember of tables
        #[arg(long)]
        shadow: bool,
    },
    /// Write a bootable ISO (BIOS and UEFI)
    Image {
        #[command(flatten)]
        boot: Box<Boot>,
        /// Where to write it
        #[arg(long, short, default_value = "vela.iso")]
        output: PathBuf,
    },
    /// Boot a scenario; the exit status is 0 when it reports success
    Run(Box<Run>),
    /// Host tests, Miri and the running system; ends with the line `N passed, N failed`
    Test {
        /// Only tests whose name contains this; `models`: the model checkers alone; `mutants`: whether they notice changes;
        /// `vm`: virtual machines, that is guests on both kinds of processor, the monitor with its devices, their fuzzers;
        /// `memory`: delegation, tables and the shootdown, on the host and in the running system
        filter: Option<String>,
        /// How much is tested
        #[arg(long, value_enum, default_value = "fast")]
        tier: Tier,
    },
    /// Measure the kernel operation by operation: instructions, beside targets and the figures of other kernels
    Bench(Box<bench::Options>),
    /// Formatting, clippy and the rules of the house; writes the ledger of unsafe code
    Lint,
    /// Write the C header of the interface from the crate in `include`
    Header,
}

#[derive(Clone, Copy, ValueEnum)]
enum Wanted {
    /// Building and booting
    Run,
    /// The above and Miri on the pinned nightly
    Test,
}

/// What is booted.
#[derive(Args)]
struct Boot {
    /// Boot configuration: linux, linux-revoke, hello, counter, idle, bench, measure, ud2
    #[arg(long, default_value = scenario::SCENARIOS[0].name)]
    scenario: String,
    /// Another root program (ELF) in place of the scenario's
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// End a program of the scenario that many milliseconds after its start; may be repeated
    #[arg(long = "kill", value_name = "NAME@MS")]
    kills: Vec<String>,
    /// Another kernel (bzImage), or a program for the bare machine (`tests/guests`), for the guest
    #[arg(long, value_name = "FILE")]
    guest_kernel: Option<PathBuf>,
    /// Another initial file system for the guest
    #[arg(long, value_name = "FILE")]
    guest_initrd: Option<PathBuf>,
    /// Another command line for the guest
    #[arg(long, value_name = "STR", allow_hyphen_values = true)]
    guest_cmdline: Option<String>,
    /// Virtual CPUs of the guest, 1 to 4
    #[arg(long, value_name = "N")]
    guest_cpus: Option<u32>,
    /// A disk of the guest, in place of the one in memory: an image, whose file stays as it is: the guest's changes (up to
    /// 4 MiB) last as long as its machine; FILE:ro for one that is only read; may be repeated
    #[arg(long = "guest-disk", value_name = "FILE")]
    guest_disks: Vec<PathBuf>,
    /// Without the second guest that the script talks to
    #[arg(long)]
    guest_alone: bool,
    /// A Multiboot guest (ELF32) in place of Linux
    #[arg(long, value_name = "FILE")]
    multiboot_guest: Option<PathBuf>,
    /// A module of the Multiboot guest; may be repeated
    #[arg(long = "guest-module", value_name = "FILE")]
    guest_modules: Vec<PathBuf>,
    /// A further module after the root program; may be repeated
    #[arg(long = "module", value_name = "FILE")]
    modules: Vec<PathBuf>,
    /// An argument of the kernel, as log=debug; may be repeated
    #[arg(long = "kernel-arg", value_name = "ARG")]
    kernel_args: Vec<String>,
    /// Use the kernel with its self tests
    #[arg(long)]
    selftest: bool,
    /// The same, with the shadow of what cores may remember of tables
    #[arg(long)]
    shadow: bool,
}

#[derive(Args)]
struct Run {
    #[command(flatten)]
    boot: Boot,
    /// What runs the machine
    #[arg(long, value_enum, default_value = "qemu")]
    platform: Platform,
    /// Number of cores (QEMU 1 to 255, Bochs 1 to 8)
    #[arg(long, value_name = "N", default_value_t = 4)]
    smp: u32,
    /// Memory in MiB
    #[arg(long, value_name = "MIB", default_value_t = 512)]
    memory: u32,
    /// Only read the console; ends with the machine or the time limit
    #[arg(long)]
    headless: bool,
    /// Time limit in seconds [default: by scenario and platform when headless, else none]
    #[arg(long, value_name = "S")]
    timeout: Option<u64>,
    /// QEMU's machine model
    #[arg(long, value_enum, default_value = "q35")]
    machine: Model,
    /// Firmware
    #[arg(long, value_enum, default_value = "bios")]
    firmware: Firmware,
    /// A further argument of QEMU; may be repeated
    #[arg(long = "qemu-arg", value_name = "ARG", allow_hyphen_values = true)]
    qemu_args: Vec<String>,
    /// Wait for a debugger on TCP port 1234
    #[arg(long)]
    gdb: bool,
}

impl Cli {
    /// Does what the command line asks for.
    pub fn run(self) -> Result<()> {
        match self.verb {
            Verb::Setup { purpose } => {
                let purpose = match purpose {
                    Wanted::Run => Purpose::Run,
                    Wanted::Test => Purpose::Test,
                };
                setup::run(purpose)?;
                println!("setup: everything is there");
                Ok(())
            }
            Verb::Build { selftest, shadow } => {
                let built = build::all(Checks::from_flags(selftest, shadow))?;
                println!("build: {}", built.kernel.display());
                Ok(())
            }
            Verb::Image { boot, output } => boot.write(&output),
            Verb::Run(run) => run.run(),
            Verb::Test { filter, tier } => {
                setup::run(Purpose::Test)?;
                test::run(filter.as_deref(), tier)
            }
            Verb::Bench(options) => bench::run(&options),
            Verb::Lint => lint::run(workspace::root()),
            Verb::Header => header::write(),
        }
    }
}

impl Boot {
    /// What the guest is; with `script` it runs one instead of a shell.
    fn guest(&self, script: bool) -> guest::Options {
        guest::Options {
            kernel: self.guest_kernel.clone(),
            initial: self.guest_initrd.clone(),
            command_line: self.guest_cmdline.clone(),
            cpus: self.guest_cpus,
            multiboot: self.multiboot_guest.clone(),
            modules: self.guest_modules.clone(),
            disks: self.guest_disks.clone(),
            script,
            alone: self.guest_alone,
        }
    }

    fn image(&self, built: &Built, more: &[&str], script: bool) -> Result<PathBuf> {
        let scenario = scenario::find(&self.scenario)?;
        let mut modules = match &self.root {
            Some(_) if !self.kills.is_empty() => bail!("--kill is for programs of a scenario, not for --root"),
            Some(file) => vec![Module::file(file)?],
            None => scenario.modules(built, &self.kills, &self.guest(script))?,
        };
        for file in &self.modules {
            modules.push(Module::file(file)?);
        }
        let fixed = scenario.kernel_args.iter().chain(more).map(ToString::to_string);
        let kernel_args = fixed.chain(self.kernel_args.iter().cloned()).collect();
        Image { protocol: Protocol::Multiboot2, kernel: built.kernel.clone(), kernel_args, modules }.build()
    }

    const fn checks(&self) -> Checks {
        Checks::from_flags(self.selftest, self.shadow)
    }

    fn write(&self, output: &PathBuf) -> Result<()> {
        setup::run(Purpose::Run)?;
        let iso = self.image(&build::all(self.checks())?, &[], false)?;
        std::fs::copy(&iso, output).with_context(|| format!("cannot write {}", output.display()))?;
        println!("image: {} ({} KiB)", output.display(), std::fs::metadata(output)?.len() / 1024);
        Ok(())
    }
}

impl Run {
    fn run(&self) -> Result<()> {
        setup::run(Purpose::Run)?;
        let scenario = scenario::find(&self.boot.scenario)?;
        let mut machine = Machine::new("run", Media::Iso(PathBuf::new()));
        machine.platform = self.platform;
        machine.smp = self.smp;
        machine.memory = self.memory;
        machine.model = self.machine;
        machine.firmware = self.firmware;
        let usual = scenario.limits.filter(|_| self.headless && self.boot.root.is_none());
        let usual = usual.map(|[qemu, bochs]| if self.platform == Platform::Bochs { bochs } else { qemu });
        machine.timeout = self.timeout.or(usual).map(Duration::from_secs);
        machine.qemu_args.clone_from(&self.qemu_args);
        machine.gdb = self.gdb;
        machine.echo = true;
        machine.check()?;
        let built = build::all(self.boot.checks())?;
        machine.media = Media::Iso(self.boot.image(&built, &["exit=0xf4"], self.headless)?);
        machine.kernel = Some(built.kernel.clone());
        if self.gdb {
            println!("run: waiting for a debugger: gdb {} -ex 'target remote :1234'", built.kernel.display());
        }
        let outcome = if self.headless {
            println!("run: {}", run::describe(&machine));
            run::to_the_end(&machine)?
        } else {
            run::desk(&machine)?
        };
        if outcome.passed {
            println!("run: {}", outcome.reason);
            return Ok(());
        }
        if outcome.log.is_empty() {
            bail!("{}", outcome.explain(40));
        }
        let root = workspace::root();
        let log = outcome.file.strip_prefix(root).unwrap_or(&outcome.file).to_owned();
        bail!("{}", run::Outcome { file: log, ..outcome }.explain(40))
    }
}
