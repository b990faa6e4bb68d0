//! The root program in C, written from the interface alone, on the running system.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use xtask::c_root;
use xtask::image::Module;
use xtask::machine::{Machine, Platform};
use xtask::run;

use crate::case::Case;
use crate::context::Context;

static BUILDING: Mutex<()> = Mutex::new(());

/// Platform and number of cores.
const MACHINES: [(Platform, u32); 4] =
    [(Platform::Qemu, 1), (Platform::Qemu, 2), (Platform::Qemu, 4), (Platform::Bochs, 2)];
/// The program has at least so many checks on one core; fewer `ok` lines mean that it ended early.
const CHECKS: usize = 200;

/// The cases of this module.
pub fn cases() -> Vec<Case> {
    let case = |&(platform, smp): &(Platform, u32)| {
        let name = format!("c-root-{platform:?}-{smp}").to_lowercase();
        Case::new(name, move |context, name| checks(context, name, platform, smp))
    };
    MACHINES.iter().map(case).collect()
}

fn checks(context: &Context, name: &str, platform: Platform, smp: u32) -> Result<()> {
    // Cases run side by side, and all of them build the same file.
    let one_at_a_time = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let modules = vec![Module::file(&c_root::build()?)?];
    drop(one_at_a_time);
    let machine = Machine { platform, smp, ..context.machine(name, context.kernel(), modules, &[])? };
    let outcome = run::to_the_end(&machine)?;
    let failed: Vec<_> = outcome.log.iter().filter(|line| line.starts_with("FAIL ")).map(String::as_str).collect();
    if !failed.is_empty() {
        bail!("{}\n{}", failed.join("\n"), outcome.reason);
    }
    let outcome = outcome.success().context("the program did not come to its end")?;
    let held = outcome.log.iter().filter(|line| line.starts_with("ok ")).count();
    if held < CHECKS {
        bail!("only {held} checks: {}", outcome.explain(10));
    }
    Ok(())
}
