//! Virtual machines: Linux boots, two guests talk, one is killed, and small guests end as they should.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use xtask::bench;
use xtask::guest::{Options, debian};
use xtask::machine::{Machine, Platform};
use xtask::run::{self, Outcome};
use xtask::workspace;

use crate::case::Case;
use crate::context::{Context, expect_failure, expect_line};
use crate::linux_log::{apart, cores_of_their_own, interrupts_rise, no_new_warnings, plain_command_line, warnings};

/// How long a guest may take, on QEMU, or to its first line on Bochs.
const LIMIT: Duration = Duration::from_secs(900);

/// The cases of this module.
pub fn cases() -> Vec<Case> {
    vec![
        Case::new("vm-linux", |context, name| linux(context, name, |machine| machine)),
        Case::new("vm-linux-2-cores", |context, name| linux(context, name, |machine| Machine { smp: 2, ..machine }))
            .full(),
        Case::new("vm-linux-log", |context, name| {
            let options = Options { script: true, alone: true, ..Options::default() };
            let machine = context.with_guest("linux", name, &[], &options)?;
            let limit = Some(LIMIT);
            let outcome = run::to_the_end(&Machine { timeout: limit, ..machine })?.success()?;
            no_new_warnings(&outcome.log, &direct_warnings(context, name, Platform::Qemu)?)
        })
        .full(),
        Case::new("vm-kill-peer", kill_peer).full(),
        Case::new("vm-linux-bochs", first_line_on_bochs),
        Case::new("vm-linux-script-bochs", |context, name| {
            let on_bochs = |machine| Machine {
                platform: Platform::Bochs,
                smp: 3,
                timeout: Some(Duration::from_secs(1800)),
                ..machine
            };
            linux(context, name, on_bochs)
        })
        .full(),
        Case::new("vm-linux-full-kernel", |context, name| other_kernel(context, name, &debian::full_kernel()?, "6."))
            .full(),
        Case::new("vm-linux-later-kernel", |context, name| match debian::later_kernel() {
            Ok(kernel) => other_kernel(context, name, &kernel, "6.12"),
            Err(why) => {
                println!("system {name}: skipped: Debian's archive offers no later kernel: {why:#}");
                Ok(())
            }
        })
        .full(),
        Case::new("vm-linux-reboot", reboots),
        Case::new("vm-linux-revoke", beside_revocations),
        Case::new("vm-exits", exits),
        Case::new("vm-pipe", pipe),
        Case::new("vm-multiboot", |context, name| {
            multiboot(context, name, &PRINTS, true, &["hi", "guest ends with value 0"])
        }),
        Case::new("vm-multiboot-string", |context, name| {
            multiboot(context, name, &STRINGS, true, &["hi", "guest ends with value 0"])
        }),
        Case::new("vm-multiboot-module", |context, name| {
            multiboot(context, name, &MODULE, true, &["this is the module", "guest ends with value 0"])
        }),
        Case::new("vm-multiboot-status", |context, name| {
            multiboot(context, name, &FAILS, false, &["guest ends with value 5", "exit status 5"])
        }),
        Case::new("vm-triple-fault", |context, name| {
            let lines = ["the guest faulted while it handled a double fault: virtual CPU 0 at rip=0x100100"];
            multiboot(context, name, &FAULTS, false, &lines)
        }),
    ]
}

/// The scenario `linux` on an Intel processor, on one virtual CPU, as far as the guest's first line.
fn first_line_on_bochs(context: &Context, name: &str) -> Result<()> {
    let options = Options { script: true, alone: true, cpus: Some(1), ..Options::default() };
    let machine = context.with_guest("linux", name, &[], &options)?;
    let limit = LIMIT;
    let machine = Machine { platform: Platform::Bochs, smp: 1, timeout: Some(limit), ..machine };
    run::start(&machine)?.wait_for("check: begins", limit).map(drop)
}

