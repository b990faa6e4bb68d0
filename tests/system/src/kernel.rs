//! Programs that check the kernel from inside, each with a line that says how many of its checks hold.

use std::time::Duration;

use anyhow::{Result, ensure};
use xtask::machine::{Machine, Platform};
use xtask::run;

use crate::case::Case;
use crate::context::{Context, expect_failure, expect_line};

/// Program, platform, cores, and the line that it must print.
const PROGRAMS: &[(&str, Platform, u32, &str)] = &[
    ("odd-flags", Platform::Qemu, 2, "odd-flags: answered [5, 5, 5, 5, 5]"),
    ("calls", Platform::Qemu, 2, "calls: 35 of 35 checks hold"),
    ("calls", Platform::Bochs, 2, "calls: 35 of 35 checks hold"),
    ("churn", Platform::Qemu, 1, "churn: 11 of 11 checks hold"),
    ("churn", Platform::Qemu, 2, "churn: 11 of 11 checks hold"),
    ("churn", Platform::Qemu, 4, "churn: 11 of 11 checks hold"),
    ("control", Platform::Qemu, 2, "control: 88 of 88 checks hold"),
    ("control", Platform::Qemu, 4, "control: 88 of 88 checks hold"),
    ("control", Platform::Bochs, 2, "control: 88 of 88 checks hold"),
    ("domains", Platform::Qemu, 2, "domains: 33 of 33 checks hold"),
    ("domains", Platform::Bochs, 2, "domains: 33 of 33 checks hold"),
    ("guest-revoke", Platform::Qemu, 2, "guest-revoke: 222 of 222 checks hold"),
    ("guest-revoke", Platform::Qemu, 4, "guest-revoke: 380 of 380 checks hold"),
    ("guest-revoke", Platform::Bochs, 2, "guest-revoke: 222 of 222 checks hold"),
    ("guests", Platform::Qemu, 1, "guests: 890 of 890 checks hold"),
    ("guests", Platform::Qemu, 2, "guests: 884 of 884 checks hold"),
    ("guests", Platform::Bochs, 1, "guests: 890 of 890 checks hold"),
    ("guests", Platform::Bochs, 2, "guests: 884 of 884 checks hold"),
    // How many checks there are depends on how long each life of the domain is.
    ("hostile", Platform::Qemu, 1, "hostile: pd_ctrl:"),
    ("hostile", Platform::Qemu, 2, "hostile: pd_ctrl:"),
    ("helping", Platform::Qemu, 1, "helping: 6 of 6 checks hold"),
    ("helping", Platform::Qemu, 2, "helping: 12 of 12 checks hold"),
    ("helping", Platform::Bochs, 2, "helping: 12 of 12 checks hold"),
    ("interrupts", Platform::Qemu, 1, "interrupts: 103 of 103 checks hold"),
    ("interrupts", Platform::Qemu, 2, "interrupts: 134 of 134 checks hold"),
    ("interrupts", Platform::Qemu, 4, "interrupts: 196 of 196 checks hold"),
    ("interrupts", Platform::Bochs, 2, "interrupts: 80 of 80 checks hold"),
    ("items", Platform::Qemu, 1, "items: 194 of 194 checks hold"),
    ("items", Platform::Bochs, 2, "items: 194 of 194 checks hold"),
    ("lifetimes", Platform::Qemu, 1, "lifetimes: 35 of 35 checks hold"),
    ("lifetimes", Platform::Qemu, 4, "lifetimes: 35 of 35 checks hold"),
    ("lifetimes", Platform::Bochs, 2, "lifetimes: 35 of 35 checks hold"),
    ("ports", Platform::Qemu, 2, "ports: 24 of 24 checks hold"),
    ("ports", Platform::Bochs, 2, "ports: 24 of 24 checks hold"),
    ("preemption", Platform::Qemu, 1, "preemption: 22 of 22 checks hold"),
    ("preemption", Platform::Qemu, 2, "preemption: 38 of 38 checks hold"),
    ("preemption", Platform::Bochs, 2, "preemption: 38 of 38 checks hold"),
    ("quota", Platform::Qemu, 1, "quota: 182 of 182 checks hold"),
    ("quota", Platform::Qemu, 2, "quota: 182 of 182 checks hold"),
    ("quota", Platform::Qemu, 4, "quota: 182 of 182 checks hold"),
    ("quota", Platform::Bochs, 2, "quota: 182 of 182 checks hold"),
    ("reserve", Platform::Qemu, 1, "reserve: 99 of 99 checks hold"),
    ("reserve", Platform::Bochs, 2, "reserve: 99 of 99 checks hold"),
    ("regions", Platform::Qemu, 2, "regions: 7 of 7 checks hold"),
    ("regions", Platform::Qemu, 4, "regions: 7 of 7 checks hold"),
    ("remote", Platform::Qemu, 2, "remote: 64 of 64 checks hold"),
    ("remote", Platform::Qemu, 4, "remote: 64 of 64 checks hold"),
    ("remote", Platform::Bochs, 2, "remote: 64 of 64 checks hold"),
    ("shootdown", Platform::Qemu, 1, "shootdown: 155 of 155 checks hold"),
    ("shootdown", Platform::Qemu, 2, "shootdown: 1291 of 1291 checks hold"),
    ("shootdown", Platform::Qemu, 4, "shootdown: 1820 of 1820 checks hold"),
    ("shootdown", Platform::Bochs, 2, "shootdown: 1291 of 1291 checks hold"),
    ("signals", Platform::Qemu, 1, "signals: 86 of 86 checks hold"),
    ("signals", Platform::Qemu, 4, "signals: 90 of 90 checks hold"),
    ("signals", Platform::Bochs, 2, "signals: 90 of 90 checks hold"),
    ("shortage", Platform::Qemu, 2, "shortage: 22 of 22 checks hold"),
    ("shortage", Platform::Bochs, 2, "shortage: 22 of 22 checks hold"),
    ("threads", Platform::Qemu, 1, "threads: 29 of 29 checks hold"),
    ("threads", Platform::Qemu, 2, "threads: 36 of 36 checks hold"),
    ("threads", Platform::Qemu, 4, "threads: 36 of 36 checks hold"),
    ("threads", Platform::Bochs, 2, "threads: 36 of 36 checks hold"),
    ("vectors", Platform::Qemu, 2, "vectors: 71 of 71 checks hold"),
    ("vectors", Platform::Bochs, 2, "vectors: 71 of 71 checks hold"),
    ("views", Platform::Qemu, 1, "views: 32 of 32 checks hold"),
    ("views", Platform::Qemu, 2, "views: 32 of 32 checks hold"),
    ("views", Platform::Qemu, 4, "views: 32 of 32 checks hold"),
    ("views", Platform::Bochs, 2, "views: 32 of 32 checks hold"),
    ("waits", Platform::Qemu, 2, "waits: 22 of 22 checks hold"),
    ("waits", Platform::Bochs, 2, "waits: 22 of 22 checks hold"),
    ("ways", Platform::Qemu, 1, "ways: 13 of 13 checks hold"),
    ("ways", Platform::Qemu, 2, "ways: 13 of 13 checks hold"),
    ("ways", Platform::Bochs, 2, "ways: 13 of 13 checks hold"),
];

