//! Exits of virtual CPUs on VMX, which Bochs emulates: reported, not judged.
//!
//! Bochs' time-stamp counter advances by one for each instruction too. The program cannot be asked for anything there, so it
//! begins with these operations, and the machine is ended behind them.
//! Invariants: without Bochs there are no figures, and that is said.
//! Concurrency: one machine, on the calling thread.

use std::time::Duration;

use anyhow::{Result, bail};

use super::drive::Drive;
use super::output::{Measured, Output};
use super::table::Group;
use crate::machine::{Machine, Platform};
use crate::{process, run};

/// How long Bochs may take to start the program, and from one operation to the next.
const PATIENCE: Duration = Duration::from_secs(120);

/// The figures; each name has `_vmx` behind it.
///
/// # Errors
/// The machine failed, or its clock does not count instructions.
pub fn measure(drive: &Drive) -> Result<Vec<Measured>> {
    if !process::exists("bochs") {
        println!("bench: skipped on VMX: there is no Bochs; `cargo xtask setup` installs it");
        return Ok(Vec::new());
    }
    println!("bench: measuring on VMX (Bochs)");
    let machine =
        Machine { platform: Platform::Bochs, counting: false, qemu_args: Vec::new(), ..drive.machine(1, "")? };
    let mut running = run::start(&machine)?;
    let operation = |line: &str| line.contains("\"name\":");
    let ours = format!("\"group\":\"{}\"", Group::Vm);
    loop {
        let line = running.wait_for("bench: ", PATIENCE)?;
        if operation(&line) && !line.contains(&ours) || line.contains("bench: done") {
            break;
        }
    }
    figures(running.log())
}

fn figures(log: &[String]) -> Result<Vec<Measured>> {
    let output = Output::parse(log)?;
    if !output.calibration.is_some_and(|calibration| calibration.counts_instructions()) {
        bail!("Bochs' clock does not count instructions");
    }
    let ours = output.operations.into_iter().filter(|each| each.group == Group::Vm.name());
    Ok(ours.map(|each| Measured { name: format!("{}_vmx", each.name), ..each }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exits_count_and_only_where_the_clock_counts_instructions() {
        let clock = |ratio| {
            format!(
                r#"bench: {{"calibration":{{"instructions":9,"ticks":9,"ticks_per_instruction":{ratio},"empty":3}}}}"#
            )
        };
        let line = |name, group| format!(r#"bench: {{"name":"{name}","group":"{group}","value":9,"median":9}}"#);
        let log = |ratio| [clock(ratio), line("vmexit_hlt", "vm"), line("sm_up", "ipc")];
        let found = figures(&log(1.0)).unwrap();
        assert_eq!(found.iter().map(|each| each.name.as_str()).collect::<Vec<_>>(), ["vmexit_hlt_vmx"]);
        assert!(figures(&log(0.5)).is_err());
    }
}