/// Linux runs its script while another program delegates and revokes at random on the remaining cores.
fn beside_revocations(context: &Context, name: &str) -> Result<()> {
    let machine = context.configured("linux-revoke", name, &[])?;
    let outcome = run::to_the_end(&Machine { timeout: Some(LIMIT), ..machine })?.success()?;
    expect_line(&outcome, &["2 programs have done their work, with 0 deaths"])?;
    let (text, moves) = apart(&outcome.log, &["revoke: "]);
    for words in ["check: begins", "check: 2 virtual CPUs", "check: done"] {
        ensure!(text.contains(words), "no line with {words:?}: {}", outcome.explain(40));
    }
    let begins = text.find("check: begins");
    ensure!(
        moves.last() > begins.as_ref(),
        "the moves were over before the guest's script began: {}",
        outcome.explain(40)
    );
    Ok(())
}

/// Two guests talk; one is ended, while it boots, too, and starts again: the other runs on, hears nothing for a while, and then
/// talks to it again. How long a boot takes is the host's business, so it is ended more than once.
fn kill_peer(context: &Context, name: &str) -> Result<()> {
    let kills = [700, 5000, 10_000, 20_000, 40_000, 80_000].map(|after| format!("peer@{after}"));
    let command_line = Some("console=ttyS0 quiet rdinit=/talk".into());
    let options = Options { script: true, command_line, ..Options::default() };
    let machine = context.with_guest("linux", name, &kills, &options)?;
    let outcome = run::to_the_end(&Machine { timeout: Some(LIMIT), ..machine })?.success()?;
    let (text, deaths) = apart(&outcome.log, &["root: program `peer` died: ended as asked for"]);
    let first = text.find("talk: the other guest answers").context("the guests did not talk")?;
    if deaths.last().is_none_or(|last| *last < first) || !text.contains("talk: it answers again") {
        bail!("the other guest was not ended, or did not come back: {}", outcome.explain(40));
    }
    Ok(())
}

/// Another kernel runs the script, as it is, with the drivers that belong to it.
fn other_kernel(context: &Context, name: &str, kernel: &debian::Kernel, version: &str) -> Result<()> {
    let kernel = Some(kernel.image.clone());
    let options = Options { script: true, alone: true, kernel, ..Options::default() };
    let machine = context.with_guest("linux", name, &[], &options)?;
    let outcome = run::to_the_end(&Machine { timeout: Some(LIMIT), ..machine })?.success()?;
    for words in [
        &["Linux", version, "x86_64 GNU/Linux"][..],
        &["check: 2 virtual CPUs"],
        &["check: the disk gives back what was written"],
        &["check: done"],
        &["the guest has switched itself off"],
    ] {
        expect_line(&outcome, words)?;
    }
    Ok(())
}

/// Linux asks for a reset: its machine starts again, with what is on the disk; the disk's file stays as it is.
fn reboots(context: &Context, name: &str) -> Result<()> {
    let command_line = Some("console=ttyS0 quiet rdinit=/again".into());
    let file = workspace::scratch("guests")?.join(format!("{name}.disk"));
    fs::write(&file, vec![0x55; 1 << 20]).with_context(|| format!("cannot write {}", file.display()))?;
    let disks = vec![file.clone()];
    let options = Options { script: true, alone: true, command_line, disks, ..Options::default() };
    let outcome = run::to_the_end(&context.with_guest("linux", name, &[], &options)?)?.success()?;
    for words in [
        "again: for the first time",
        "the guest asks for a reset; it starts again",
        "2 virtual CPUs, and the mark on the disk",
    ] {
        expect_line(&outcome, &[words])?;
    }
    let after = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    if after.iter().any(|byte| *byte != 0x55) {
        bail!("the guest changed {}", file.display());
    }
    Ok(())
}

/// The scenario `measure`: a boot, reads of the disk and frames sent to nobody leave the guest no more often than they may.
/// Instructions are counted: on a slow host a read takes as long as several periods of the guest's clock, each of which is
/// an exit.
fn exits(context: &Context, name: &str) -> Result<()> {
    let options = Options { script: true, ..Options::default() };
    let machine = context.with_guest("measure", name, &[], &options)?;
    let machine = Machine { smp: 1, counting: true, timeout: Some(LIMIT), ..machine };
    let outcome = run::to_the_end(&machine)?.success()?;
    leaves_rarely(&outcome, &bench::linux::MOST_EXITS)?;
    if bench::linux::lines(&outcome.log)?.iter().all(|line| line.name != "net_send") {
        bail!("no frames were sent");
    }
    Ok(())
}

