//! `cargo xtask bench`: measures the kernel operation by operation.
//!
//! The program `user/bench` measures; this side boots it, puts targets and the figures of other kernels beside the
//! results ([`table`]), and counts from a log of executed instructions what the number of instructions does not show.
//! [`sweep`] measures revocation against what it depends on, with both protocols; [`model`] says what follows for larger
//! machines.
//! Invariants: an operation that is refused or that does not exist yet is named in the output.
//! Concurrency: one machine at a time.

mod chart;
mod code;
pub mod count;
pub mod document;
mod drive;
mod events;
pub mod linux;
mod model;
pub mod output;
mod plot;
mod profile;
pub mod sweep;
pub mod table;
mod trace;
mod view;
mod vmx;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};

use crate::build::{self, Checks};
use crate::machine::Platform;
use crate::setup::{self, Purpose};
use crate::workspace;
use document::{Document, Operation};
use drive::Drive;
use output::Measured;
use table::{BOOTS, Group, Setting};
use view::Verdict;

/// What the command line says.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_precedence_over_arg = true,
    disable_help_subcommand = true
)]
pub struct Options {
    #[command(subcommand)]
    other: Option<Other>,
    /// Groups of operations; all when none is named
    #[arg(value_enum)]
    groups: Vec<Group>,
    /// What is counted
    #[arg(long, value_enum, default_value = "instructions")]
    mode: Mode,
    /// What runs the machine in time mode: qemu (multi-threaded emulation) or kvm
    #[arg(long, value_enum, default_value = "qemu")]
    platform: Platform,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write plots (SVG): bars per group with figure, target, other kernels; of a sweep, lines. With the group shootdown
    /// named, revocation is swept for them too
    #[arg(long, value_name = "DIR")]
    plot: Option<PathBuf>,
    /// Show ratios to an earlier run, a file of --json
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Fail when an operation is over its target by more than a quarter
    #[arg(long)]
    check: bool,
    /// Instead of operations: revocation against sharers and pages, and private churn, with the kernel's protocol and with
    /// the naive one (two boots)
    #[arg(long)]
    sweep: bool,
    /// Cores of a sweep, 2 to 8; 8 unless given, 4 in time mode
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=8))]
    cores: Option<u32>,
    /// Do not count events (CR3 and MSR writes, locked instructions, …); saves a second boot
    #[arg(long)]
    no_counters: bool,
    /// Leave out Linux in a virtual machine and directly on the emulator (some minutes)
    #[arg(long)]
    no_linux: bool,
    /// Only show where the instructions of this operation go, by function and line; writes the listing to a file
    #[arg(long, value_name = "OP")]
    profile: Option<String>,
    /// An argument of the kernel; may be repeated
    #[arg(long = "kernel-arg", value_name = "ARG")]
    kernel_args: Vec<String>,
}

/// What does not measure.
#[derive(Subcommand, Debug)]
enum Other {
    /// Predict what a revocation costs on up to 1024 cores, from measured counts and published latencies
    Model(model::Options),
}

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Mode {
    /// Instructions, the same on every host: QEMU counts them, one core at a time
    Instructions,
    /// Cycles of the time-stamp counter: reported, never judged
    Time,
}

impl Options {
    fn groups(&self) -> Vec<Group> {
        if self.groups.is_empty() { Group::value_variants().to_vec() } else { self.groups.clone() }
    }

    fn check(&self) -> Result<()> {
        let counting = self.mode == Mode::Instructions;
        if counting && self.platform != Platform::Qemu {
            bail!("only QEMU's software emulation counts instructions; use --mode time with --platform kvm");
        }
        if self.platform == Platform::Bochs {
            bail!("time mode runs on qemu or kvm");
        }
        if !counting && (self.check || self.profile.is_some()) {
            bail!("--check and --profile are for instructions, not for --mode time");
        }
        if self.sweep && !self.groups().contains(&Group::Shootdown) {
            bail!("--sweep is about the group shootdown");
        }
        if self.cores.is_some() && !self.sweeps() {
            bail!("--cores is for a sweep; operations have the cores that they are defined for");
        }
        Ok(())
    }

    /// Whether revocation is swept, instead of the operations or, for the plots, beside them.
    fn sweeps(&self) -> bool {
        self.sweep || self.plot.is_some() && self.groups.contains(&Group::Shootdown)
    }
}

