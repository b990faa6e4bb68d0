//! The same Linux in a virtual machine and on the emulator directly: instructions, time and exits.
//!
//! Kernel, initial file system, command line, memory and virtio devices are the same; the direct machine has nothing else but
//! what its chip set has.
//! Concurrency: one machine after the other.

mod debugger;
pub mod rows;
mod session;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::drive::Drive;
use crate::image::{Image, Module, Protocol};
use crate::machine::{Machine, Media, Platform};
use crate::{guest, scenario, workspace};
use rows::{Row, Target};
pub use session::lines;
use session::{Session, Stops};

/// The boot configuration, and what in it says how many virtual CPUs there are.
const CONFIGURATION: &str = "measure.conf";
const ONE_CPU: &str = "cpus=1";
/// What in it starts the program, and what has to follow so that it measures pipes alone.
const PROGRAM: &str = "rdinit=/measure";
const PIPES: &str = " pipe";
/// The guest's memory and the size of its disk, in MiB, as there.
const MEMORY: u32 = 256;
const DISK: u64 = 4;
/// Where the kernel's 64-bit entry is: behind what the monitor loads at its preferred address, and QEMU at 1 MiB.
const ENTRY_IN_GUEST: u64 = 0x100_0200;
const ENTRY_DIRECTLY: u64 = 0x10_0200;
/// The line of the console behind which only programs run that are linked elsewhere.
const SYSTEM_RUNS: &str = "root program: ";
/// Of the line that says how fast the time-stamp counter is: what stands before and behind.
const CLOCK: (&str, &str) = ("clock: TSC ", " MHz");

/// Most exits: up to the first process, for a block that is read.
pub const MOST_EXITS: [(&str, Option<u64>); 3] = [("init", Some(25_000)), ("block_4k", Some(4)), ("block_1m", Some(8))];
/// The same for a byte there and back between two virtual CPUs.
pub const PIPE_EXITS: (&str, Option<u64>) = ("pipe", Some(6));

/// Time, beside the same directly; of pipes in nanoseconds.
const TIMES: [(&str, Option<Target>); 4] = [
    ("init", Some(Target::Ratio(1_800))),
    ("block_4k", Some(Target::Ratio(4_000))),
    ("block_1m", Some(Target::Ratio(2_000))),
    ("net_send", None),
];
const PIPE_TIME: [(&str, Option<Target>); 1] = [("pipe", Some(Target::Figure(600_000)))];

/// How often both are booted for their time; the quickest of each counts.
const BOOTS: u32 = 3;

/// Whether instructions are counted, on how many cores and virtual CPUs, and words for the program.
#[derive(Clone, Copy)]
struct Setting {
    counting: bool,
    cpus: u32,
    words: &'static str,
}

/// Everything that is compared.
///
/// # Errors
/// A machine fails.
pub fn measure(drive: &Drive) -> Result<Vec<Row>> {
    let setting = |counting, cpus, words| Setting { counting, cpus, words };
    println!("bench: Linux in a virtual machine, counting instructions");
    let guest = in_guest(drive, setting(true, 1, ""))?;
    let khz = frequency(&guest.log)?;
    println!("bench: Linux directly on the emulator, counting instructions");
    let direct = directly(drive, setting(true, 1, ""), khz)?;
    let mut all = rows::counted(&guest, &direct);
    all.append(&mut rows::exits(&guest, "exits", &MOST_EXITS));
    all.append(&mut rows::reasons(&guest.log));
    println!("bench: Linux on two virtual CPUs, counting instructions");
    let guest = in_guest(drive, setting(true, 2, PIPES))?;
    all.append(&mut rows::exits(&guest, "exits", &[PIPE_EXITS]));

    for (setting, names) in [(setting(false, 1, ""), &TIMES[..]), (setting(false, 2, PIPES), &PIPE_TIME)] {
        // Time depends on the host: where it cannot be had, the rest still counts.
        match in_time(drive, setting, names) {
            Ok(mut rows) => all.append(&mut rows),
            Err(why) => println!("bench: not measured: {why:#}"),
        }
    }
    Ok(all)
}

/// Time of Linux on both sides, and exits of what needs two processors.
fn in_time(drive: &Drive, setting: Setting, names: &[(&str, Option<Target>)]) -> Result<Vec<Row>> {
    let cores = if setting.cpus == 1 { "one core" } else { "two cores" };
    println!("bench: time of Linux in a virtual machine and directly, on {cores}, {BOOTS} times");
    let mut guest = in_guest(drive, setting)?;
    let khz = frequency(&guest.log)?;
    let mut direct = directly(drive, setting, khz)?;
    for _ in 1..BOOTS {
        guest.take_quicker(in_guest(drive, setting)?);
        direct.take_quicker(directly(drive, setting, khz)?);
    }
    let mut all = rows::timed(&guest, &direct, khz, names);
    // Those that come with time as well, so that they depend on the host.
    let pipes = names.iter().filter(|(name, _)| *name == PIPE_EXITS.0).map(|(name, _)| (*name, None));
    all.append(&mut rows::exits(&guest, "time_exits", &pipes.collect::<Vec<_>>()));
    Ok(all)
}