/// A byte there and back between processes on two virtual CPUs, where instructions are counted and the emulator leaves the
/// guest for its own reasons, too: it did not even boot when its interrupts could be delivered twice.
fn pipe(context: &Context, name: &str) -> Result<()> {
    let command_line = Some("console=ttyS0 quiet rdinit=/measure pipe".into());
    let options = Options { script: true, alone: true, command_line, ..Options::default() };
    let machine = context.with_guest("linux", name, &[], &options)?;
    let limit = Some(LIMIT);
    let outcome = run::to_the_end(&Machine { counting: true, timeout: limit, ..machine })?.success()?;
    leaves_rarely(&outcome, &[bench::linux::PIPE_EXITS])
}

/// Fails if what was measured left the guest more often than it may.
fn leaves_rarely(outcome: &Outcome, limits: &[(&str, Option<u64>)]) -> Result<()> {
    let lines = bench::linux::lines(&outcome.log)?;
    for (name, most) in limits {
        let line = lines.iter().find(|line| line.name == *name).with_context(|| format!("{name} was not measured"))?;
        let each = line.exits.context("the monitor counts no exits")?.div_ceil(line.count.max(1));
        if most.is_some_and(|most| each > most) {
            bail!("{name}: {each} exits, at most {most:?}");
        }
    }
    Ok(())
}

/// The scenario `linux` with its script.
fn linux(context: &Context, name: &str, adapt: fn(Machine) -> Machine) -> Result<()> {
    let limit = Some(LIMIT);
    let machine = adapt(Machine { timeout: limit, ..context.configured("linux", name, &[])? });
    let outcome = run::to_the_end(&machine)?;
    if !outcome.passed {
        bail!("{}", outcome.explain(40));
    }
    for words in [
        &["Linux", "x86_64 GNU/Linux"][..],
        &["check: 2 virtual CPUs"],
        &["check: AVX2 on 2"],
        &["check: the disk gives back what was written"],
        &["check: network: 3 packets transmitted, 3 packets received"],
        &["check: done"],
        &["the guest has switched itself off"],
    ] {
        expect_line(&outcome, words)?;
    }
    plain_command_line(&outcome.log)?;
    interrupts_rise(&outcome.log, 2)?;
    cores_of_their_own(&outcome)?;
    // A kernel that is content needs no comparison.
    if warnings(&outcome.log).next().is_none() {
        return Ok(());
    }
    no_new_warnings(&outcome.log, &direct_warnings(context, name, machine.platform)?)
}

/// What the same kernel says so on the emulator itself, with the same script on two processors.
fn direct_warnings(context: &Context, name: &str, platform: Platform) -> Result<Vec<String>> {
    let name = format!("{name}-direct");
    // Bochs' processor announces fast short string operations with which this kernel does not get far.
    let more = if platform == Platform::Bochs { " clearcpuid=fsrm" } else { "" };
    let machine = context.direct(&name, &format!("console=ttyS0,115200 quiet rdinit=/check{more}"))?;
    let limit = Duration::from_secs(if platform == Platform::Bochs { 1800 } else { 900 });
    let mut running = run::start(&Machine { platform, smp: 2, timeout: Some(limit), ..machine })?;
    running.wait_for("check: done", limit)?;
    Ok(warnings(running.log()).map(String::from).collect())
}