/// Operations, and what of a sweep is not among them; the greater number of cores.
fn joined((mut measured, cores): (Vec<Measured>, u32), swept: Option<(Vec<Measured>, u32)>) -> (Vec<Measured>, u32) {
    let Some((swept, more)) = swept else { return (measured, cores) };
    let known: Vec<_> = measured.iter().map(|each| each.name.clone()).collect();
    measured.extend(swept.into_iter().filter(|each| !known.contains(&each.name)));
    (measured, cores.max(more))
}

/// Measures, shows, writes.
///
/// # Errors
/// A machine failed, the kernel refused an operation, or with `--check` a target is missed by more than a quarter.
pub fn run(options: &Options) -> Result<()> {
    if let Some(Other::Model(options)) = &options.other {
        return model::run(options);
    }
    options.check()?;
    let before = options.compare.as_deref().map(Document::load).transpose()?;
    setup::run(Purpose::Run)?;
    let counting = options.mode == Mode::Instructions;
    let built = build::all(Checks::None)?;
    let drive = Drive { built, platform: options.platform, counting, kernel_args: options.kernel_args.clone() };
    if let Some(operation) = &options.profile {
        return profile(&drive, operation);
    }
    let measured = if options.sweep {
        (Vec::new(), 0)
    } else {
        let measured = measure(&drive, &options.groups(), counting && !options.no_counters)?;
        println!("{}", view::table(&measured.0, &options.groups(), counting));
        measured
    };
    let swept = if options.sweeps() {
        let cores = options.cores.unwrap_or(if counting { 8 } else { 4 });
        let swept = sweep::measure(&drive, cores)?;
        println!("{}", sweep::table(&swept, counting));
        Some((swept, cores))
    } else {
        None
    };
    let (measured, cores) = joined(measured, swept);
    let mut document = document(&drive, &measured, cores);
    let rows = if counting && !options.sweep && options.groups().contains(&Group::Vm) && !options.no_linux {
        linux::measure(&drive)?
    } else {
        Vec::new()
    };
    if !rows.is_empty() {
        println!("{}", linux::rows::table(&rows));
        document.ops.append(&mut linux::rows::operations(&rows));
    }
    if let Some(before) = &before {
        if before.mode != document.mode {
            bail!("the earlier run counted in mode `{}`, this one in `{}`", before.mode, document.mode);
        }
        println!("{}", view::comparison(&document, before));
    }
    if let Some(file) = &options.json {
        document.save(file)?;
        println!("bench: {}", file.display());
    }
    if let Some(directory) = &options.plot {
        plots(directory, &measured, &document)?;
    }
    verdict(&measured, options.check)
}

/// The operations of the groups that exist, and the greatest number of cores used.
fn measure(drive: &Drive, groups: &[Group], counters: bool) -> Result<(Vec<Measured>, u32)> {
    let mut measured = Vec::new();
    let mut most = 1;
    for Setting { cores, groups: here, only, loops } in BOOTS {
        let chosen: Vec<_> = here.iter().filter(|group| groups.contains(group)).map(|group| group.name()).collect();
        if chosen.is_empty() {
            continue;
        }
        println!("bench: measuring on {cores} core{}", if cores == 1 { "" } else { "s" });
        let only = only.map(|only| format!(" only={only}")).unwrap_or_default();
        let request = format!("groups={}{only}", chosen.join(","));
        let mut output = drive.measure(cores, &request)?;
        if counters && loops && output.operations.iter().any(|each| each.value.is_some()) {
            println!("bench: counting events");
            let code = drive.code(false)?;
            let traces = drive.trace(cores, &request)?;
            for each in &mut output.operations {
                each.events = traces.get(&each.name).map(|trace| code.events(trace)).unwrap_or_default();
            }
        }
        most = most.max(cores);
        measured.append(&mut output.operations);
    }
    if drive.counting && groups.contains(&Group::Vm) {
        measured.append(&mut vmx::measure(drive)?);
    }
    Ok((measured, most))
}

fn document(drive: &Drive, measured: &[Measured], cores: u32) -> Document {
    let (mode, unit) = if drive.counting { ("instructions", "instructions") } else { ("time", "cycles") };
    let platform = if drive.platform == Platform::Kvm { "kvm" } else { "qemu" };
    let operation = |each: &Measured| {
        Some(Operation { name: each.name.clone(), value: each.value?, unit: unit.into(), counters: each.counters() })
    };
    let ops = measured.iter().filter_map(operation).collect();
    Document { mode: mode.into(), platform: platform.into(), cores, ops }
}

