//! The machine comes up on every platform and says what it found.

use anyhow::{Result, bail};
use xtask::machine::{Firmware, Machine, Model, Platform};
use xtask::run::{self, Outcome};

use crate::case::Case;
use crate::context::{expect_line, last_line};

/// The cases of this module.
pub fn cases() -> Vec<Case> {
    vec![
        hello("hello-bochs", |machine| Machine { platform: Platform::Bochs, smp: 2, ..machine }),
        hello("hello-64-cores", |machine| Machine { smp: 64, ..machine }),
        hello("hello-uefi", |machine| Machine { firmware: Firmware::Uefi, ..machine }),
        hello("hello-1-core", |machine| Machine { smp: 1, ..machine }),
        hello("hello-2-cores", |machine| Machine { smp: 2, ..machine }),
        hello("hello-4-cores", |machine| machine),
        hello("hello-pc", |machine| Machine { model: Model::Pc, ..machine }),
        hello("hello-sparse-apic-ids", |machine| Machine {
            smp: 6,
            qemu_args: vec!["-smp".into(), "6,sockets=2,cores=3".into()],
            ..machine
        }),
        clock("clock-from-pm-timer", "(PM timer)", |machine| Machine { qemu_args: vec!["-no-hpet".into()], ..machine }),
        clock("clock-from-cpuid", "(CPUID)", |machine| Machine { platform: Platform::Bochs, smp: 1, ..machine }),
        hello("hello-bochs-8-cores", |machine| Machine { platform: Platform::Bochs, smp: 8, ..machine }).full(),
        hello("hello-255-cores", |machine| Machine { smp: 255, memory: 1024, ..machine }).full(),
    ]
}

/// The scenario `hello` on a machine that `adapt` makes.
fn hello(name: &str, adapt: fn(Machine) -> Machine) -> Case {
    Case::new(name, move |context, name| {
        let machine = adapt(context.configured("hello", name, &[])?);
        let outcome = run::to_the_end(&machine)?.success()?;
        complete(&outcome, machine.smp)
    })
}

/// The scenario `hello` on a machine whose clock has to come from `source`.
fn clock(name: &str, source: &'static str, adapt: fn(Machine) -> Machine) -> Case {
    Case::new(name, move |context, name| {
        let machine = adapt(context.configured("hello", name, &[])?);
        expect_line(&run::to_the_end(&machine)?.success()?, &["clock: TSC", source])
    })
}

/// The log names the platform, every core, the memory map and the pool, what each program did, and ends with success.
fn complete(outcome: &Outcome, cores: u32) -> Result<()> {
    expect_line(outcome, &["platform"])?;
    expect_line(outcome, &["memory map"])?;
    expect_line(outcome, &["memory pool"])?;
    let seen = |core: u32| outcome.log.iter().any(|line| names_core(line, core));
    if let Some(missing) = (0..cores).find(|core| !seen(*core)) {
        bail!("the log does not name core {missing}: {}", outcome.explain(40));
    }
    for (program, other, threads) in [("alpha", "beta", 2), ("beta", "gamma", 2), ("gamma", "alpha", 1)] {
        let answers = 20 * cores.min(threads);
        expect_line(outcome, &[program, &format!("{answers} of {answers} answers of {other} are right")])?;
    }
    if !last_line(outcome)?.contains("root: 3 programs have done their work, with 0 deaths") {
        bail!("the log does not end with the programs' success: {}", outcome.explain(10));
    }
    Ok(())
}

/// Whether a line of the kernel names this core.
fn names_core(line: &str, core: u32) -> bool {
    let name = format!("core {core}");
    line.starts_with('[')
        && line.match_indices(&name).any(|(at, _)| !line[at + name.len()..].starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_named_by_its_whole_number_in_a_line_of_the_kernel() {
        assert!(names_core("[ 0 info ] core 1: APIC id 3", 1));
        assert!(names_core("[ 0 info ] core 1", 1));
        assert!(!names_core("[ 0 info ] core 12: up", 1));
        assert!(names_core("[ 0 info ] core 12, core 1", 1));
        assert!(!names_core("root: hello on core 1", 1));
    }
}
