//! One boot of Linux with `/measure` as its first process, in a virtual machine or on the emulator directly.
//!
//! The machine is stopped at the kernel's 64-bit entry and at the program's first instruction. Where instructions are counted,
//! its clocks advance by one nanosecond for each, and over idle time too; how much of that there was Linux knows.
//! Invariants: what the program printed and where it stopped fit together, or the session is an error.
//! Concurrency: one machine, on the calling thread.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use object::Object;
use serde::Deserialize;

use super::debugger::Debugger;
use crate::machine::Machine;
use crate::run::{self, Running};

/// How long a stretch between two stops may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long the whole may take.
const LIMIT: Duration = Duration::from_secs(1800);

/// What the program printed about one thing, all repetitions together.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// Repetitions.
    #[serde(default)]
    pub count: u64,
    /// Ticks of the time-stamp counter.
    #[serde(default)]
    pub ticks: u64,
    /// Nanoseconds that Linux has been idle so far.
    #[serde(default)]
    pub idle: u64,
    /// Exits of virtual CPUs, where a monitor counts them.
    pub exits: Option<u64>,
    /// Why there are no figures.
    pub error: Option<String>,
}

/// The program's lines in a log.
///
/// # Errors
/// One says why something could not be measured, or is no result.
pub fn lines(log: &[String]) -> Result<Vec<Line>> {
    let texts = log.iter().filter_map(|line| line.split_once("measure: ")).filter(|(_, text)| text.starts_with('{'));
    let line = |(_, text): (&str, &str)| -> Result<Line> {
        let line: Line = serde_json::from_str(text).with_context(|| format!("not a result: {text}"))?;
        match &line.error {
            Some(why) => bail!("{}: {why}", line.name),
            None => Ok(line),
        }
    };
    texts.map(line).collect()
}

/// What one thing took.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Figure {
    /// Repetitions.
    pub count: u64,
    /// Ticks of the time-stamp counter, all repetitions together: instructions of the whole machine, where they are counted.
    /// Of `init` without idle time.
    pub ticks: u64,
    /// Exits of virtual CPUs, all repetitions together; `None` without a monitor.
    pub exits: Option<u64>,
}

/// What a session found.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// From the kernel's entry to its first process.
    pub boot: Duration,
    /// By name; `init` is from the kernel's entry to the first process.
    pub figures: BTreeMap<String, Figure>,
    /// Everything that was printed.
    pub log: Vec<String>,
}

impl Session {
    /// Takes the figures of `other`, of the same kind, that took less time.
    pub fn take_quicker(&mut self, other: Self) {
        self.boot = self.boot.min(other.boot);
        for (name, figure) in other.figures {
            let ours = self.figures.entry(name).or_insert(figure);
            if figure.ticks < ours.ticks {
                *ours = figure;
            }
        }
    }
}

/// Where to stop, and when to begin with that.
pub struct Stops<'a> {
    /// The kernel's 64-bit entry.
    pub entry: u64,
    /// The program's file.
    pub program: &'a Path,
    /// A line of the console before which other code may run at these addresses.
    pub after: Option<&'a str>,
}

/// A stop.
#[derive(Clone, Copy)]
struct Stop {
    timer: u64,
    reached: Instant,
}

/// Boots `machine`, which has `socket` as its debugger interface.
///
/// # Errors
/// The machine fails, or does not stop where it has to.
pub fn run(machine: &Machine, socket: &Path, stops: &Stops<'_>) -> Result<Session> {
    let start = entry(stops.program)?;
    let machine = Machine { timeout: Some(LIMIT), ..machine.clone() };
    let mut running = run::start(&machine)?;
    if let Some(line) = stops.after {
        running.wait_for(line, PATIENCE)?;
    }
    let mut debugger = Debugger::connect(socket, PATIENCE)?;
    let mut session = Session::default();
    let reach = |debugger: &mut Debugger, running: &mut Running, what: &str, address| -> Result<Stop> {
        debugger.set_breakpoint(address, true)?;
        if !debugger.run()? {
            bail!("the machine ended before {what}");
        }
        debugger.set_breakpoint(address, false)?;
        here(running)
    };
    let entry = reach(&mut debugger, &mut running, "the kernel's entry", stops.entry)?;
    let init = reach(&mut debugger, &mut running, "the first process", start)?;
    session.boot = init.reached - entry.reached;
    while debugger.run()? {}
    session.log = running.finish().success()?.log;
    session.figures = figures(&session.log, nanoseconds(init.timer.wrapping_sub(entry.timer)))?;
    Ok(session)
}

