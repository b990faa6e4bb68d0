//! Malformed boot information and ACPI tables: each gives its message and a
//! failure status on a real boot.

use std::fs;

use anyhow::{Context as _, Result, bail};
use xtask::machine::{Machine, Media};
use xtask::{run, workspace};

use crate::case::Case;
use crate::context::{Context, expect_failure, expect_line, last_line};
use crate::shim::{self, Damage};

/// Each damage with words of the line that reports it.
const DAMAGES: [(&str, Damage, &[&str]); 6] = [
    ("truncated-module", Damage::TruncatedModule, &["error", "truncated"]),
    ("madt-checksum", Damage::MadtChecksum, &["error", "APIC", "checksum"]),
    ("madt-zero-length-entry", Damage::MadtZeroLength, &["error", "APIC", "length zero"]),
    ("madt-over-long-entry", Damage::MadtOverLong, &["error", "APIC", "beyond the table"]),
    ("empty-memory-map", Damage::EmptyMemoryMap, &["error", "memory map is empty"]),
    ("tag-beyond-the-end", Damage::TagTooLong, &["error", "truncated"]),
];

/// Cores of the machine and of the MADT.
const CORES: u8 = 2;

/// The cases of this module.
pub fn cases() -> Vec<Case> {
    let control = Case::new("shim-control", |context, name| {
        let outcome = run::to_the_end(&machine(context, name, Damage::None, CORES)?)?.success()?;
        if !last_line(&outcome)?.contains("hello") {
            bail!("no greeting at the end: {}", outcome.explain(10));
        }
        Ok(())
    });
    let hostile = DAMAGES.iter().map(|(name, damage, words)| {
        Case::new(format!("hostile-{name}"), move |context, name| {
            expect_failure(&run::to_the_end(&machine(context, name, *damage, CORES)?)?, words)
        })
    });
    let absent = Case::new("absent-core", |context, name| {
        let outcome = run::to_the_end(&machine(context, name, Damage::None, CORES + 1)?)?.success()?;
        expect_line(&outcome, &["warn", "APIC id 2", "left out"])?;
        expect_line(&outcome, &["2 up, 2 timers fire"])
    });
    let clock = Case::new("clock-from-interval-timer", |context, name| {
        let outcome = run::to_the_end(&machine(context, name, Damage::NoClocks, CORES)?)?.success()?;
        expect_line(&outcome, &["clock: TSC", "(PIT)"])
    });
    [control, absent, clock].into_iter().chain(hostile).collect()
}

/// A machine that boots the fabricated image, whose MADT lists `listed` cores.
fn machine(context: &Context, name: &str, damage: Damage, listed: u8) -> Result<Machine> {
    let kernel = fs::read(context.kernel()).context("the kernel cannot be read")?;
    let program = context.program("root")?;
    let image = shim::image(&kernel, &program.data, "exit=0xf4 poison log=debug", listed, damage)?;
    let file = workspace::scratch("shim")?.join(format!("{name}.elf"));
    fs::write(&file, image).with_context(|| format!("cannot write {}", file.display()))?;
    let media = Media::Multiboot(file);
    Ok(Machine { smp: u32::from(CORES), kernel: Some(context.kernel().to_path_buf()), ..Machine::new(name, media) })
}