/// The boot configuration.
fn configuration(setting: Setting) -> Result<String> {
    let text = scenario::configuration(CONFIGURATION)?.replace(ONE_CPU, &format!("cpus={}", setting.cpus));
    Ok(text.replace(PROGRAM, &format!("{PROGRAM}{}", setting.words)))
}

fn in_guest(drive: &Drive, setting: Setting) -> Result<Session> {
    let text = configuration(setting)?;
    let mut modules = vec![Module::program(&drive.built.program("root")?)?];
    modules.append(&mut scenario::configured(CONFIGURATION, text, &drive.built, &guest::Options::default())?);
    let kernel_args = vec!["exit=0xf4".to_owned()];
    let iso =
        Image { protocol: Protocol::Multiboot2, kernel: drive.built.kernel.clone(), kernel_args, modules }.build()?;
    let machine = Machine { kernel: Some(drive.built.kernel.clone()), ..Machine::new("bench-guest", Media::Iso(iso)) };
    session(drive, machine, setting, (ENTRY_IN_GUEST, Some(SYSTEM_RUNS)))
}

fn directly(drive: &Drive, setting: Setting, khz: u64) -> Result<Session> {
    let options = guest::Options::default();
    let directory = workspace::scratch("linux")?;
    let file = |name: &str| -> Result<PathBuf> {
        let module = options.module(name)?.with_context(|| format!("there is no {name}"))?;
        let file = directory.join(name);
        fs::write(&file, module.data).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    };
    let disk = directory.join("disk");
    fs::write(&disk, vec![0; (DISK << 20) as usize]).with_context(|| format!("cannot write {}", disk.display()))?;
    let text = configuration(setting)?;
    let line = text.lines().find_map(|line| line.split_once(" -- ")).context("no command line")?.1.trim();
    let hints = format!("tsc_early_khz={khz} lpj={} tsc=reliable no_timer_check", khz * 1000 / 250);
    let command_line = format!("{line} {hints}");
    let media = Media::Linux { kernel: file("vmlinuz")?, initial: file("initrd")?, command_line };
    let mut machine = Machine { memory: MEMORY, ..Machine::new("bench-direct", media) };
    machine.qemu_args = [
        "-S".to_owned(),
        "-drive".into(),
        format!("if=none,id=disk,format=raw,file={}", disk.display()),
        "-device".into(),
        "virtio-blk-pci,drive=disk,disable-legacy=on".into(),
        "-netdev".into(),
        "user,id=net,restrict=on".into(),
        "-device".into(),
        "virtio-net-pci,netdev=net,disable-legacy=on".into(),
        "-device".into(),
        "virtio-rng-pci,disable-legacy=on".into(),
    ]
    .into();
    session(drive, machine, setting, (ENTRY_DIRECTLY, None))
}

fn session(drive: &Drive, machine: Machine, setting: Setting, (entry, after): (u64, Option<&str>)) -> Result<Session> {
    let socket = session::socket(&machine.name);
    let mut machine = Machine { platform: Platform::Qemu, smp: setting.cpus, counting: setting.counting, ..machine };
    // What nobody asked for would only keep the emulator from its work.
    machine.qemu_args.extend(["-nodefaults".into(), "-gdb".into()]);
    machine.qemu_args.push(format!("unix:{},server=on,wait=off", socket.display()));
    let program = drive.built.program("measure")?;
    let found = session::run(&machine, &socket, &Stops { entry, program: &program, after });
    // It may not be there.
    let _ = fs::remove_file(&socket);
    found.with_context(|| format!("the machine {}", machine.name))
}

/// Ticks per millisecond of the time-stamp counter, as the kernel has measured.
fn frequency(log: &[String]) -> Result<u64> {
    let text = log.iter().find_map(|line| line.split_once(CLOCK.0)?.1.split_once(CLOCK.1));
    let megahertz =
        text.and_then(|(number, _)| number.parse::<f64>().ok()).context("the kernel's clock is not known")?;
    Ok((megahertz * 1000.0).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frequency_is_the_kernels() {
        let log = ["[ 0 info ] clock: TSC 1497.600 MHz (CPUID), timer by TSC deadline".to_owned()];
        assert_eq!(frequency(&log).ok(), Some(1_497_600));
        assert!(frequency(&[]).is_err());
    }

    #[test]
    fn the_configuration_says_what_is_assumed_of_it() {
        let text = scenario::configuration(CONFIGURATION).unwrap();
        let arguments = text.lines().find(|line| line.contains(" -- ")).unwrap();
        assert!(
            arguments.contains(ONE_CPU) && arguments.contains(&format!("disk={DISK}M")) && arguments.contains("quiet")
        );
        assert!(text.contains(&format!("may guest {MEMORY}M")));
    }
}