/// Where the machine stands.
fn here(running: &mut Running) -> Result<Stop> {
    let reached = Instant::now();
    Ok(Stop { timer: timer(&running.monitor(TIMER)?)?, reached })
}

/// Reads the chip set's power-management timer, where its firmware puts it: 24 bits, 3.579545 MHz.
const TIMER: &str = "i /w 0x608";

/// The timer in the answer to [`TIMER`].
fn timer(answer: &str) -> Result<u64> {
    let value = answer.rsplit_once("= 0x").and_then(|(_, value)| u64::from_str_radix(value.trim(), 16).ok());
    value.with_context(|| format!("QEMU has no timer: {answer}"))
}

/// A distance of two readings of the timer, less than 4.7 seconds, in nanoseconds.
const fn nanoseconds(distance: u64) -> u64 {
    ((distance & 0xFF_FFFF) as u128 * 1_000_000_000 / 3_579_545) as u64
}

/// The figures of the program, and of the boot, which took `boot` nanoseconds of the machine's time.
fn figures(log: &[String], boot: u64) -> Result<BTreeMap<String, Figure>> {
    let mut found = BTreeMap::new();
    for line in lines(log)? {
        // A monitor's machine is idle only while its guest is; that is not taken off, so that the figure is an upper bound.
        let idle = if line.exits.is_none() { line.idle } else { 0 };
        let ticks = if line.name == "init" { boot.saturating_sub(idle) } else { line.ticks };
        found.insert(line.name, Figure { count: line.count, ticks, exits: line.exits });
    }
    if found.is_empty() {
        bail!("the program measured nothing; the log:\n  | {}", log.join("\n  | "));
    }
    Ok(found)
}

/// Address of the program's first instruction.
fn entry(program: &Path) -> Result<u64> {
    let data = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let file = object::File::parse(&*data).with_context(|| format!("{} is no ELF file", program.display()))?;
    Ok(file.entry())
}

/// A place for a machine's debugger interface.
pub fn socket(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("vela-{}-{name}.gdb", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timer_runs_over() {
        let answer = "portl[0x0608] = 0x0062b5c3\n";
        assert_eq!(timer(answer).ok(), Some(0x62_B5C3));
        assert_eq!(nanoseconds(0x10_u64.wrapping_sub(0xFF_FFF0)), 32 * 1_000_000_000 / 3_579_545);
    }

    #[test]
    fn the_quickest_of_each_counts() {
        let session = |boot, first, second| {
            let figure = |ticks| Figure { count: 1, ticks, exits: Some(ticks + 1) };
            let figures = [("a".to_owned(), figure(first)), ("b".to_owned(), figure(second))].into();
            Session { boot: Duration::from_secs(boot), figures, log: Vec::new() }
        };
        let mut both = session(3, 10, 20);
        both.take_quicker(session(2, 11, 19));
        assert_eq!((both.boot, &both.figures), (Duration::from_secs(2), &session(0, 10, 19).figures));
    }

    #[test]
    fn the_boots_idle_time_does_not_count_directly() {
        let log = [
            r#"measure: {"name":"init","count":1,"ticks":5,"idle":30}"#,
            "measure: devices: nothing",
            r#"[    1.2] measure: {"name":"user_loop","count":2,"ticks":20}"#,
        ];
        let mut log = log.map(String::from);
        let found = figures(&log, 100).unwrap();
        assert_eq!(found["init"], Figure { count: 1, ticks: 70, exits: None });
        assert_eq!(found["user_loop"], Figure { count: 2, ticks: 20, exits: None });
        log[0] = r#"measure: {"name":"init","count":1,"ticks":5,"exits":7,"idle":30}"#.into();
        assert_eq!(figures(&log, 100).unwrap()["init"], Figure { count: 1, ticks: 100, exits: Some(7) });
        let failed = [r#"measure: {"name":"pipe","error":"system call 22: error 24"}"#.to_owned()];
        assert!(figures(&failed, 0).is_err_and(|error| error.to_string().contains("error 24")));
    }
}
