//! The emulators' command lines.
//!
//! Invariants: whatever an emulator writes goes to its machine's own directory.
//! Concurrency: none. Source: the manuals of QEMU 7.2 and Bochs 2.7.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::machine::{Firmware, Machine, Media, Model, Platform};
use crate::process;

/// The port that ends QEMU with a status; the kernel learns it by `exit=0xf4`.
pub const EXIT_PORT: &str = "isa-debug-exit,iobase=0xf4,iosize=0x04";
/// Names of OVMF's code and variables, in the order of preference.
const OVMF: [(&str, &str); 2] = [("OVMF_CODE.fd", "OVMF_VARS.fd"), ("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd")];

/// QEMU's command line without its console. Files it needs go to `directory`.
pub fn qemu(machine: &Machine, directory: &Path) -> Result<Command> {
    let mut command = process::bound("qemu-system-x86_64");
    let model = match machine.model {
        Model::Q35 => "q35",
        Model::Pc => "pc",
    };
    command.args(["-machine", model, "-m", &machine.memory.to_string(), "-smp", &machine.smp.to_string()]);
    if machine.platform == Platform::Kvm {
        // A software KVM shows IA32_ARCH_CAPABILITIES but refuses the write with which QEMU starts.
        command.args(["-accel", "kvm", "-cpu", "host,arch-capabilities=off"]);
    } else {
        if machine.counting {
            command.args(["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-cpu", "max"]);
        } else {
            let threads = if machine.in_turn { "tcg,thread=single" } else { "tcg,thread=multi" };
            command.args(["-accel", threads, "-cpu", "max"]);
        }
        command.args(["-d", "cpu_reset", "-D"]).arg(directory.join(RESETS));
    }
    match &machine.media {
        Media::Iso(iso) => command.arg("-cdrom").arg(iso),
        Media::Multiboot(file) => command.arg("-kernel").arg(file),
        Media::Linux { kernel, initial, command_line } => {
            command.arg("-kernel").arg(kernel).arg("-initrd").arg(initial);
            command.args(["-append", command_line])
        }
    };
    if machine.firmware == Firmware::Uefi {
        let (code, variables) = ovmf()?;
        let copy = directory.join("variables.fd");
        fs::copy(&variables, &copy).with_context(|| format!("cannot copy {}", variables.display()))?;
        command.args(["-drive", &format!("if=pflash,format=raw,readonly=on,file={}", code.display())]);
        command.args(["-drive", &format!("if=pflash,format=raw,file={}", copy.display())]);
    }
    command.args(["-display", "none", "-no-reboot", "-net", "none", "-device", EXIT_PORT]);
    if machine.gdb {
        command.args(["-s", "-S"]);
    }
    Ok(command)
}

/// Where QEMU logs the state of a processor that is reset.
pub const RESETS: &str = "resets.log";

fn ovmf() -> Result<(PathBuf, PathBuf)> {
    let directory = Path::new("/usr/share/OVMF");
    let pairs = OVMF.iter().map(|(code, variables)| (directory.join(code), directory.join(variables)));
    let mut found = pairs.filter(|(code, variables)| code.is_file() && variables.is_file());
    match found.next() {
        Some(pair) => Ok(pair),
        None => bail!("the UEFI firmware is missing in {}; run `cargo xtask setup`", directory.display()),
    }
}

/// Bochs with its files in `directory`, inside a terminal made by `script`.
pub fn bochs(machine: &Machine, directory: &Path) -> Result<Command> {
    let Media::Iso(iso) = &machine.media else { bail!("Bochs boots from an ISO only") };
    let (smp, memory) = (machine.smp, machine.memory);
    let iso = iso.display();
    let lines = [
        "display_library: term".into(),
        format!("megs: {memory}"),
        "romimage: file=/usr/share/bochs/BIOS-bochs-latest".into(),
        "vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest".into(),
        format!("cpu: model=corei7_icelake_u, count={smp}, ips=50000000, reset_on_triple_fault=0"),
        "ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14".into(),
        format!("ata0-master: type=cdrom, path=\"{iso}\", status=inserted"),
        "boot: cdrom".into(),
        format!("com1: enabled=1, mode=file, dev={SERIAL}"),
        format!("log: {BOCHS_LOG}"),
        "panic: action=fatal".into(),
        "clock: sync=none".into(),
        "port_e9_hack: enabled=1".into(),
        // Where the sound library is installed and no sound card is, Bochs dies of looking for one.
        "sound: driver=dummy".into(),
    ];
    fs::write(directory.join("bochsrc"), lines.join("\n") + "\n").context("cannot write Bochs' configuration")?;
    // Debian's Bochs has its debugger built in and waits for this word.
    fs::write(directory.join("rc"), "c\n").context("cannot write Bochs' start command")?;
    // When the tool dies `script` dies, and then Bochs.
    let inner = process::line(process::bound("bochs").args(["-q", "-f", "bochsrc", "-rc", "rc"]));
    let mut command = process::bound("script");
    command.args(["-q", "-c", &format!("exec {inner}"), "/dev/null"]);
    command.current_dir(directory).env("TERM", "xterm");
    Ok(command)
}

/// Bochs' serial console and its own log, in the machine's directory.
pub const SERIAL: &str = "serial.out";
/// Bochs' own log.
pub const BOCHS_LOG: &str = "bochs.log";