/// Programs that take minutes: program, platform, cores, and a line that it must print.
const LONG: &[(&str, Platform, u32, &str)] = &[
    ("churn-long", Platform::Qemu, 2, "churn: 11 of 11 checks hold"),
    ("churn-long", Platform::Qemu, 4, "churn: 11 of 11 checks hold"),
    ("guest-revoke", Platform::Bochs, 4, "guest-revoke: 380 of 380 checks hold"),
    ("hostile-long", Platform::Qemu, 1, "hostile: pd_ctrl:"),
    ("hostile-long", Platform::Qemu, 2, "hostile: pd_ctrl:"),
    ("hostile-long", Platform::Qemu, 4, "hostile: pd_ctrl:"),
];

/// How long these may take.
const LIMIT: Duration = Duration::from_secs(3000);

/// How long programs may whose cores wait for each other all the time, on a busy host.
const WAITING: Duration = Duration::from_secs(900);

/// What every hunt ends with.
const HUNTED: &str = "hunter: 11 of 11 checks hold";

/// The cases of this module.
pub fn cases() -> Vec<Case> {
    let case = |&(program, platform, smp, line): &(&'static str, Platform, u32, &'static str), timeout| {
        let name = format!("kernel-{program}-{platform:?}-{smp}").to_lowercase();
        Case::new(name, move |context, name| {
            let machine = Machine { platform, smp, timeout, ..context.scenario(name, program)? };
            holds(machine, program, line)
        })
    };
    let long = LONG.iter().map(|row| case(row, Some(LIMIT)).full());
    let hunt = case(&("hunter", Platform::Qemu, 2, HUNTED), Some(LIMIT)).alone();
    let hunts = [
        Case::new("kernel-hunter-short-bochs-2", |context, name| hunt_with_tags(context, name, &[])),
        Case::new("kernel-hunter-short-untagged-bochs-2", |context, name| hunt_with_tags(context, name, &["pcid=off"])),
        hunt,
        Case::new("kernel-hunter-long-in-turn-4", hunt_in_turn).alone().full(),
        Case::new("provoke-no-flush", |context, name| stale_reads_are_noticed(context, name, false)),
        Case::new("provoke-no-flush-in-turn", |context, name| stale_reads_are_noticed(context, name, true)),
        Case::new("kernel-flushes-qemu-1", |context, name| flushes(context, name, None)),
        Case::new("kernel-flushes-few-qemu-1", |context, name| flushes(context, name, Some("5"))),
        Case::new("kernel-flushes-many-qemu-1", |context, name| flushes(context, name, Some("64"))),
    ];
    let limit = |program| ["shootdown", "regions"].contains(&program).then_some(WAITING);
    PROGRAMS.iter().map(|row| case(row, limit(row.0))).chain(long).chain(hunts).collect()
}