/// `mov dx, 0x3F8; mov al, 'h'; out dx, al; mov al, 'i'; out; mov al, 10; out; xor eax, eax; mov dx, 0xF4; out; hlt`.
const PRINTS: [u8; 25] = [
    0x66, 0xBA, 0xF8, 0x03, 0xB0, b'h', 0xEE, 0xB0, b'i', 0xEE, 0xB0, 10, 0xEE, 0x31, 0xC0, 0x66, 0xBA, 0xF4, 0x00,
    0xEE, 0xF4, 0x90, 0x90, 0x90, 0x90,
];
/// `mov esi, 0x100119; mov ecx, 3; mov dx, 0x3F8; cld; rep outsb; xor eax, eax; mov dx, 0xF4; out dx, al; hlt`, and "hi\n".
const STRINGS: [u8; 28] = [
    0xBE, 0x19, 0x01, 0x10, 0x00, 0xB9, 3, 0, 0, 0, 0x66, 0xBA, 0xF8, 0x03, 0xFC, 0xF3, 0x6E, 0x31, 0xC0, 0x66, 0xBA,
    0xF4, 0x00, 0xEE, 0xF4, b'h', b'i', 10,
];
/// `mov esi, [ebx + 24]; mov esi, [esi]; mov ecx, 19; mov dx, 0x3F8; cld; rep outsb; mov eax, [ebx + 20]; dec eax;
/// mov dx, 0xF4; out dx, eax; hlt`: prints the first module, and ends with the number of others.
const MODULE: [u8; 28] = [
    0x8B, 0x73, 0x18, 0x8B, 0x36, 0xB9, 19, 0, 0, 0, 0x66, 0xBA, 0xF8, 0x03, 0xFC, 0xF3, 0x6E, 0x8B, 0x43, 0x14, 0x48,
    0x66, 0xBA, 0xF4, 0x00, 0xEF, 0xF4, 0x90,
];
/// What is in that module.
const TEXT: &[u8] = b"this is the module\n";
/// `mov dx, 0xF4; mov al, 5; out dx, al; hlt`.
const FAILS: [u8; 8] = [0x66, 0xBA, 0xF4, 0x00, 0xB0, 5, 0xEE, 0xF4];
/// `ud2`, with no handlers at all.
const FAULTS: [u8; 2] = [0x0F, 0x0B];

/// A Multiboot guest with this code: whether it succeeds, and lines of the log.
fn multiboot(context: &Context, name: &str, code: &[u8], good: bool, lines: &[&str]) -> Result<()> {
    let file = workspace::scratch("guests")?.join(format!("{name}.elf"));
    fs::write(&file, elf(code)).with_context(|| format!("cannot write {}", file.display()))?;
    let modules = if code == MODULE { vec![file.with_extension("module")] } else { Vec::new() };
    modules.iter().try_for_each(|module| fs::write(module, TEXT))?;
    let options = Options { multiboot: Some(file), modules, script: true, ..Options::default() };
    let outcome = run::to_the_end(&context.with_guest("linux", name, &[], &options)?)?;
    if good && !outcome.passed {
        bail!("{}", outcome.explain(40));
    }
    lines
        .iter()
        .try_for_each(|line| if good { expect_line(&outcome, &[line]) } else { expect_failure(&outcome, &[line]) })
}

/// A 32-bit ELF file with a Multiboot header, whose one segment is the whole file, at 1 MiB; the code is at 0x100.
fn elf(code: &[u8]) -> Vec<u8> {
    const MAGIC: u32 = 0x1BAD_B002;
    let mut file = vec![0; 0x100];
    let mut put = |at: usize, words: &[u32]| {
        for (index, word) in words.iter().enumerate() {
            file[at + 4 * index..at + 4 * index + 4].copy_from_slice(&word.to_le_bytes());
        }
    };
    let size = (0x100 + code.len()) as u32;
    // Executable for the 80386; entry, program headers, their size and number.
    put(0, &[u32::from_le_bytes(*b"\x7FELF"), 0x0001_0101, 0, 0, 0x0003_0002, 1, 0x10_0100, 0x34, 0, 0]);
    put(0x28, &[0x0020_0034, 1]);
    put(0x34, &[1, 0, 0x10_0000, 0x10_0000, size, size, 7, 0x1000]);
    put(0x80, &[MAGIC, 0, 0_u32.wrapping_sub(MAGIC)]);
    file.extend_from_slice(code);
    file
}
