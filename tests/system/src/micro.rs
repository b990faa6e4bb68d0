//! The guests of `tests/guests`, each in a machine of its own, many machines at once.
//!
//! A machine is a program of the boot configuration, which ends with the value that its guest writes to port 0xF4.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use xtask::guest::{Options, program};
use xtask::image::Module;
use xtask::machine::{Machine, Platform};
use xtask::run;
use xtask::workspace;

use crate::case::Case;
use crate::context::{Context, expect_line};

/// A machine: its name, its guest, and further arguments of its monitor.
type Guest = (&'static str, &'static str, &'static str);

/// One for each exit.
const EXITS: &[Guest] = &[
    ("exit-cpuid", "exit-cpuid", ""),
    ("exit-hlt", "exit-hlt", ""),
    ("exit-port", "exit-port", ""),
    ("exit-msr", "exit-msr", ""),
    ("exit-memory", "exit-memory", ""),
    ("exit-window", "exit-window", ""),
    ("exit-recall", "exit-recall", "cpus=2"),
    ("exit-startup", "exit-startup", "cpus=2"),
    ("exit-nmi", "exit-nmi", "cpus=2"),
    ("exit-priority", "exit-priority", ""),
    ("exit-undefined", "exit-undefined", ""),
    ("exit-protected", "exit-protected", ""),
    ("exit-cache", "exit-cache", ""),
    ("exit-string", "exit-string", ""),
    ("exit-shutdown", "exit-shutdown", "restart"),
    ("exit-hang", "exit-hang", "restart watchdog=250"),
];

/// One for each device.
const DEVICES: &[Guest] = &[
    ("device-lapic", "device-lapic", ""),
    ("device-lapic-x2", "device-lapic-x2", ""),
    ("device-lapic-timer", "device-lapic-timer", ""),
    ("device-ioapic", "device-ioapic", ""),
    ("device-pic", "device-pic", ""),
    ("device-pit", "device-pit", ""),
    ("device-rtc", "device-rtc", ""),
    ("device-uart", "device-uart", ""),
    ("device-power", "device-power", ""),
    ("device-pci", "device-pci", "rng"),
    ("device-block", "device-block", "disk=1M"),
    ("device-image", "device-image", "disk=device-image+1M disk=device-image"),
    ("device-console", "device-console", "console=virtio"),
    ("device-net-1", "device-net", "net=1"),
    ("device-net-2", "device-net", "net=2"),
    ("device-rng", "device-rng", "rng"),
    ("device-reset", "device-reset", "cpus=2 rng restart"),
];

/// The cases of this module.
pub fn cases() -> Vec<Case> {
    let groups = [("exits", EXITS), ("devices", DEVICES)];
    let platforms = [Platform::Qemu, Platform::Bochs];
    let all = groups.into_iter().flat_map(|group| platforms.map(|platform| (group, platform)));
    all.map(|((group, guests), platform)| {
        let name = format!("vm-guests-{group}-{platform:?}").to_lowercase();
        Case::new(name, move |context, name| all_of(context, name, guests, platform))
    })
    .chain([Case::new("vm-guest-files", files)])
    .collect()
}

/// What the user names: kernel, initial file system, command line and number of processors.
fn files(context: &Context, name: &str) -> Result<()> {
    let initial = workspace::scratch("guests")?.join(format!("{name}.initial"));
    fs::write(&initial, b"initial\n").with_context(|| format!("cannot write {}", initial.display()))?;
    let options = Options {
        kernel: Some(context.file("boot-linux")?),
        initial: Some(initial),
        command_line: Some("one two".into()),
        cpus: Some(2),
        script: true,
        alone: true,
        ..Options::default()
    };
    let outcome = run::to_the_end(&context.with_guest("linux", name, &[], &options)?)?.success()?;
    expect_line(&outcome, &["the guest ends with value 0"])
}

/// Boots them all on two cores, and sees what becomes of each.
fn all_of(context: &Context, name: &str, guests: &[Guest], platform: Platform) -> Result<()> {
    let mut images: Vec<&str> = guests.iter().map(|guest| guest.1).collect();
    images.dedup();
    let mut modules = vec![context.program("root")?];
    let text = configuration(guests, &images);
    modules.push(Module { name: format!("{name}.conf"), data: text.into_bytes(), args: Vec::new() });
    modules.push(context.program("vmm")?);
    modules.push(context.program("switch")?);
    for image in images {
        modules.push(guest(context, image)?);
    }
    let machine = context.machine(name, context.kernel(), modules, &["kernel-memory=64M"])?;
    let timeout = Some(Duration::from_secs(if platform == Platform::Bochs { 900 } else { 300 }));
    let outcome = run::to_the_end(&Machine { platform, smp: 2, timeout, ..machine })?;
    if !outcome.passed {
        bail!("{}", outcome.explain(40));
    }
    expect_line(&outcome, &[&format!("{} programs have done their work, with 0 deaths", guests.len())])
}

/// A guest as a module.
fn guest(context: &Context, name: &str) -> Result<Module> {
    let file = context.file(name)?;
    let data = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(Module { name: name.into(), data: program::image(data)?, args: Vec::new() })
}

fn configuration(guests: &[Guest], images: &[&str]) -> String {
    let mut text = format!(
        "images vmm switch {}\nprogram switch\n    cores all\n    priority 20\n    memory 512K\n    provides switch\n",
        images.join(" ")
    );
    for (core, (name, image, arguments)) in guests.iter().enumerate() {
        // A string takes whatever is written.
        let _ = write!(
            text,
            "program {name}\n    image vmm\n    cores {} {}\n    memory 2M\n    quota 480\n    priority 20\n    may console\n    \
             may use switch\n    may guest 4M\n    may read {image}\n    arguments kernel={image} {arguments}\n    must finish\n",
            core % 2,
            (core + 1) % 2,
        );
    }
    text
}