/// A short hunt on processors with tags, which the kernel uses unless it is told not to.
fn hunt_with_tags(context: &Context, name: &str, args: &[&str]) -> Result<()> {
    let machine = context.machine(name, context.kernel(), vec![context.program("hunter-short")?], args)?;
    let machine = Machine { platform: Platform::Bochs, smp: 2, timeout: Some(WAITING), ..machine };
    let outcome = run::to_the_end(&machine)?.success()?;
    let used = outcome.log.iter().any(|line| line.contains("features: ") && line.contains("PCID"));
    ensure!(used == args.is_empty(), "tags are used: {used}");
    expect_line(&outcome, &[HUNTED])
}

/// A million revocations, all pairs of four cores, on an emulator that runs one core at a time.
fn hunt_in_turn(context: &Context, name: &str) -> Result<()> {
    let machine = context.scenario(name, "hunter-long")?;
    holds(Machine { smp: 4, timeout: Some(LIMIT), in_turn: true, ..machine }, "hunter-long", HUNTED)
}

/// The kernel says up to how many pages it forgets one by one, as it was told or by its own measurement, and does so.
fn flushes(context: &Context, name: &str, told: Option<&str>) -> Result<()> {
    let argument = told.map(|pages| format!("flush-threshold={pages}"));
    let args: Vec<_> = argument.as_deref().into_iter().collect();
    let machine = context.machine(name, context.kernel(), vec![context.program("flushes")?], &args)?;
    let outcome = run::to_the_end(&Machine { smp: 1, ..machine })?.success()?;
    let after = |text| outcome.log.iter().find_map(|line| line.split_once(text)?.1.split(' ').next());
    let (said, done) = (after("] flushes: up to "), after("flushes: one by one up to "));
    ensure!(told.is_none() || said == told, "the kernel says {said:?}");
    let power = said.and_then(|pages| pages.parse::<u64>().ok()).map(|pages| format!("{}", 1 << pages.ilog2()));
    ensure!(power.as_deref() == done, "{said:?} pages, and it was {done:?}");
    expect_line(&outcome, &["flushes: 33 of 33 checks hold"])
}

/// A kernel that forgets nothing is noticed by the hunter, also on an emulator that runs one core at a time.
fn stale_reads_are_noticed(context: &Context, name: &str, in_turn: bool) -> Result<()> {
    let kernel = context.selftest_kernel()?;
    let (program, smp) = if in_turn { ("hunter-long", 4) } else { ("hunter-short", 2) };
    let machine = context.machine(name, &kernel, vec![context.program(program)?], &["provoke=no-flush"])?;
    expect_failure(
        &run::to_the_end(&Machine { smp, in_turn, ..machine })?,
        &["hunter: reads of what was taken: ", "should be 0x0"],
    )
}

fn holds(mut machine: Machine, program: &str, line: &str) -> Result<()> {
    let devices = program == "interrupts";
    if devices && machine.platform == Platform::Qemu {
        machine.qemu_args.extend(["-device", "virtio-rng-pci"].map(String::from));
    }
    let outcome = run::to_the_end(&machine)?.success()?;
    if devices {
        expect_line(&outcome, &["interrupt 133 that nobody asked for"])?;
    }
    expect_line(&outcome, &[line])
}