fn plots(directory: &Path, measured: &[Measured], document: &Document) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let write = |name: &str, svg: String| {
        let file = directory.join(format!("{name}.svg"));
        fs::write(&file, svg).with_context(|| format!("cannot write {}", file.display()))?;
        println!("bench: {}", file.display());
        anyhow::Ok(())
    };
    let unit = document.ops.first().map_or("instructions", |operation| &operation.unit);
    sweep::plots(document, unit)?.into_iter().try_for_each(|(name, svg)| write(name, svg))?;
    for group in Group::value_variants() {
        let of_group = measured.iter().filter(|each| each.group == group.name());
        let rows: Vec<_> = of_group.filter_map(|each| Some((each.name.clone(), each.value?))).collect();
        if !rows.is_empty() {
            write(group.name(), plot::bars(group.name(), unit, &rows))?;
        }
    }
    Ok(())
}

fn profile(drive: &Drive, operation: &str) -> Result<()> {
    let group = table::find(operation).map_or(Group::Ipc, |entry| entry.group);
    let cores = BOOTS.iter().find(|boot| boot.groups.contains(&group)).map_or(1, |boot| boot.cores);
    println!("bench: tracing {operation}");
    let traces = drive.trace(cores, &format!("only={operation}"))?;
    let Some(iteration) = traces.get(operation) else {
        bail!("there is no operation `{operation}`, or the kernel refuses it; `cargo xtask bench` lists them");
    };
    let code = drive.code(true)?;
    println!("{}", profile::account(operation, iteration, &code));
    let file = workspace::scratch("traces")?.join(format!("{operation}.txt"));
    fs::write(&file, profile::listing(iteration, &code)).with_context(|| format!("cannot write {}", file.display()))?;
    println!("bench: the instructions one by one: {}", file.display());
    Ok(())
}

fn verdict(measured: &[Measured], check: bool) -> Result<()> {
    let refused: Vec<_> = measured.iter().filter(|each| each.value.is_none()).map(|each| each.name.as_str()).collect();
    if !refused.is_empty() {
        bail!("the kernel refused: {}", refused.join(", "));
    }
    let far = |each: &&Measured| {
        let target = table::find(&each.name).and_then(|entry| entry.target(|name| output::value(measured, name)));
        Verdict::of(target, each.value.unwrap_or(0)) == Verdict::FarOver
    };
    let over: Vec<_> = measured.iter().filter(far).map(|each| each.name.as_str()).collect();
    if check && !over.is_empty() {
        bail!("over the target by more than a quarter: {}", over.join(", "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::count::Counts;
    use super::output::Sums;
    use super::*;

    fn measured(name: &str, value: Option<u64>) -> Measured {
        let (name, group) = (name.to_owned(), "ipc".to_owned());
        Measured { name, group, value, median: value, error: None, counted: Sums::default(), events: Counts::new() }
    }

    #[test]
    fn only_a_check_fails_over_a_missed_target() {
        let far = [measured("null_hypercall", Some(1000))];
        assert!(verdict(&far, false).is_ok());
        assert!(verdict(&far, true).is_err_and(|error| error.to_string().contains("null_hypercall")));
        assert!(verdict(&[measured("null_hypercall", Some(50))], true).is_ok());
    }

    #[test]
    fn what_is_swept_stands_once_beside_what_is_measured() {
        let names =
            |(all, cores): (Vec<Measured>, u32)| (all.into_iter().map(|each| each.name).collect::<Vec<_>>(), cores);
        let churn = || measured("private_churn_1", Some(1));
        let swept = vec![churn(), measured("private_churn_1_naive", Some(2))];
        let both = names(joined((vec![churn()], 4), Some((swept, 8))));
        assert_eq!(both, (vec!["private_churn_1".into(), "private_churn_1_naive".into()], 8));
        assert_eq!(names(joined((vec![churn()], 4), None)), (vec!["private_churn_1".into()], 4));
    }

    #[test]
    fn a_refused_operation_is_a_failure() {
        assert!(verdict(&[measured("sm_up", None)], false).is_err_and(|error| error.to_string().contains("sm_up")));
    }
}
