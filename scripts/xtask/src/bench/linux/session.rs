//! One boot of Linux with `/measure` as its first process, in a virtual machine or on the emulator directly.
//!
//! The machine is stopped at the kernel's 64-bit entry and at the program's first instruction, and, where that is asked for,
//! before and after each thing that the program measures.
//! Invariants: what the program printed and where it stopped fit together, or the session is an error.
//! Concurrency: one machine, on the calling thread.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSymbol};
use serde::Deserialize;

use super::debugger::Debugger;
use crate::machine::Machine;
use crate::run::{self, Running};

/// How long a stretch between two stops may take.
const PATIENCE: Duration = Duration::from_secs(600);
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
    /// Instructions of the whole machine, all repetitions together; 0 if they were not counted.
    pub instructions: u64,
    /// Ticks of the time-stamp counter, all repetitions together.
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

/// How instructions are counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Count {
    /// By QEMU, at each stop, while it records what comes from outside. Idle time is not among them.
    Executed,
    /// By the machine's clocks, which advance by one nanosecond for each, and over idle time too, if there is any. Recording
    /// takes QEMU ten times as long where the machine has virtual CPUs.
    Clock,
    /// Not at all.
    Not,
}

/// Where to stop, and when to begin with that.
pub struct Stops<'a> {
    /// The kernel's 64-bit entry.
    pub entry: u64,
    /// The program's file.
    pub program: &'a Path,
    /// A line of the console before which other code may run at these addresses.
    pub after: Option<&'a str>,
    /// How instructions are counted.
    pub count: Count,
}

/// A stop.
#[derive(Clone, Copy)]
struct Stop {
    instructions: u64,
    reached: Instant,
}

/// Boots `machine`, which has `socket` as its debugger interface.
///
/// # Errors
/// The machine fails, or does not stop where it has to.
pub fn run(machine: &Machine, socket: &Path, stops: &Stops<'_>) -> Result<Session> {
    let [start, mark] = symbols(stops.program)?;
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
        here(running, stops.count)
    };
    let entry = reach(&mut debugger, &mut running, "the kernel's entry", stops.entry)?;
    let init = reach(&mut debugger, &mut running, "the first process", start)?;
    session.boot = init.reached - entry.reached;
    if stops.count == Count::Executed {
        debugger.set_breakpoint(mark, true)?;
    }
    let mut marks = Vec::new();
    while debugger.run()? {
        marks.push(here(&mut running, stops.count)?);
    }
    session.log = running.finish().success()?.log;
    let boot = match stops.count {
        Count::Clock => nanoseconds(init.instructions.wrapping_sub(entry.instructions)),
        _ => init.instructions - entry.instructions,
    };
    session.figures = figures(&session.log, boot, stops.count, &counts(&marks))?;
    Ok(session)
}

/// Where the machine stands.
fn here(running: &mut Running, count: Count) -> Result<Stop> {
    let reached = Instant::now();
    let instructions = match count {
        Count::Executed => executed(&running.monitor("info replay")?)?,
        Count::Clock => timer(&running.monitor(TIMER)?)?,
        Count::Not => 0,
    };
    Ok(Stop { instructions, reached })
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

/// The number of instructions in the answer to `info replay`.
fn executed(answer: &str) -> Result<u64> {
    let count = answer.rsplit_once("instruction count = ").map(|(_, count)| count.trim());
    count.and_then(|count| count.parse().ok()).with_context(|| format!("QEMU counts no instructions: {answer}"))
}

/// Instructions from each odd stop to the next even one.
fn counts(marks: &[Stop]) -> Vec<u64> {
    marks.chunks_exact(2).map(|pair| pair[1].instructions - pair[0].instructions).collect()
}

/// Puts lines and counts together.
fn figures(log: &[String], boot: u64, how: Count, counts: &[u64]) -> Result<BTreeMap<String, Figure>> {
    let mut found = BTreeMap::new();
    let counts = std::iter::once(boot).chain(counts.iter().copied()).map(Some).chain(std::iter::repeat(None));
    for (index, (line, counted)) in lines(log)?.into_iter().zip(counts).enumerate() {
        let instructions = match how {
            Count::Clock if index > 0 => line.ticks,
            Count::Not => 0,
            _ => counted.with_context(|| format!("no stops for {}", line.name))?,
        };
        found.insert(line.name, Figure { count: line.count, instructions, ticks: line.ticks, exits: line.exits });
    }
    if found.is_empty() {
        bail!("the program measured nothing; the log:\n  | {}", log.join("\n  | "));
    }
    Ok(found)
}

/// Addresses of the program's entry and of its mark.
fn symbols(program: &Path) -> Result<[u64; 2]> {
    let data = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let file = object::File::parse(&*data).with_context(|| format!("{} is no ELF file", program.display()))?;
    let address = |name: &str| {
        let symbol = file.symbols().find(|symbol| symbol.name() == Ok(name));
        symbol.map(|symbol| symbol.address()).with_context(|| format!("{} has no {name}", program.display()))
    };
    Ok([address("_start")?, address("measure_mark")?])
}

/// A place for a machine's debugger interface.
pub fn socket(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("vela-{}-{name}.gdb", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_at_the_end_of_the_answer() {
        let answer = "Recording execution '/dev/null': instruction count = 1757225057\n";
        assert_eq!(executed(answer).ok(), Some(1_757_225_057));
        assert!(executed("Record/replay is not active").is_err());
    }

    #[test]
    fn the_timer_runs_over() {
        let answer = "portl[0x0608] = 0x0062b5c3\n";
        assert_eq!(timer(answer).ok(), Some(0x62_B5C3));
        assert_eq!(nanoseconds(0x10_u64.wrapping_sub(0xFF_FFF0)), 32 * 1_000_000_000 / 3_579_545);
    }

    #[test]
    fn lines_and_counts_come_in_the_same_order() {
        let log = [
            r#"measure: {"name":"init","count":1,"ticks":5,"exits":7}"#,
            "measure: devices: nothing",
            r#"[    1.2] measure: {"name":"user_loop","count":2,"ticks":20}"#,
        ];
        let log = log.map(String::from);
        let found = figures(&log, 100, Count::Executed, &[40]).unwrap();
        assert_eq!(found["init"], Figure { count: 1, instructions: 100, ticks: 5, exits: Some(7) });
        assert_eq!(found["user_loop"], Figure { count: 2, instructions: 40, ticks: 20, exits: None });
        assert!(figures(&log, 100, Count::Executed, &[]).is_err(), "without its stops a line says nothing");
        assert!(figures(&log, 100, Count::Clock, &[]).is_ok_and(|found| found["user_loop"].instructions == 20));
        let failed = [r#"measure: {"name":"pipe","error":"system call 22: error 24"}"#.to_owned()];
        assert!(figures(&failed, 0, Count::Not, &[]).is_err_and(|error| error.to_string().contains("error 24")));
    }
}
