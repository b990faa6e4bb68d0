//! The kernel with a shadow of what cores may remember of tables.
//!
//! Programs of `kernel.rs` run on it, and it has to notice a kernel that leaves out a flush, whether the processor would have
//! kept anything or not.

use std::time::Duration;

use anyhow::Result;
use xtask::build::Checks;
use xtask::machine::{Machine, Platform};
use xtask::run;

use crate::case::Case;
use crate::context::{Context, expect_failure, expect_line};

/// How long a program may take: it is said that one hangs before the step that runs them all is given up.
const LIMIT: Duration = Duration::from_secs(900);
/// How long the hunter may, which the full tier runs alone.
const HUNTER_LIMIT: Duration = Duration::from_secs(1200);

/// Cores have to take tables back again and again.
const FEW: &str = "provoke=few-tables";

/// A flush that is left out, on what, and what the shadow says.
const LEFT_OUT: [(&str, Platform, &str); 3] = [
    ("no-flush", Platform::Qemu, "core 1 may use what was taken"),
    ("no-lazy-flush", Platform::Qemu, "comes back and may use what was taken"),
    // Here the translations that stay have a tag.
    ("no-lazy-flush", Platform::Bochs, "comes back and may use what was taken"),
];

/// The cases of this module.
pub fn cases() -> Vec<Case> {
    let case = |program: &'static str, platform, smp, few: bool| {
        let name =
            format!("shadow-{}{program}-{platform:?}-{smp}", if few { "few-tables-" } else { "" }).to_lowercase();
        Case::new(name, move |context, name| {
            let machine = machine(context, name, program, (platform, smp), if few { &[FEW] } else { &[] })?;
            let hunts = program.starts_with("hunter") && platform == Platform::Qemu;
            let timeout = Some(if hunts { HUNTER_LIMIT } else { LIMIT });
            let outcome = run::to_the_end(&Machine { timeout, ..machine })?.success()?;
            expect_line(&outcome, &[": ", " checks hold"])
        })
    };
    let program = |program, platform, smp| case(program, platform, smp, false);
    let few = |program, platform, smp| case(program, platform, smp, true);
    let programs = [
        few("churn", Platform::Qemu, 4),
        few("lifetimes", Platform::Qemu, 4),
        few("views", Platform::Qemu, 2),
        few("hunter-short", Platform::Bochs, 2),
        few("hunter-short", Platform::Qemu, 2).alone().full(),
        program("shootdown", Platform::Qemu, 2),
        program("shootdown", Platform::Qemu, 4),
        program("shootdown", Platform::Bochs, 2),
        program("lifetimes", Platform::Qemu, 4),
        program("hunter-short", Platform::Bochs, 2),
        program("hunter-short", Platform::Qemu, 2).alone().full(),
    ];
    let left_out = LEFT_OUT.map(|(what, platform, why)| {
        let name = format!("shadow-{what}-{platform:?}").to_lowercase();
        Case::new(name, move |context, name| {
            let provoked = format!("provoke={what}");
            let machine = machine(context, name, "shootdown", (platform, 2), &[&provoked])?;
            expect_failure(&run::to_the_end(&machine)?, &["shadow of translations: ", why])
        })
    });
    programs.into_iter().chain(left_out).collect()
}

fn machine(
    context: &Context,
    name: &str,
    program: &str,
    (platform, smp): (Platform, u32),
    args: &[&str],
) -> Result<Machine> {
    let kernel = context.checked_kernel(Checks::Shadow)?;
    let machine = context.machine(name, &kernel, vec![context.program(program)?], args)?;
    Ok(Machine { platform, smp, timeout: Some(LIMIT), ..machine })
}
